// SPDX-License-Identifier: Apache-2.0
// Rule files and the templates in them, libraries of checks, and the table of verdicts.
#include "rules/load/load.h"
#include "rules/load/rackscope.h"
#include "rules/verdict.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  const auto text = Input(data, size).rest();
  std::vector<std::string> problems;
  (void)load_rules(text, "fuzz.yaml", problems);
  CheckLibrary checks;
  load_checks(text, "fuzz.yaml", "host:9100", checks, problems);
  for (const auto& c : checks.checks)
    if (!c.expr || c.id.empty()) __builtin_trap();
  std::vector<std::string> of_verdicts;
  const auto verdicts = load_verdicts(text, "fuzz.yaml", of_verdicts);
  if (of_verdicts.empty())
    for (const auto& v : verdicts)
      if (v.when.empty() || v.verdict.empty()) __builtin_trap();
  const auto t = Template::parse(text);
  const std::map<std::string, std::string> labels{{"a", "1.5"}, {"b", "text"}};
  (void)t.expand({.labels = &labels, .external_labels = &labels, .value = 1e300});
  (void)t.expand({.labels = &labels, .external_labels = &labels, .value = -0.25});
  return 0;
}
