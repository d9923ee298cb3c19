// SPDX-License-Identifier: Apache-2.0
// What an alert's expression looks at, without the condition on it: temp of `temp > 80 and on () enabled`. An alert
// that is over is told with the value that ended it, and its own expression gives none then.
#pragma once

#include "rules/promql/ast.h"

namespace vitald {

// Null when the expression has no condition that can be taken away (absent(x), count(x > 1), a bare x).
promql::ExprPtr measured(const promql::Expr& condition);

}  // namespace vitald
