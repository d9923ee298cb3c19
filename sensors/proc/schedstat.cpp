// SPDX-License-Identifier: Apache-2.0
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

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
constexpr double kNsPerSecond = 1e9;

class Schedstat final : public Collector {
 public:
  explicit Schedstat(const Host& host) : file_(host.procfs("schedstat"), KernelFile::Read::records) {}

  // "cpu0 774967266 0 1156047857 6812915871 6940518897 2968291618 1699574409556972 176596360891993 5602795035"
  // The last three of nine: ns running, ns waiting, timeslices (kernel/sched/stats.c show_schedstat).
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return absent_when_gone(text.error());
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      if (!take_prefix(words, "cpu")) continue;
      const auto cpu = take_word(words);
      std::optional<std::uint64_t> n[9];
      for (auto& v : n) {
        v = take_u64(words);
        if (!v) return malformed(file_.path(), line, "nine numbers");
      }
      out.set(kMetrics[0], static_cast<double>(*n[6]) / kNsPerSecond, cpu);
      out.set(kMetrics[1], static_cast<double>(*n[7]) / kNsPerSecond, cpu);
      out.set(kMetrics[2], static_cast<double>(*n[8]), cpu);
    }
    return {};
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Schedstat>(host); }

}  // namespace

extern const CollectorInfo collector_schedstat;
const CollectorInfo collector_schedstat{kMetrics, {}, make};

}  // namespace vitald
