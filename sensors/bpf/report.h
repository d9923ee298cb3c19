// SPDX-License-Identifier: Apache-2.0
// How a signal of a BPF object is going, as metrics and as a line for people.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/batch.h"
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "sensors/bpf/object.h"

namespace vitald {

// Every signal's table of metrics starts with these.
#define VITALD_PROBE_METRICS                                                                                           \
  {"vitald_probe_up", MetricType::gauge,                                                                               \
   "1 where the BPF probe is attached through this hook, 0 where it is off for this reason; hook=\"shed\" is off for " \
   "a while, since probes cost more than --bpf.budget.",                                                               \
   "probe,hook,reason"},                                                                                               \
      {"vitald_bpf_program_run_seconds_total",                                                                         \
       MetricType::counter,                                                                                            \
       "Time spent in a BPF program; only while kernel.bpf_stats_enabled is 1.",                                       \
       "probe,program",                                                                                                \
       "seconds",                                                                                                      \
       "bpf_prog_info"},                                                                                               \
      {"vitald_bpf_program_runs_total",                                                                                \
       MetricType::counter,                                                                                            \
       "Runs of a BPF program; only while kernel.bpf_stats_enabled is 1.",                                             \
       "probe,program",                                                                                                \
       "",                                                                                                             \
       "bpf_prog_info"},                                                                                               \
      {"vitald_probe_cost_seconds_total",                                                                              \
       MetricType::counter,                                                                                            \
       "CPU time in a BPF program, by its own clock: one run in 61 is timed. What it takes to call it is not in it. "  \
       "One that several probes are in is with each of them.",                                                         \
       "probe,program",                                                                                                \
       "seconds",                                                                                                      \
       "bpf_ktime_get_ns"},                                                                                            \
      {"vitald_probe_runs_total",                                                                                      \
       MetricType::counter,                                                                                            \
       "Runs of a BPF program, by its own count; see vitald_probe_cost_seconds_total.",                                \
       "probe,program",                                                                                                \
       "",                                                                                                             \
       "bpf_ktime_get_ns"},                                                                                            \
  {                                                                                                                    \
    "vitald_bpf_program_missed_runs_total", MetricType::counter,                                                       \
        "Events that a BPF program did not see because it, or another, was running on that CPU already; from Linux "   \
        "5.12. Of a probe's programs one is looked at, in turn, once a second at most; all in each collection "        \
        "while kernel.bpf_stats_enabled is 1.",                                                                        \
        "probe,program", "", "bpf_prog_info"                                                                           \
  }
inline constexpr MetricDesc kProbeMetrics[] = {VITALD_PROBE_METRICS};

class ProbeReport {
 public:
  ~ProbeReport();
  ProbeReport(const ProbeReport&) = delete;
  ProbeReport& operator=(const ProbeReport&) = delete;
  ProbeReport(std::string_view probe, HookForm form) : probe_(probe), form_(form) {}
  // The loaded programs of an object that are this signal's.
  void watch(const KernelFacts& facts, const Signal& signal, const bpf_object* object);
  // `use` outlives this. From now on it is held to the budget.
  template <class Object>
  void watch(const KernelFacts& facts, const SignalUse<Object>& use) {
    watch(facts, use.signal(), use->bpf.skel().obj);
    hold(facts, use.signal(), use->bpf.costs(), use.budget(), [&use](bool on) { return use.turn(on); });
  }
  // False while it is off for what it costs: then there is nothing to show.
  [[nodiscard]] bool emit(BatchWriter& out);
  [[nodiscard]] std::string status() const;
  void note(std::string text) { note_ = std::move(text); }

 private:
  struct Program {
    std::string name;
    int fd;
    // What the kernel said of it when it was asked last.
    bool counts_runs = false, counts_missed = false;
    double run_seconds = 0, runs = 0, missed = 0;
  };
  // Of a program, all CPUs together.
  struct Cost {
    const char* program;
    int number;
    std::vector<vitald_cost> before;  // per CPU
    double seconds = 0;
    std::uint64_t runs = 0;
  };
  using Turn = std::function<Result<>(bool on)>;
  void hold(const KernelFacts& facts, const Signal& signal, const MappedArray<vitald_cost>& costs, ProbeBudget& budget,
            Turn turn);
  void read(Cost& cost) const;
  void obey(BatchWriter& out);
  void ask_kernel(BatchWriter& out);

  std::string probe_;
  HookForm form_;
  std::uint8_t rank_ = 0;
  bool on_ = true;
  const MappedArray<vitald_cost>* cells_ = nullptr;
  std::vector<Cost> costs_;
  ProbeBudget* budget_ = nullptr;
  Turn turn_;
  std::string note_;
  std::vector<Program> programs_;
  std::int64_t asked_ns_ = 0;
  bool asked_ = false;
  std::size_t turn_of_ = 0;  // of programs_
};

// What stands in for a signal that could not be loaded: emits vitald_probe_up 0 with the reason. Logs it.
std::unique_ptr<Collector> probe_off(std::string_view probe, const Error& why);

}  // namespace vitald
