// SPDX-License-Identifier: Apache-2.0
#include "core/moment.h"

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {

Moment moment_of(const Host& host) {
  KernelFile file(host.procfs("sys/kernel/random/boot_id"), KernelFile::Read::sysctl);
  const auto text = file.read();
  return {text ? std::string(trim(*text)) : std::string(), host.clock().boot_ns() / 1'000'000,
          host.clock().wall_ns() / 1'000'000};
}

}  // namespace vitald
