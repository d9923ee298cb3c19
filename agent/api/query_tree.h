// SPDX-License-Identifier: Apache-2.0
// A query's tree as /api/v1/parse_query gives it, in the shape that Prometheus' own pages read.
#pragma once

#include <string>

#include "rules/promql/ast.h"

namespace vitald {

// Of an expression that was checked.
std::string query_tree_json(const promql::Expr& query);

}  // namespace vitald
