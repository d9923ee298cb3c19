// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/scan.h"
#include "sensors/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

// All in kHz.
constexpr AttributeRow kRows[] = {
    {"cpuinfo_cur_freq",
     {"node_cpu_frequency_hertz", gauge, "Current CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_cur_freq"},
     1000},
    {"cpuinfo_avg_freq",
     {"node_cpu_frequency_avg_hertz", gauge, "Average CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_avg_freq"},
     1000},
    {"cpuinfo_min_freq",
     {"node_cpu_frequency_min_hertz", gauge, "Minimum CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_min_freq"},
     1000},
    {"cpuinfo_max_freq",
     {"node_cpu_frequency_max_hertz", gauge, "Maximum CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq"},
     1000},
    {"scaling_cur_freq",
     {"node_cpu_scaling_frequency_hertz", gauge, "Current scaled CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"},
     1000},
    {"scaling_min_freq",
     {"node_cpu_scaling_frequency_min_hertz", gauge, "Minimum scaled CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/scaling_min_freq"},
     1000},
    {"scaling_max_freq",
     {"node_cpu_scaling_frequency_max_hertz", gauge, "Maximum scaled CPU thread frequency in hertz.", "cpu", "hertz",
      "/sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq"},
     1000},
};
constexpr MetricDesc kMetrics[] = {
    {"node_cpu_scaling_governor", gauge, "Current enabled CPU frequency governor.", "cpu,governor", "",
     "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"},
};
constexpr auto kFamilies = families_of(kRows, kMetrics);

struct Cpu {
  explicit Cpu(const std::string& path)
      : frequencies(path + "/cpufreq", kRows),
        available(path + "/cpufreq/scaling_available_governors"),
        governor(path + "/cpufreq/scaling_governor") {}
  AttributeTable frequencies;
  Attribute available, governor;
};

class Cpufreq final : public Collector {
 public:
  explicit Cpufreq(const Host& host) : cpus_(host.sysfs("devices/system/cpu")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = cpus_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    for (auto& [name, cpu] : cpus_.items()) {
      std::string_view number = name;
      if (!take_prefix(number, "cpu") || !parse_u64(number)) continue;
      cpu.frequencies.emit(out, number);
      governor_ = cpu.governor.text().value_or("");
      if (governor_.empty()) continue;
      // "performance powersave"
      auto rest = cpu.available.text().value_or("");
      for (auto g = take_word(rest); !g.empty(); g = take_word(rest)) out.set(kMetrics[0], g == governor_, number, g);
    }
    return {};
  }

 private:
  KernelItems<Cpu> cpus_;
  std::string governor_;  // of the CPU at hand; kept for its memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Cpufreq>(host); }

}  // namespace

extern const CollectorInfo collector_cpufreq;
const CollectorInfo collector_cpufreq{kFamilies, {}, make};

}  // namespace vitald
