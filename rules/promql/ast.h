// SPDX-License-Identifier: Apache-2.0
// The typed tree of an expression. Made by the parser, completed by the checker, never changed afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rules/promql/lexer.h"

namespace re2 {
class RE2;
}

namespace vitald::promql {

struct Function;  // functions.h

enum class ValueType : std::uint8_t { none, scalar, vector, matrix, string };
std::string_view to_string(ValueType type);

enum class MatchOp : std::uint8_t { equal, not_equal, regex, not_regex };

struct Matcher {
  std::string name;
  MatchOp op = MatchOp::equal;
  std::string value;
  std::shared_ptr<const re2::RE2> pattern;  // of the regex operators: the whole value must match

  [[nodiscard]] bool matches(std::string_view label_value) const;
  bool operator==(const Matcher& o) const { return name == o.name && op == o.op && value == o.value; }
};

enum class BinaryOp : std::uint8_t {
  add,
  sub,
  mul,
  div,
  mod,
  pow,
  atan2,
  trim_upper,  // </ of a histogram: without what lies above
  trim_lower,  // >/
  eql,
  neq,
  lte,
  lss,
  gte,
  gtr,
  land,
  lor,
  lunless
};
std::string_view to_string(BinaryOp op);
constexpr bool is_comparison(BinaryOp op) { return op >= BinaryOp::eql && op <= BinaryOp::gtr; }
constexpr bool is_trim(BinaryOp op) { return op == BinaryOp::trim_upper || op == BinaryOp::trim_lower; }
constexpr bool is_set(BinaryOp op) { return op >= BinaryOp::land; }

enum class AggregateOp : std::uint8_t {
  sum,
  avg,
  min,
  max,
  count,
  group,
  stddev,
  stdvar,
  topk,
  bottomk,
  limitk,
  limit_ratio,
  quantile,
  count_values
};
std::string_view to_string(AggregateOp op);
constexpr bool takes_parameter(AggregateOp op) { return op >= AggregateOp::topk; }

enum class Kind : std::uint8_t {
  number,
  string,
  selector,  // of an instant vector
  matrix,    // selector[range]
  subquery,
  call,
  unary,
  binary,
  aggregate,
  paren,
};

struct Expr {
  explicit Expr(Kind k) : kind(k) {}
  virtual ~Expr() = default;
  Kind kind;
  ValueType type = ValueType::none;
  std::uint32_t id = 0;  // 0..n-1 over the tree, given by the checker
  Span where;
};
using ExprPtr = std::unique_ptr<Expr>;

// A length of time that only the query knows, as in [step() * 2]; those that do not depend on it are numbers at once.
struct DurationExpr {
  enum class Op : std::uint8_t { number, step, range, negative, add, sub, mul, div, mod, pow, min_of, max_of };
  Op op = Op::number;
  double seconds = 0;  // of a number
  std::unique_ptr<DurationExpr> a, b;

  // Of a query with this step and from its start to its end.
  [[nodiscard]] double value(double step_s, double range_s) const;
  [[nodiscard]] bool is_constant() const;
};
using DurationExprPtr = std::unique_ptr<DurationExpr>;

// `offset` and `@` on a selector or a subquery.
struct TimeShift {
  enum class At : std::uint8_t { none, time, start, end };
  std::int64_t offset_ms = 0;
  DurationExprPtr offset_expr;  // in place of offset_ms
  At at = At::none;
  std::int64_t at_ms = 0;
};

// What a value at the ends of a range is when no sample lies there: extrapolated, the last one before, between the two.
enum class Ends : std::uint8_t { plain, anchored, smoothed };

struct NumberLiteral : Expr {
  NumberLiteral() : Expr(Kind::number) {}
  double value = 0;
};
struct StringLiteral : Expr {
  StringLiteral() : Expr(Kind::string) {}
  std::string value;
};
struct Selector : Expr {
  Selector() : Expr(Kind::selector) {}
  std::string name;               // as written before the braces; also among the matchers
  std::vector<Matcher> matchers;  // with the one for __name__
  TimeShift shift;
  Ends ends = Ends::plain;
  bool only_totals = false;  // set by the checker: of histograms only count and sum are asked for
};
struct MatrixSelector : Expr {
  MatrixSelector() : Expr(Kind::matrix) {}
  std::unique_ptr<Selector> selector;
  std::int64_t range_ms = 0;
  DurationExprPtr range_expr;  // in place of range_ms
};
struct Subquery : Expr {
  Subquery() : Expr(Kind::subquery) {}
  ExprPtr inner;
  std::int64_t range_ms = 0, step_ms = 0;  // step 0: the default of the evaluator
  DurationExprPtr range_expr, step_expr;   // in place of them
  TimeShift shift;
};
struct Call : Expr {
  Call() : Expr(Kind::call) {}
  std::string name;
  Span name_where;
  const Function* function = nullptr;  // set by the checker
  std::vector<ExprPtr> args;
};
struct Unary : Expr {
  Unary() : Expr(Kind::unary) {}
  bool negative = false;
  ExprPtr inner;
};

struct Matching {
  enum class Card : std::uint8_t { one_to_one, many_to_one, one_to_many, many_to_many };
  Card card = Card::one_to_one;
  bool on = false;       // else ignoring
  bool written = false;  // on or ignoring stands in the text
  std::vector<std::string> labels, include;
  std::optional<double> fill_left, fill_right;  // for what has no match
  Span where;
};
struct Binary : Expr {
  Binary() : Expr(Kind::binary) {}
  BinaryOp op = BinaryOp::add;
  Span op_where;
  bool return_bool = false;
  ExprPtr lhs, rhs;
  Matching matching;
};
struct Aggregate : Expr {
  Aggregate() : Expr(Kind::aggregate) {}
  AggregateOp op = AggregateOp::sum;
  bool without = false;
  std::vector<std::string> grouping;
  ExprPtr parameter, inner;
};
struct Paren : Expr {
  Paren() : Expr(Kind::paren) {}
  ExprPtr inner;
};

// Without the parentheses around it.
const Expr& bare(const Expr& e);

// The expression as Prometheus prints it; parses to an equal tree.
std::string to_string(const Expr& e);
// Shortest decimal that reads back to the same number, never with an exponent; +Inf, -Inf, NaN.
// As Go's FormatFloat(v, 'f', -1, 64), which samples are written with: never an exponent; the digits that tell it from
// its neighbours, then zeros.
std::string number_text(double v);
// As Go's %v and %g, which expressions and messages are written with: 1e+06, 1e-05.
std::string go_number(double v);

}  // namespace vitald::promql
