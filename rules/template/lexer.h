// SPDX-License-Identifier: Apache-2.0
// A template's text -> tokens. Braces in strings and comments end nothing; trim markers are gone afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vitald::text_template {

enum class Tok : std::uint8_t {
  error,  // text: what is wrong
  end,
  text,
  left,   // {{
  right,  // }}
  space,
  open,
  close,
  pipe,
  assign,   // =
  declare,  // :=
  comma,    // any other character
  boolean,
  number,
  character,
  string,
  raw_string,
  identifier,
  field,     // .x
  variable,  // $x
  dot,
  keyword,  // if, else, end, range, with, define, block, template, break, continue, nil
};

struct Token {
  Tok kind = Tok::end;
  std::string_view text;
  std::size_t at = 0;
  int line = 1;
};

struct Tokens {
  std::vector<Token> list;  // the last one is `end` or `error`
  std::string error;        // what the text of an error token points to
};

Tokens lex(std::string_view text);

}  // namespace vitald::text_template
