// SPDX-License-Identifier: Apache-2.0
// Visiting what an expression is made of.
#pragma once

#include "rules/promql/ast.h"

namespace vitald::promql {

// Every selector of the tree, from left to right.
template <class Visit>
void each_selector(const Expr& e, const Visit& visit) {
  switch (e.kind) {
    case Kind::selector: return visit(static_cast<const Selector&>(e));
    case Kind::matrix: return visit(*static_cast<const MatrixSelector&>(e).selector);
    case Kind::subquery: return each_selector(*static_cast<const Subquery&>(e).inner, visit);
    case Kind::unary: return each_selector(*static_cast<const Unary&>(e).inner, visit);
    case Kind::paren: return each_selector(*static_cast<const Paren&>(e).inner, visit);
    case Kind::call:
      for (const auto& a : static_cast<const Call&>(e).args) each_selector(*a, visit);
      return;
    case Kind::binary: {
      const auto& b = static_cast<const Binary&>(e);
      each_selector(*b.lhs, visit);
      return each_selector(*b.rhs, visit);
    }
    case Kind::aggregate: {
      const auto& a = static_cast<const Aggregate&>(e);
      if (a.parameter) each_selector(*a.parameter, visit);
      return each_selector(*a.inner, visit);
    }
    default: return;
  }
}

}  // namespace vitald::promql
