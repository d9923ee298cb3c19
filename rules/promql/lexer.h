// SPDX-License-Identifier: Apache-2.0
// PromQL text -> tokens with their places.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vitald::promql {

enum class Tok : std::uint8_t {
  end,
  identifier,  // also the keywords that may stand for a name: what they are depends on the place
  number,
  duration,  // 5m, 1h30m
  string,
  left_paren,
  right_paren,
  left_brace,
  right_brace,
  left_bracket,
  right_bracket,
  comma,
  colon,
  at,
  add,
  sub,
  mul,
  div,
  mod,
  pow,
  eql,   // = in a matcher
  eqlc,  // ==
  neq,
  lte,
  lss,
  gte,
  gtr,
  trim_upper,  // </
  trim_lower,  // >/
  eql_regex,
  neq_regex,
};

// As it is written, for messages: "'('", "a number".
std::string_view describe(Tok tok);

// Bytes of the expression; end is one past the last.
struct Span {
  std::uint32_t begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

struct Problem {
  Span where;
  std::string what;
};

struct Token {
  Tok kind = Tok::end;
  Span where;
  std::string_view text;         // as written
  std::string value;             // of a string: unquoted
  double number = 0;             // of a number
  std::int64_t duration_ms = 0;  // of a duration
};

// All tokens up to and with Tok::end; stops at the first thing that is no token and says so.
std::vector<Token> lex(std::string_view text, std::vector<Problem>& problems);

// What Prometheus can hold: 2^63 nanoseconds, 292 years.
constexpr std::int64_t kMaxDurationMs = INT64_MAX / 1'000'000;
constexpr std::int64_t kTooLong = -2;
// Prometheus durations: 1w2d3h4m5s6ms, in that order, at least one unit. -1 when it is none, kTooLong above the most.
std::int64_t parse_duration_ms(std::string_view text);
// As Prometheus prints it: 300000 -> "5m".
std::string duration_text(std::int64_t ms);

}  // namespace vitald::promql
