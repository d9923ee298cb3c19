// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

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

// What a file promises: all of it must be there. The system's cpu has a meaningless "full" line since 5.13
// (psi_show, kernel/sched/psi.c), irq (since 6.1) has no "some".
struct Resource {
  const MetricDesc *some, *full;
  KernelFile file;
  bool absent = false;  // this kernel has no such file, and will not until it is booted again
};

class Pressure final : public Collector {
 public:
  explicit Pressure(const Host& host)
      : resources_{{&kMetrics[0], nullptr, KernelFile(host.procfs("pressure/cpu"))},
                   {&kMetrics[1], &kMetrics[2], KernelFile(host.procfs("pressure/io"))},
                   {&kMetrics[3], &kMetrics[4], KernelFile(host.procfs("pressure/memory"))},
                   {nullptr, &kMetrics[5], KernelFile(host.procfs("pressure/irq"))}} {}

  Result<> collect(BatchWriter& out) override {
    Result<> outcome;
    bool any = false;
    for (auto& r : resources_) {
      if (r.absent) continue;
      const auto text = r.file.read();
      if (text) {
        any = true;
        if (auto emitted = emit(out, r, *text); !emitted && outcome) outcome = fail(emitted.error());
      } else if (text.error().kind == Errc::gone) {
        r.absent = true;
      } else if (text.error().kind == Errc::absent) {  // EOPNOTSUPP: psi_enable is off
        return fail(Errc::absent, text.error().text + "; boot with psi=1", text.error().err);
      } else {
        any = true;
        if (outcome) outcome = fail(text.error());
      }
    }
    if (!any) return fail(Errc::absent, resources_[0].file.path() + ": not there; needs Linux 4.20 with CONFIG_PSI");
    return outcome;
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

  Resource resources_[4];
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Pressure>(host); }

}  // namespace

extern const CollectorInfo collector_pressure;
const CollectorInfo collector_pressure{kMetrics, {}, make};

}  // namespace vitald
