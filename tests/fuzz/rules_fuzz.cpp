// SPDX-License-Identifier: Apache-2.0
// Rule files, and the templates in them.
#include "rules/load/load.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  const auto text = Input(data, size).rest();
  std::vector<std::string> problems;
  (void)load_rules(text, "fuzz.yaml", problems);
  const auto t = Template::parse(text);
  const std::map<std::string, std::string> labels{{"a", "1.5"}, {"b", "text"}};
  (void)t.expand({.labels = &labels, .external_labels = &labels, .value = 1e300});
  (void)t.expand({.labels = &labels, .external_labels = &labels, .value = -0.25});
  return 0;
}
