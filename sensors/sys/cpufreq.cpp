// SPDX-License-Identifier: Apache-2.0
// Clock frequencies of each CPU and its governor, from /sys/devices/system/cpu.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

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
constexpr const MetricDesc& kGovernor = row(kMetrics, "node_cpu_scaling_governor");
constexpr auto kFamilies = families_of(kRows, kMetrics);

// What the hardware can does not change by itself (turbo switched off moves the maximum): 3 of up to 9 files
// for each CPU are read only now and then.
constexpr bool is_limit(std::string_view file) { return file == "cpuinfo_min_freq" || file == "cpuinfo_max_freq"; }
constexpr std::int64_t kRereadNs = 60'000'000'000;

struct Cpu {
  explicit Cpu(const std::string& path) : folder(path + "/cpufreq/"), governor(folder + "scaling_governor") {
    frequencies.reserve(std::size(kRows));
    for (const auto& row : kRows) frequencies.emplace_back(folder + std::string(row.file));
  }

  void read_limits() {
    limits_read = true;
    for (std::size_t i = 0; i < std::size(kRows); ++i)
      if (is_limit(kRows[i].file)) {
        Attribute file(frequencies[i].path());
        limits[i] = file.number();
        bad_limits[i] = file.no_number();
      }
    // "performance powersave"
    auto rest = Attribute(folder + "scaling_available_governors").text().value_or("");
    governors.clear();
    for (auto g = take_word(rest); !g.empty(); g = take_word(rest)) governors.emplace_back(g);
  }
  std::optional<double> frequency(std::size_t row, BatchWriter& out) {
    if (!is_limit(kRows[row].file)) return number_of(frequencies[row], out);
    if (bad_limits[row]) out.problem(*bad_limits[row]);
    return limits[row];
  }

  std::string folder;
  std::vector<Attribute> frequencies;
  Attribute governor;
  std::array<std::optional<double>, std::size(kRows)> limits;
  std::array<std::optional<Error>, std::size(kRows)> bad_limits;
  std::vector<std::string> governors;
  bool limits_read = false;
};

class Cpufreq final : public Collector {
 public:
  explicit Cpufreq(const Host& host) : host_(host), cpus_(host.sysfs("devices/system/cpu"), "cpu") {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = cpus_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    const auto now_ns = host_.clock().boot_ns();
    const bool old = now_ns - read_ns_ > kRereadNs;
    if (old) read_ns_ = now_ns;
    for (auto& [name, cpu] : cpus_.items()) {
      std::string_view number = name;
      if (!take_prefix(number, "cpu") || !parse_u64(number)) continue;
      if (old || !cpu.limits_read) cpu.read_limits();
      for (std::size_t i = 0; i < std::size(kRows); ++i)
        if (const auto khz = cpu.frequency(i, out)) out.set(kRows[i].desc, *khz * kRows[i].factor, number);
      const auto governor = cpu.governor.text();
      if (governor && governor->empty()) out.problem(malformed(cpu.governor.path(), "", "a governor").value());
      if (!governor || governor->empty()) continue;
      // Another driver's, or a module's that was loaded since.
      const std::string now(*governor);
      const auto listed = [&governors = cpu.governors, &now] {
        return std::ranges::find(governors, now) != governors.end();
      };
      if (!listed()) cpu.read_limits();
      if (!listed()) cpu.governors.push_back(now);
      for (const auto& g : cpu.governors) out.set(kGovernor, g == now, number, g);
    }
    return {};
  }

 private:
  const Host& host_;
  KernelItems<Cpu> cpus_;
  std::int64_t read_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Cpufreq>(host); }

}  // namespace

extern const CollectorInfo collector_cpufreq;
const CollectorInfo collector_cpufreq{kFamilies, {}, make};

}  // namespace vitald
