// SPDX-License-Identifier: Apache-2.0
// How long each CPU ran tasks and let them wait, from /proc/schedstat.
#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_schedstat_running_seconds_total", counter, "Number of seconds CPU spent running a process.", "cpu",
     "seconds", "/proc/schedstat"},
    {"node_schedstat_waiting_seconds_total", counter, "Number of seconds spent by processing waiting for this CPU.",
     "cpu", "seconds", "/proc/schedstat"},
    {"node_schedstat_timeslices_total", counter, "Number of timeslices executed by CPU.", "cpu", "", "/proc/schedstat"},
};
constexpr const MetricDesc& kRunning = row(kMetrics, "node_schedstat_running_seconds_total");
constexpr const MetricDesc& kWaiting = row(kMetrics, "node_schedstat_waiting_seconds_total");
constexpr const MetricDesc& kTimeslices = row(kMetrics, "node_schedstat_timeslices_total");
constexpr double kNsPerSecond = 1e9;

class Schedstat final : public Collector {
 public:
  explicit Schedstat(const Host& host) : file_(host.procfs("schedstat"), KernelFile::Read::records) {}

  // "cpu0 774967266 0 1156047857 6812915871 6940518897 2968291618 1699574409556972 176596360891993 5602795035"
  // The last three of nine: ns running, ns waiting, timeslices (kernel/sched/stats.c show_schedstat).
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return absent_when_gone(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "lines of CPUs");
    LeftOut left_out;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      if (!take_prefix(words, "cpu")) continue;
      const auto cpu = take_word(words);
      if (!parse_u64(cpu)) {
        left_out.add(malformed(file_.path(), line, "'cpuN' and nine numbers"));
        continue;
      }
      for (int skipped = 0; skipped < 6; ++skipped) take_u64(words);
      const auto running = take_u64(words), waiting = take_u64(words), slices = take_u64(words);
      if (!running || !waiting || !slices) {
        left_out.add(malformed(file_.path(), line, "nine numbers"));
        continue;
      }
      out.set(kRunning, static_cast<double>(*running) / kNsPerSecond, cpu);
      out.set(kWaiting, static_cast<double>(*waiting) / kNsPerSecond, cpu);
      out.set(kTimeslices, static_cast<double>(*slices), cpu);
    }
    return left_out.outcome();
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Schedstat>(host); }

}  // namespace

extern const CollectorInfo collector_schedstat;
const CollectorInfo collector_schedstat{kMetrics, {}, make};

}  // namespace vitald
