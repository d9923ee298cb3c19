// SPDX-License-Identifier: Apache-2.0
#include "rules/measured.h"

#include <optional>
#include <string>
#include <vector>

#include "rules/promql/parser.h"

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

}  // namespace

promql::ExprPtr measured(const promql::Expr& condition) {
  const auto text = without_condition(condition);
  if (!text) return nullptr;
  std::vector<promql::Problem> problems;
  auto e = promql::compile(*text, problems, {.experimental = true});  // the whole was allowed
  return e && e->type == ValueType::vector ? std::move(e) : nullptr;
}

}  // namespace vitald
