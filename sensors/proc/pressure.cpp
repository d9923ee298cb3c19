// SPDX-License-Identifier: Apache-2.0
// How long tasks waited for CPU, memory, disks and interrupts, from /proc/pressure.
#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/proc/stall_news.h"
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

// So much of a second is more than a healthy host has now and then; what follows from a trigger is one collection.
constexpr std::int64_t kMostNs = 999'000'000;
constexpr FlagSpec kFlags[] = {
    {.name = "collector.pressure.cpu-news",
     .type = FlagType::duration,
     .fallback = "500ms",
     .help =
         "When tasks have waited so much of a second for a CPU, the rules that read node_pressure_* are evaluated at "
         "once, not at their next turn. 0s: never.",
     .least = 0,
     .most = kMostNs},
    {.name = "collector.pressure.memory-news",
     .type = FlagType::duration,
     .fallback = "100ms",
     .help = "The same of memory (reclaim, swap, compaction).",
     .least = 0,
     .most = kMostNs},
    {.name = "collector.pressure.io-news",
     .type = FlagType::duration,
     .fallback = "300ms",
     .help = "The same of disks.",
     .least = 0,
     .most = kMostNs},
};

class Pressure final : public Collector {
 public:
  Pressure(const Host& host, const Options& options)
      : host_(host),
        resources_{{&kCpuWaiting, nullptr, KernelFile(host.procfs("pressure/cpu"))},
                   {&kIoWaiting, &kIoStalled, KernelFile(host.procfs("pressure/io"))},
                   {&kMemoryWaiting, &kMemoryStalled, KernelFile(host.procfs("pressure/memory"))},
                   {nullptr, &kIrqStalled, KernelFile(host.procfs("pressure/irq"))}} {
    if (!host.view().kernel) return;  // nothing happens in a copy
    for (const std::string_view resource : {"cpu", "memory", "io"}) {
      const auto flag = fmt::format("collector.pressure.{}-news", resource);
      const auto stalled_ns = options.duration_ns(flag);
      if (stalled_ns <= 0) continue;
      // Our own, for the tree's may be mounted read-only and is the same kernel's.
      if (const auto watched = news_.watch(fmt::format("/proc/pressure/{}", resource), stalled_ns);
          !watched && without_news_.empty())
        without_news_ = watched.error().text;
    }
  }

  [[nodiscard]] int news_fd() const override { return news_.fd(); }
  [[nodiscard]] std::string status() const override {
    return without_news_.empty() ? "" : fmt::format("rules are not told of stalls at once: {}", without_news_);
  }

  Result<> collect(BatchWriter& out) override {
    news_.clear();
    LeftOut left_out;
    bool any = false;
    std::optional<Error> off;
    const auto now_ns = host_.clock().boot_ns();
    for (auto& r : resources_) {
      if (now_ns < r.look_again_ns) continue;
      const auto text = r.file.read();
      if (text) {
        any = true;
        left_out.add(emit(out, r, *text));
      } else if (text.error().kind == Errc::gone || text.error().err == EOPNOTSUPP) {
        // EOPNOTSUPP: all of it is off (psi=0), or irq's alone, where the kernel does not measure time in interrupts.
        r.look_again_ns = now_ns + kLookAgainNs;
        if (text.error().kind != Errc::gone && !off) off = text.error();
      } else {
        any = true;
        left_out.add(text.error());
      }
    }
    if (!any && off) return fail(Errc::absent, off->text + "; boot with psi=1", off->err);
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
  StallNews news_;
  std::string without_news_;  // why, if so
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Pressure>(host, options);
}

}  // namespace

extern const CollectorInfo collector_pressure;
const CollectorInfo collector_pressure{kMetrics, kFlags, make, {}, nullptr, true};

}  // namespace vitald
