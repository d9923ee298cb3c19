// SPDX-License-Identifier: Apache-2.0
// Unit tests of rules in promtool's format: series from their notation, rules over them, and what is expected of it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "rules/promql/check.h"
#include "rules/promql/functions.h"

namespace vitald {

struct UnitTestSettings {
  promql::Language language = {};
  promql::Dialect dialect = promql::Dialect::v3;
};

struct UnitTestReport {
  // What is wrong with the file, or with a rule file that it names: then nothing was tested.
  std::vector<std::string> problems;
  std::vector<std::string> warnings;
  // What came out differently, as promtool prints it; several lines each.
  std::vector<std::string> failures;
  std::size_t tests = 0;  // cases of alerts and expressions
  [[nodiscard]] bool passed() const { return problems.empty() && failures.empty(); }
};

// Paths of rule files are of the test file's folder.
UnitTestReport run_unit_tests(const std::string& file, const UnitTestSettings& settings = {});

}  // namespace vitald
