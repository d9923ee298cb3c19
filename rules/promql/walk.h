// SPDX-License-Identifier: Apache-2.0
// Visiting what an expression is made of.
#pragma once

#include "rules/promql/ast.h"

namespace vitald::promql {

// What an expression is made of itself, from left to right.
template <class Visit>
void each_part(const Expr& e, const Visit& visit) {
  switch (e.kind) {
    case Kind::matrix: return visit(*static_cast<const MatrixSelector&>(e).selector);
    case Kind::subquery: return visit(*static_cast<const Subquery&>(e).inner);
    case Kind::unary: return visit(*static_cast<const Unary&>(e).inner);
    case Kind::paren: return visit(*static_cast<const Paren&>(e).inner);
    case Kind::call:
      for (const auto& a : static_cast<const Call&>(e).args) visit(*a);
      return;
    case Kind::binary: {
      const auto& b = static_cast<const Binary&>(e);
      visit(*b.lhs);
      return visit(*b.rhs);
    }
    case Kind::aggregate: {
      const auto& a = static_cast<const Aggregate&>(e);
      if (a.parameter) visit(*a.parameter);
      return visit(*a.inner);
    }
    default: return;
  }
}

// Every selector of the tree, from left to right.
template <class Visit>
void each_selector(const Expr& e, const Visit& visit) {
  if (e.kind == Kind::selector) return visit(static_cast<const Selector&>(e));
  each_part(e, [&](const Expr& part) { each_selector(part, visit); });
}

}  // namespace vitald::promql
