// SPDX-License-Identifier: Apache-2.0
// On which processor each CPU is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/host.h"

namespace vitald {

// Looked at once: a CPU that is off then is counted with the one before it, and stays there. Any thread.
class CpuPackages {
 public:
  static constexpr std::size_t kMost = 8;

  // Of CPUs 0 to count - 1.
  CpuPackages(const Host& host, std::size_t count);

  // Which of names().
  [[nodiscard]] std::size_t of(std::size_t cpu) const { return cpu < of_.size() ? of_[cpu] : 0; }
  // The kernel's physical_package_id. One empty name: the kernel does not say, or there are more than kMost, so all
  // CPUs are taken together.
  [[nodiscard]] std::span<const std::string> names() const { return names_; }
  [[nodiscard]] std::size_t cpus(std::size_t package) const { return counts_[package]; }

 private:
  std::vector<std::uint8_t> of_;
  std::vector<std::string> names_;
  std::vector<std::size_t> counts_;
};

}  // namespace vitald
