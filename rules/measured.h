// SPDX-License-Identifier: Apache-2.0
// What an alert's expression looks at, without the condition on it: temp of `temp > 80 and on () enabled`. An alert
// that is over is told with the value that ended it, and its own expression gives none then.
#pragma once

#include <optional>
#include <string>

#include "rules/promql/ast.h"

namespace vitald {

// Null when the expression has no condition that can be taken away (absent(x), count(x > 1), a bare x).
promql::ExprPtr measured(const promql::Expr& condition);

// What a person would call the bound of an alert: node_load1 > 10 of `node_load1{...} > 10 and on () up`.
struct Threshold {
  // Of the side that is compared: its metric, or the expression where it has several (a ratio); empty: no name.
  std::string metric;
  std::string op;  // as if the number stood on the right: > >= < <= == !=
  std::optional<double> value;
};
// Nothing where no vector is compared with a number.
std::optional<Threshold> threshold_of(const promql::Expr& condition);

}  // namespace vitald
