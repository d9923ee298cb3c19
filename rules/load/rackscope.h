// SPDX-License-Identifier: Apache-2.0
// Rackscope's libraries -> checks and metrics to show. As there, keys that are not known do no harm, a check that does
// not fit costs itself, and a file that is no YAML costs itself: each is a warning with its place.
//
//   checks:
//     - {id: node_temp, name: Temperature, scope: node, for: 5m,
//        expr: 'node_hwmon_temp_celsius{instance=~"$instances"}',
//        rules: [{op: ">", value: 75, severity: WARN}, {op: ">", value: 90, severity: CRIT}]}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rules/promql/check.h"

namespace vitald {

enum class CheckState : std::uint8_t { ok, warn, crit, unknown };  // as vitald_check_state has them: 0 to 3
std::string_view to_string(CheckState state);                      // OK, WARN, CRIT, UNKNOWN
// Whether `a` is worse: CRIT > WARN > UNKNOWN > OK.
bool is_worse(CheckState a, CheckState b);

struct CheckRule {
  std::string op;  // == != > >= < <=
  double value = 0;
  CheckState severity = CheckState::ok;
  [[nodiscard]] bool matches(double v) const;
};

struct Check {
  std::string id, name, kind, scope, file;
  std::string text;      // of the expression, with what stands for $instances and the like
  promql::ExprPtr expr;  // the same
  bool numeric = false;
  std::string identity;  // the label that names the object
  std::vector<CheckRule> rules;
  std::int64_t for_ms = 0;
  std::string expand_by_label;                    // a node of its own for each value of it; empty: none
  promql::ExprPtr discovery;                      // lists all values of that label; null: those that have results
  CheckState absent_state = CheckState::unknown;  // of those that only discovery knows
  std::size_t crit_threshold = 0;                 // with fewer CRIT ones the parent is WARN
};

// A metric to show, of a metric library.
struct ShownMetric {
  std::string id, name, description, expr, unit, chart_type, color, aggregation, category;
  std::optional<double> warn, crit;
  std::vector<std::string> tags;
};

struct CheckLibrary {
  std::vector<Check> checks;
  std::vector<ShownMetric> metrics;
};

// Adds what is in the text. `instance`: what $instances stands for, this host. A check or metric whose id is there
// already is left out, with a warning.
void load_checks(std::string_view yaml, const std::string& file, std::string_view instance, CheckLibrary& into,
                 std::vector<std::string>& warnings, const promql::Language& language = {});

// Paths, globs and folders (all *.yaml and then all *.yml below them) -> files. What is not there is a problem.
std::vector<std::string> find_check_files(const std::vector<std::string>& patterns, std::vector<std::string>& problems);

}  // namespace vitald
