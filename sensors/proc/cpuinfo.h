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

// Takes the next processor's block off the front of `rest`; nullopt at the end. Knows the keys of x86, arm64,
// riscv and powerpc; blocks without a processor line (the trailer of arm and powerpc) are passed over.
std::optional<CpuInfo> take_cpuinfo(std::string_view& rest);

}  // namespace vitald
