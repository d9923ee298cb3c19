// SPDX-License-Identifier: Apache-2.0
// /proc/cpuinfo, one block of "key : value" lines per processor.
#pragma once

#include <optional>
#include <string_view>

namespace vitald {

// Views into the text that was parsed. What an architecture does not write is empty.
struct CpuInfo {
  std::string_view processor, vendor, family, model, model_name, microcode, stepping, cache_size, package, core;
  std::string_view mhz, flags, bugs;
};

// The processors of a text, one after the other. Knows the keys of x86, arm64, riscv, powerpc, s390x, loongarch64 and
// mips; blocks without a processor line (the trailer of arm and powerpc) are passed over.
class CpuInfos {
 public:
  explicit CpuInfos(std::string_view text);
  std::optional<CpuInfo> next();  // nullopt at the end

 private:
  // Empty, or the word that says which processor begins here, or that its value does.
  [[nodiscard]] std::string_view starts(std::string_view key) const;

  std::string_view rest_;
  bool numbered_;
  CpuInfo common_;  // what was said of all
};

}  // namespace vitald
