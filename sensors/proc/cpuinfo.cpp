// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/cpuinfo.h"

#include "core/text/scan.h"

namespace vitald {
namespace {

struct Key {
  std::string_view name;
  std::string_view CpuInfo::*field;
};
constexpr Key kKeys[] = {
    {"vendor_id", &CpuInfo::vendor},    {"cpu family", &CpuInfo::family},
    {"model", &CpuInfo::model},         {"model name", &CpuInfo::model_name},
    {"stepping", &CpuInfo::stepping},   {"microcode", &CpuInfo::microcode},
    {"cpu MHz", &CpuInfo::mhz},         {"cache size", &CpuInfo::cache_size},
    {"physical id", &CpuInfo::package}, {"core id", &CpuInfo::core},
    {"flags", &CpuInfo::flags},         {"bugs", &CpuInfo::bugs},
    {"vendor", &CpuInfo::vendor},   // ia64
    {"Features", &CpuInfo::flags},  // arm64
    {"hart", &CpuInfo::core},       // riscv
    {"isa", &CpuInfo::model_name},  // riscv
    {"cpu", &CpuInfo::vendor},      // powerpc: "POWER9, altivec supported"
    {"clock", &CpuInfo::mhz},       // powerpc: "3800.000000MHz"
};

}  // namespace

// "model name\t: Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz"
std::optional<CpuInfo> take_cpuinfo(std::string_view& rest) {
  CpuInfo cpu;
  bool inside = false;
  while (!rest.empty()) {
    const auto after = rest;
    auto line = take_line(rest);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) {
      if (inside && trim(line).empty()) return cpu;
      continue;
    }
    const auto key = trim(line.substr(0, colon));
    auto value = line.substr(colon + 1);
    take_prefix(value, " ");
    if (key == "processor") {
      if (inside) {  // no empty line between the blocks
        rest = after;
        return cpu;
      }
      inside = true;
      cpu.processor = trim(value);
    } else if (inside) {
      for (const auto& k : kKeys) {
        if (k.name != key) continue;
        cpu.*k.field = value;
        break;
      }
    }
  }
  if (!inside) return std::nullopt;
  return cpu;
}

}  // namespace vitald
