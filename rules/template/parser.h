// SPDX-License-Identifier: Apache-2.0
// Tokens -> tree, with the errors of Go's text/template/parse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rules/template/value.h"

namespace vitald::text_template {

struct Node;
using NodePtr = std::unique_ptr<Node>;

enum class Kind : std::uint8_t {
  list,
  text,
  action,  // {{ pipe }}
  pipe,    // [$x, $y :=] command | command
  command,
  identifier,
  variable,  // $x.a.b
  field,     // .a.b
  chain,     // (pipe).a.b
  dot,
  nil,
  boolean,
  number,
  string,
  if_,
  range,
  with,
  template_,
  break_,
  continue_,
};

struct Node {
  Kind kind;
  std::size_t at;  // in the text, for errors

  std::string text;                // what it says: text, string, name of a template or function
  std::string source;              // of numbers and strings: as written
  std::vector<std::string> names;  // variable (with $), field, chain
  Value constant;                  // bool, number
  std::vector<NodePtr> items;      // list; pipe: commands; command: arguments; chain: what it starts from
  std::vector<NodePtr> variables;  // pipe: those it sets
  bool assigns = false;            // pipe: = and not :=
  NodePtr pipe, yes, no;           // if, range, with, action, template
};

// As Go shows it in errors.
std::string to_string(const Node& n);

struct Tree {
  std::string text;
  NodePtr root;
  std::map<std::string, NodePtr> defined;
};

struct ParseFault {
  std::string what;
  int line = 1;
  std::size_t at = 0;
  std::string word;  // the function or variable that is not known; else empty
};

// Throws ParseFault.
Tree parse(std::string text);

}  // namespace vitald::text_template
