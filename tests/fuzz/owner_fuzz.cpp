// SPDX-License-Identifier: Apache-2.0
// The grammar of cgroup paths, fed with any bytes: every path has an owner with a name.
#include "sensors/owner/resolver.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  const auto owner = owner_from_path(Input(data, size).rest());
  if (owner.name.empty()) __builtin_trap();
  (void)owner_labels(owner);
  return 0;
}
