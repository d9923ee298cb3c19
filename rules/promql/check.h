// SPDX-License-Identifier: Apache-2.0
// What the grammar cannot say: types, functions and their arguments, which modifiers make sense where.
#pragma once

#include <string_view>
#include <vector>

#include "rules/promql/ast.h"

namespace vitald::promql {

// What is allowed beside the language as it is.
struct Language {
  bool experimental = false;  // info(), fill(), anchored, smoothed, start_timestamp(): may change or go
};

// Sets the type and id of every node and the function of every call. False when something is wrong; all
// of it is told.
bool check(Expr& root, std::vector<Problem>& problems, const Language& language = {});

// How many nodes a checked tree has: ids are below it.
std::size_t node_count(const Expr& root);

}  // namespace vitald::promql
