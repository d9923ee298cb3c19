// SPDX-License-Identifier: Apache-2.0
// How long tasks waited for CPU, memory, disks and interrupts, from /proc/pressure.
#include <fmt/format.h>

#include <optional>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_pressure_cpu_waiting_seconds_total", MetricType::counter,
     "Total time in seconds that processes have waited for CPU time", "", "seconds", "/proc/pressure/cpu"},
    {"node_pressure_io_waiting_seconds_total", MetricType::counter,
     "Total time in seconds that processes have waited due to IO congestion", "", "seconds", "/proc/pressure/io"},
    {"node_pressure_io_stalled_seconds_total", MetricType::counter,
     "Total time in seconds no process could make progress due to IO congestion", "", "seconds", "/proc/pressure/io"},
    {"node_pressure_memory_waiting_seconds_total", MetricType::counter,
     "Total time in seconds that processes have waited for memory", "", "seconds", "/proc/pressure/memory"},
    {"node_pressure_memory_stalled_seconds_total", MetricType::counter,
     "Total time in seconds no process could make progress due to memory congestion", "", "seconds",
     "/proc/pressure/memory"},
    {"node_pressure_irq_stalled_seconds_total", MetricType::counter,
     "Total time in seconds no process could make progress due to IRQ congestion", "", "seconds", "/proc/pressure/irq"},
};
constexpr const MetricDesc& kCpuWaiting = row(kMetrics, "node_pressure_cpu_waiting_seconds_total");
constexpr const MetricDesc& kIoWaiting = row(kMetrics, "node_pressure_io_waiting_seconds_total");
constexpr const MetricDesc& kIoStalled = row(kMetrics, "node_pressure_io_stalled_seconds_total");
constexpr const MetricDesc& kMemoryWaiting = row(kMetrics, "node_pressure_memory_waiting_seconds_total");
constexpr const MetricDesc& kMemoryStalled = row(kMetrics, "node_pressure_memory_stalled_seconds_total");
constexpr const MetricDesc& kIrqStalled = row(kMetrics, "node_pressure_irq_stalled_seconds_total");

// What a file promises: all of it must be there. The system's cpu has a meaningless "full" line since 5.13
// (psi_show, kernel/sched/psi.c), irq (since 6.1) has no "some".
struct Resource {
  const MetricDesc *some, *full;
  KernelFile file;
  std::int64_t look_again_ns = 0;  // there was no such file; a container's may be mounted later
};

class Pressure final : public Collector {
 public:
  explicit Pressure(const Host& host)
      : host_(host),
        resources_{{&kCpuWaiting, nullptr, KernelFile(host.procfs("pressure/cpu"))},
                   {&kIoWaiting, &kIoStalled, KernelFile(host.procfs("pressure/io"))},
                   {&kMemoryWaiting, &kMemoryStalled, KernelFile(host.procfs("pressure/memory"))},
                   {nullptr, &kIrqStalled, KernelFile(host.procfs("pressure/irq"))}} {}

  Result<> collect(BatchWriter& out) override {
    LeftOut left_out;
    bool any = false;
    const auto now_ns = host_.clock().boot_ns();
    for (auto& r : resources_) {
      if (now_ns < r.look_again_ns) continue;
      const auto text = r.file.read();
      if (text) {
        any = true;
        left_out.add(emit(out, r, *text));
      } else if (text.error().kind == Errc::gone) {
        r.look_again_ns = now_ns + kLookAgainNs;
      } else if (text.error().kind == Errc::absent) {  // EOPNOTSUPP: psi_enable is off
        return fail(Errc::absent, text.error().text + "; boot with psi=1", text.error().err);
      } else {
        any = true;
        left_out.add(text.error());
      }
    }
    if (!any) return fail(Errc::absent, resources_[0].file.path() + ": not there; needs Linux 4.20 with CONFIG_PSI");
    return left_out.outcome();
  }

 private:
  // "some avg10=0.07 avg60=0.12 avg300=0.05 total=178413062"; total is in microseconds
  static Result<> emit(BatchWriter& out, const Resource& r, std::string_view text) {
    std::optional<std::uint64_t> some_us, full_us;
    for (std::string_view rest = text; !rest.empty();) {
      auto line = take_line(rest);
      const auto kind = take_word(line);
      const auto at = line.find(" total=");
      if (at == std::string_view::npos) continue;
      line.remove_prefix(at + 7);
      const auto total_us = take_u64(line);
      if (kind == "some") some_us = total_us;
      else if (kind == "full") full_us = total_us;
    }
    if (r.some && some_us) out.set(*r.some, static_cast<double>(*some_us) / 1000.0 / 1000.0);
    if (r.full && full_us) out.set(*r.full, static_cast<double>(*full_us) / 1000.0 / 1000.0);
    if ((r.some && !some_us) || (r.full && !full_us))
      return fail(Errc::malformed, fmt::format("{}: '{}': a line '{} ... total=number' expected", r.file.path(),
                                               trim(text), r.some && !some_us ? "some" : "full"));
    return {};
  }

  static constexpr std::int64_t kLookAgainNs = 60'000'000'000;
  const Host& host_;
  Resource resources_[4];
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Pressure>(host); }

}  // namespace

extern const CollectorInfo collector_pressure;
const CollectorInfo collector_pressure{kMetrics, {}, make};

}  // namespace vitald
