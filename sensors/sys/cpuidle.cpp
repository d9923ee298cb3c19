// SPDX-License-Identifier: Apache-2.0
// How long and how often CPUs were in which idle state, from /sys/devices/system/cpu: exact, the kernel keeps it. Of
// all CPUs together, or of each.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

constexpr MetricDesc kSeconds{"vitald_cpu_idle_state_seconds_total",
                              MetricType::counter,
                              "Time that CPUs were in an idle state, as the kernel measured it: from asking for the "
                              "state until the CPU woke; of all CPUs together, with --collector.cpuidle.per-cpu of "
                              "each. The state is the driver's word for it (POLL, C1, C6).",
                              "cpu,state",
                              "seconds",
                              "/sys/devices/system/cpu/cpu*/cpuidle/state*/time"};
constexpr MetricDesc kEntries{"vitald_cpu_idle_state_entries_total",
                              MetricType::counter,
                              "How often CPUs were put into an idle state; see vitald_cpu_idle_state_seconds_total.",
                              "cpu,state",
                              "",
                              "/sys/devices/system/cpu/cpu*/cpuidle/state*/usage"};
constexpr MetricDesc kMetrics[] = {kSeconds, kEntries};
constexpr std::string_view kPerCpuFlag = "collector.cpuidle.per-cpu";
constexpr FlagSpec kFlags[] = {
    {kPerCpuFlag, FlagType::boolean, "false",
     "Show idle states of each CPU (two series for each state of each) instead of the sum of all."},
};

// As many files stay open; those of further CPUs are opened anew each time (4 us more for each).
constexpr std::size_t kMostOpen = 256;
constexpr std::array kFamilies{&kSeconds, &kEntries};
constexpr double kUnits[] = {1e6, 1};

struct State {
  explicit State(const std::string& folder) : files{{Attribute(folder + "/time"), Attribute(folder + "/usage")}} {
    name = Attribute(folder + "/name").text().value_or("");
    if (name.empty()) name = folder.substr(folder.rfind('/') + 1);
  }
  std::string name;
  std::array<Attribute, 2> files;  // as kFamilies
};

// Of one CPU; another driver brings other states.
struct Cpu {
  explicit Cpu(const std::string& path) : states(path + "/cpuidle", "state") {}
  KernelItems<State> states;
};

std::optional<double> count_of(Attribute& file, BatchWriter& out) {
  const auto n = file.u64();
  if (!n)
    if (auto why = file.no_number()) out.problem(std::move(*why));
  return n ? std::optional(static_cast<double>(*n)) : std::nullopt;
}

class Cpuidle final : public Collector {
 public:
  Cpuidle(const Host& host, bool per_cpu) : cpus_(host.sysfs("devices/system/cpu"), "cpu"), per_cpu_(per_cpu) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = cpus_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    found_.clear();
    std::size_t open = 0;
    for (auto& [folder, cpu] : cpus_.items()) {
      std::string_view number = folder;
      if (!take_prefix(number, "cpu") || !parse_u64(number)) continue;
      if (auto listed = cpu.states.refresh(); !listed) {
        if (listed.error().kind != Errc::gone) out.problem(listed.error());
        continue;
      }
      const auto states = cpu.states.items();
      for (auto state = states.begin(); state != states.end(); ++state) {
        const bool taken =
            std::any_of(states.begin(), state, [&](const auto& s) { return s.value.name == state->value.name; });
        for (std::size_t i = 0; i < kFamilies.size(); ++i) {
          auto& kept = state->value.files[i];
          std::optional<double> n;
          if (++open <= kMostOpen) {
            n = count_of(kept, out);
          } else {
            Attribute once(kept.path());
            n = count_of(once, out);
          }
          if (n) found_.push_back({i, *n, number, taken ? state->name : state->value.name});
        }
      }
    }
    if (per_cpu_) emit_each(out);
    else emit_sums(out);
    return {};
  }

 private:
  struct Found {
    std::size_t family;
    double value;
    std::string_view cpu, state;  // of names in cpus_
  };
  struct Sum {
    double value = 0;
    bool now = false;                                   // a CPU has it in this collection
    std::map<std::string, double, std::less<>> by_cpu;  // when it was read last
  };

  void emit_each(BatchWriter& out) const {
    for (std::size_t i = 0; i < kFamilies.size(); ++i)
      for (const auto& f : found_)
        if (f.family == i) out.set(*kFamilies[i], f.value / kUnits[i], f.cpu, f.state);
  }
  // What was added since the last reading is added: a CPU that is taken away, or not to be read once, takes nothing
  // back, which would look like a restart.
  void emit_sums(BatchWriter& out) {
    for (auto& sums : sums_)
      for (auto& [state, sum] : sums) sum.now = false;
    for (const auto& f : found_) {
      auto& sums = sums_[f.family];
      auto at = sums.find(f.state);
      if (at == sums.end()) at = sums.emplace(f.state, Sum{}).first;
      auto& sum = at->second;
      auto before = sum.by_cpu.find(f.cpu);
      if (before == sum.by_cpu.end()) before = sum.by_cpu.emplace(f.cpu, 0).first;
      sum.value += f.value >= before->second ? f.value - before->second : f.value;
      before->second = f.value;
      sum.now = true;
    }
    for (std::size_t i = 0; i < kFamilies.size(); ++i)
      for (const auto& [state, sum] : sums_[i]) {
        const Label labels[] = {{"state", state}};
        if (sum.now) out.set_labels(*kFamilies[i], sum.value / kUnits[i], labels);
      }
  }

  KernelItems<Cpu> cpus_;
  const bool per_cpu_;
  std::vector<Found> found_;
  std::array<std::map<std::string, Sum, std::less<>>, kFamilies.size()> sums_;  // by state
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Cpuidle>(host, options.flag(kPerCpuFlag));
}

}  // namespace

extern const CollectorInfo collector_cpuidle;
const CollectorInfo collector_cpuidle{kMetrics, kFlags, make};

}  // namespace vitald
