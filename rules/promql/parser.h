// SPDX-License-Identifier: Apache-2.0
// Tokens -> tree. Knows the grammar only; types and functions are the checker's (check.h).
#pragma once

#include <string_view>
#include <vector>

#include "rules/promql/check.h"
#include "rules/promql/pattern.h"

namespace vitald::promql {

// Null when the text is no expression; `problems` says where and why (the first mistake only, since what
// follows one is guesswork). `budget` is what the regular expressions in it may take; null: as much as the owner's.
ExprPtr parse(std::string_view text, std::vector<Problem>& problems, PatternBudget* budget = nullptr);

// Parse and check: a tree ready to evaluate, or null and all problems.
ExprPtr compile(std::string_view text, std::vector<Problem>& problems, const Language& language = {},
                PatternBudget* budget = nullptr);

// `name{label="value", ...}` as in rule thresholds and test scripts; null when it is none. `any_name`: with matchers of
// the name beside one as well, of which all have to fit.
std::unique_ptr<Selector> parse_selector(std::string_view text, std::vector<Problem>& problems,
                                         PatternBudget* budget = nullptr, bool any_name = false);

}  // namespace vitald::promql
