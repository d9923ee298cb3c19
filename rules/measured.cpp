// SPDX-License-Identifier: Apache-2.0
#include "rules/measured.h"

#include <optional>
#include <string>
#include <vector>

#include "rules/promql/labels.h"
#include "rules/promql/operators.h"
#include "rules/promql/parser.h"
#include "rules/promql/walk.h"

namespace vitald {

namespace {

using promql::BinaryOp;
using promql::Kind;
using promql::ValueType;

// The text of `e` without its conditions; nothing where it has none.
std::optional<std::string> without_condition(const promql::Expr& e) {
  if (e.kind == Kind::paren) return without_condition(*static_cast<const promql::Paren&>(e).inner);
  if (e.kind != Kind::binary) return {};
  const auto& b = static_cast<const promql::Binary&>(e);
  const auto side = [](const promql::Expr& x) { return without_condition(x).value_or(promql::to_string(x)); };
  if (promql::is_comparison(b.op) && !b.return_bool) {
    // The number of `80 < temp` is temp's.
    if (b.lhs->type == ValueType::vector) return side(*b.lhs);
    if (b.rhs->type == ValueType::vector) return side(*b.rhs);
    return {};
  }
  if (b.op == BinaryOp::land || b.op == BinaryOp::lunless) return side(*b.lhs);
  if (b.op != BinaryOp::lor) return {};
  const auto left = without_condition(*b.lhs), right = without_condition(*b.rhs);
  if (!left && !right) return {};
  // The same sets as in the alert: an `or` of two conditions looks at both sides.
  return "(" + left.value_or(promql::to_string(*b.lhs)) + ") or (" + right.value_or(promql::to_string(*b.rhs)) + ")";
}

// A number that is written out: 80, -5, 1024 * 1024.
std::optional<double> constant(const promql::Expr& e) {
  switch (e.kind) {
    case Kind::number: return static_cast<const promql::NumberLiteral&>(e).value;
    case Kind::paren: return constant(*static_cast<const promql::Paren&>(e).inner);
    case Kind::unary: {
      const auto& u = static_cast<const promql::Unary&>(e);
      const auto v = constant(*u.inner);
      return v && u.negative ? -*v : v;
    }
    case Kind::binary: {
      const auto& b = static_cast<const promql::Binary&>(e);
      const auto l = constant(*b.lhs), r = constant(*b.rhs);
      if (!l || !r || promql::is_set(b.op)) return {};
      return promql::is_comparison(b.op) ? promql::compare(b.op, *l, *r) : promql::arithmetic(b.op, *l, *r);
    }
    default: return {};
  }
}

// The metric of the only name that there is; of several, as in a ratio, no name says what is measured: the whole does.
std::string name_of(const promql::Expr& e) {
  constexpr std::size_t kMost = 300;
  std::string name;
  bool several = false;
  promql::each_selector(e, [&](const promql::Selector& s) {
    for (const auto& m : s.matchers)
      if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal) {
        several |= !name.empty() && name != m.value;
        if (name.empty()) name = m.value;
      }
  });
  if (!several) return name;
  auto text = promql::to_string(promql::bare(e));
  return text.size() <= kMost ? text : std::string();  // the first of several would be wrong
}

// As it reads from the other side.
BinaryOp mirrored(BinaryOp op) {
  switch (op) {
    case BinaryOp::gtr: return BinaryOp::lss;
    case BinaryOp::gte: return BinaryOp::lte;
    case BinaryOp::lss: return BinaryOp::gtr;
    case BinaryOp::lte: return BinaryOp::gte;
    default: return op;
  }
}

}  // namespace

std::optional<Threshold> threshold_of(const promql::Expr& condition) {
  const auto& e = promql::bare(condition);
  if (e.kind != Kind::binary) return {};
  const auto& b = static_cast<const promql::Binary&>(e);
  if (promql::is_set(b.op)) {
    auto left = threshold_of(*b.lhs);
    return left || b.op != BinaryOp::lor ? left : threshold_of(*b.rhs);
  }
  if (!promql::is_comparison(b.op)) return {};
  const bool left = b.lhs->type == ValueType::vector;
  const auto& side = left ? *b.lhs : *b.rhs;
  Threshold out{name_of(side), std::string(promql::to_string(left ? b.op : mirrored(b.op))),
                constant(left ? *b.rhs : *b.lhs)};
  return out;
}

promql::ExprPtr measured(const promql::Expr& condition) {
  const auto text = without_condition(condition);
  if (!text) return nullptr;
  std::vector<promql::Problem> problems;
  auto e = promql::compile(*text, problems, {.experimental = true});  // the whole was allowed
  return e && e->type == ValueType::vector ? std::move(e) : nullptr;
}

}  // namespace vitald
