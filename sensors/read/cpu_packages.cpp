// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/cpu_packages.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {

CpuPackages::CpuPackages(const Host& host, std::size_t count) : of_(count, 0) {
  for (std::size_t cpu = 0; cpu < count; ++cpu) {
    if (cpu > 0) of_[cpu] = of_[cpu - 1];
    const auto text =
        read_kernel_file(host.sysfs(fmt::format("devices/system/cpu/cpu{}/topology/physical_package_id", cpu)));
    // -1: the hypervisor does not tell.
    if (!text || !parse_u64(trim(*text))) continue;
    const auto name = std::string(trim(*text));
    auto at = std::ranges::find(names_, name);
    if (at == names_.end() && names_.size() == kMost) {
      names_.clear();
      break;
    }
    if (at == names_.end()) at = names_.insert(at, name);
    of_[cpu] = static_cast<std::uint8_t>(at - names_.begin());
  }
  if (names_.empty()) {
    names_.emplace_back();
    std::ranges::fill(of_, std::uint8_t{0});
  }
  counts_.assign(names_.size(), 0);
  for (const auto package : of_) ++counts_[package];
}

}  // namespace vitald
