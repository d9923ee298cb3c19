// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/cpuinfo.h"

#include <span>

#include "core/text/scan.h"

namespace vitald {
namespace {

struct Key {
  std::string_view name;
  std::string_view CpuInfo::*field;
};
constexpr Key kKeys[] = {
    {"vendor_id", &CpuInfo::vendor},
    {"cpu family", &CpuInfo::family},
    {"model", &CpuInfo::model},
    {"model name", &CpuInfo::model_name},
    {"stepping", &CpuInfo::stepping},
    {"microcode", &CpuInfo::microcode},
    {"cpu MHz", &CpuInfo::mhz},
    {"cache size", &CpuInfo::cache_size},
    {"physical id", &CpuInfo::package},
    {"core id", &CpuInfo::core},
    {"flags", &CpuInfo::flags},
    {"bugs", &CpuInfo::bugs},
    {"vendor", &CpuInfo::vendor},        // ia64
    {"Features", &CpuInfo::flags},       // arm64
    {"hart", &CpuInfo::core},            // riscv
    {"isa", &CpuInfo::model_name},       // riscv
    {"cpu", &CpuInfo::vendor},           // powerpc: "POWER9, altivec supported"
    {"clock", &CpuInfo::mhz},            // powerpc: "3800.000000MHz"
    {"cpu MHz dynamic", &CpuInfo::mhz},  // s390x
    {"package", &CpuInfo::package},      // loongarch64, mips
    {"core", &CpuInfo::core},
    {"CPU Family", &CpuInfo::family},      // loongarch64
    {"Model Name", &CpuInfo::model_name},  // loongarch64
    {"CPU MHz", &CpuInfo::mhz},            // loongarch64
    {"cpu model", &CpuInfo::model_name},   // mips
};
// What stands before the first processor and is said of all.
constexpr Key kCommon[] = {
    {"vendor_id", &CpuInfo::vendor},    // s390x
    {"features", &CpuInfo::flags},      // s390x
    {"system type", &CpuInfo::vendor},  // loongarch64, mips; node_exporter has it as the vendor too
};

struct Line {
  std::string_view key, value;  // value: without the blank after the colon
};
std::optional<Line> split(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  Line out{trim(line.substr(0, colon)), line.substr(colon + 1)};
  take_prefix(out.value, " ");
  return out;
}

void keep(std::span<const Key> keys, const Line& line, CpuInfo& cpu) {
  for (const auto& k : keys)
    if (k.name == line.key) return void(cpu.*k.field = line.value);
}

}  // namespace

CpuInfos::CpuInfos(std::string_view text)
    : rest_(text), numbered_(!text.starts_with("processor") && text.find("\ncpu number") != std::string_view::npos) {
  for (auto ahead = rest_; !ahead.empty();) {
    rest_ = ahead;
    const auto line = split(take_line(ahead));
    if (!line) continue;
    if (!starts(line->key).empty()) return;
    keep(kCommon, *line, common_);
  }
}

// "processor\t: 3"; s390x: "cpu number      : 3", before Linux 4.12 only "processor 3: version = FF,  ..."
std::string_view CpuInfos::starts(std::string_view key) const {
  if (key == "processor" || key == "cpu number") return key;
  const bool one = !numbered_ && take_prefix(key, "processor ") && parse_u64(key);
  return one ? key : std::string_view();
}

// "model name\t: Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz"
std::optional<CpuInfo> CpuInfos::next() {
  auto cpu = common_;
  bool inside = false;
  while (!rest_.empty()) {
    const auto after = rest_;
    const auto text = take_line(rest_);
    const auto line = split(text);
    if (!line) {
      if (inside && trim(text).empty()) return cpu;
      continue;
    }
    if (const auto word = starts(line->key); !word.empty()) {
      if (inside) {  // no empty line between the blocks
        rest_ = after;
        return cpu;
      }
      inside = true;
      cpu.processor = parse_u64(word) ? word : trim(line->value);
    } else if (inside) {
      keep(kKeys, *line, cpu);
    }
  }
  if (!inside) return std::nullopt;
  return cpu;
}

}  // namespace vitald
