// SPDX-License-Identifier: Apache-2.0
#include "sensors/exposition.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  (void)vitald::parse_exposition(vitald::Input(data, size).rest());
  return 0;
}
