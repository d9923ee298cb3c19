// SPDX-License-Identifier: Apache-2.0
// Rule files -> rules. Two forms side by side: Prometheus' groups, and thresholds:
//
//   thresholds:
//     - {metric: node_load1, op: ">", value: 10, severity: warning, for: 1m}
//
// A threshold is a short way to write a rule and becomes one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/promql/check.h"
#include "rules/template.h"

namespace vitald {

using TemplateMap = std::vector<std::pair<std::string, Template>>;  // sorted by name

struct Rule {
  bool alert = false;
  std::string name;
  promql::ExprPtr expr;
  std::int64_t for_ms = 0, keep_firing_for_ms = 0;
  TemplateMap labels, annotations;
  std::string template_problem;  // of the first text that cannot be parsed, which then shows its error
};

struct RuleGroup {
  std::string name, file;
  std::int64_t interval_ms = 0;  // 0: the pipeline's
  std::int64_t query_offset_ms = 0;
  std::size_t limit = 0;  // most alerts or series of one rule; 0: no limit
  std::vector<Rule> rules;
};

// All problems of the file, each "file:line:column: what, expected what"; then the result is of no use. `warnings`:
// what makes a rule worse and not useless, as a template that cannot be parsed.
std::vector<RuleGroup> load_rules(std::string_view yaml, const std::string& file, std::vector<std::string>& problems,
                                  std::vector<std::string>* warnings = nullptr, const promql::Language& language = {});

// Paths and globs -> files, sorted, each once. A path that is not there and a glob that finds nothing in a
// folder that does not exist are problems.
std::vector<std::string> find_rule_files(const std::vector<std::string>& patterns, std::vector<std::string>& problems);

}  // namespace vitald
