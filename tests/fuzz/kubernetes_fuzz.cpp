// SPDX-License-Identifier: Apache-2.0
// What a Kubernetes API server, or whoever answers in its place, says of a node and of our rights.
#include "exporters/deliver/kubernetes_answers.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  Input in(data, size);
  if (in.byte() % 4 == 0) {
    (void)allowed_in(in.rest());
    return 0;
  }
  if (const auto found = conditions_in(in.rest()))
    for (const auto& [type, condition] : *found)
      if (!type.starts_with(kConditionPrefix) || condition.reason.empty()) __builtin_trap();
  return 0;
}
