// SPDX-License-Identifier: Apache-2.0
// The CPUs that the kernel lists in one of /sys/devices/system/cpu/{online,possible,...}, for tables that have a row
// for each of them and do not say which.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"
#include "core/os/kernel_file.h"

namespace vitald {

// "1,3-5,9"; nullopt where it is none. Empty is none.
std::optional<std::vector<std::uint64_t>> parse_cpu_list(std::string_view text);

class CpuList {
 public:
  CpuList(const Host& host, std::string_view which);

  // Empty where the kernel does not say.
  std::span<const std::uint64_t> cpus();

 private:
  KernelFile file_;
  std::string text_;
  std::vector<std::uint64_t> cpus_;
};

}  // namespace vitald
