// SPDX-License-Identifier: Apache-2.0
// The XML of a guest: names and metadata in it are whoever made the guest's.
#include "sensors/virt/guest.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  (void)vitald::virt::parse_domain_xml(vitald::Input(data, size).rest());
  return 0;
}
