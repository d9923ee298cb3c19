// SPDX-License-Identifier: Apache-2.0
// How long and how often each CPU was in which idle state, from /sys/devices/system/cpu: exact, the kernel keeps it.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

constexpr MetricDesc kSeconds{"vitald_cpu_idle_state_seconds_total",
                              MetricType::counter,
                              "Time that a CPU was in an idle state, as the kernel measured it: from asking for the "
                              "state until the CPU woke. The state is the driver's word for it (POLL, C1, C6).",
                              "cpu,state",
                              "seconds",
                              "/sys/devices/system/cpu/cpu*/cpuidle/state*/time"};
constexpr MetricDesc kEntries{"vitald_cpu_idle_state_entries_total",
                              MetricType::counter,
                              "How often a CPU was put into an idle state.",
                              "cpu,state",
                              "",
                              "/sys/devices/system/cpu/cpu*/cpuidle/state*/usage"};
constexpr MetricDesc kMetrics[] = {kSeconds, kEntries};

struct State {
  explicit State(const std::string& folder) : time(folder + "/time"), usage(folder + "/usage") {
    name = Attribute(folder + "/name").text().value_or("");
    if (name.empty()) name = folder.substr(folder.rfind('/') + 1);
  }
  std::string name;
  Attribute time, usage;
};

// Of one CPU; another driver brings other states.
struct Cpu {
  explicit Cpu(const std::string& path) : states(path + "/cpuidle", "state") {}
  KernelItems<State> states;
};

class Cpuidle final : public Collector {
 public:
  explicit Cpuidle(const Host& host) : cpus_(host.sysfs("devices/system/cpu"), "cpu") {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = cpus_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    found_.clear();
    for (auto& [folder, cpu] : cpus_.items()) {
      std::string_view number = folder;
      if (!take_prefix(number, "cpu") || !parse_u64(number)) continue;
      if (auto listed = cpu.states.refresh(); !listed) {
        if (listed.error().kind != Errc::gone) out.problem(listed.error());
        continue;
      }
      for (auto& [directory, state] : cpu.states.items()) {
        const auto us = number_of(state.time, out), entries = number_of(state.usage, out);
        if (us) found_.push_back({&kSeconds, *us / 1e6, number, state.name});
        if (entries) found_.push_back({&kEntries, *entries, number, state.name});
      }
    }
    for (const auto* family : {&kSeconds, &kEntries})
      for (const auto& f : found_)
        if (f.family == family) out.set(*family, f.value, f.cpu, f.state);
    return {};
  }

 private:
  struct Found {
    const MetricDesc* family;
    double value;
    std::string_view cpu, state;  // of names in cpus_
  };
  KernelItems<Cpu> cpus_;
  std::vector<Found> found_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Cpuidle>(host); }

}  // namespace

extern const CollectorInfo collector_cpuidle;
const CollectorInfo collector_cpuidle{kMetrics, {}, make};

}  // namespace vitald
