// SPDX-License-Identifier: Apache-2.0
// How long interrupts' handlers ran: a histogram of all, and the time by interrupt.
#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "sensors/bpf/coarse.h"
#include "sensors/bpf/irq.h"
#include "sensors/bpf/irq_names.h"
#include "sensors/bpf/report.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "hardirq_latency";

constexpr MetricDesc kRuns{"vitald_hardirq_seconds",
                           MetricType::histogram,
                           "How long each run of an interrupt's handler took. The vectors of x86 that no driver asks "
                           "for (local timer, calls of "
                           "other CPUs) have no handler and are not among them.",
                           "",
                           "seconds",
                           "tp_btf/irq_handler_entry, irq_handler_exit"};
constexpr MetricDesc kTime{
    "vitald_hardirq_handler_seconds_total",
    MetricType::counter,
    "Time in the handlers of an interrupt, all CPUs together; `name` is that of the first device on its line; "
    "a number that becomes another device's begins again at 0. Of interrupts that came since the probe was attached; "
    "those from 255 on are one row, irq=\"other\".",
    "irq,name",
    "seconds",
    "tp_btf/irq_handler_entry, irq_handler_exit"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kRuns, kTime};

class HardirqLatency final : public Collector {
 public:
  HardirqLatency(const Host& host, SignalUse<IrqObject> use)
      : irq_(std::move(use)), report_(kName, irq_->bpf.form()), names_(host, VITALD_IRQ_ROWS) {
    report_.watch(host.shared<KernelFacts>(), irq_);
    // Rows outlive who reads them, and an interrupt may have become another device's.
    count(before_);
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    const auto& cpus = irq_->hardirqs;
    out.histogram(kRuns, coarse_sum(
                             cpus, [](const auto& cpu) -> const auto& { return cpu.runs; })
                             .view());
    count(counted_);
    for (std::size_t irq = 0; irq < VITALD_IRQ_ROWS; ++irq) {
      const auto& now = counted_[irq];
      if (now.count == before_[irq].count) continue;
      const auto ns = now.ns - before_[irq].ns;
      if (irq == VITALD_IRQ_ROWS - 1) {
        out.set(kTime, static_cast<double>(ns) / 1e9, "other", "");
        continue;
      }
      const vitald_irq_name kernels = irq_->names[irq];
      const auto named =
          names_.name(irq, {ns, kernels.changes, {kernels.name, strnlen(kernels.name, sizeof kernels.name)}});
      out.set(kTime, static_cast<double>(named.ns) / 1e9, fmt::to_string(irq), named.name);
    }
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  struct Counted {
    std::uint64_t ns = 0, count = 0;
  };
  // By number, all CPUs together.
  void count(std::vector<Counted>& sums) const {
    sums.assign(VITALD_IRQ_ROWS, {});
    for (std::size_t cpu = 0; cpu < irq_->hardirqs.size(); ++cpu) {
      const auto& rows = irq_->hardirqs[cpu].rows;
      for (std::size_t irq = 0; irq < VITALD_IRQ_ROWS; ++irq) {
        sums[irq].ns += now_in(rows[irq].ns);
        sums[irq].count += now_in(rows[irq].count);
      }
    }
  }

  SignalUse<IrqObject> irq_;
  ProbeReport report_;
  IrqNames names_;
  std::vector<Counted> before_;   // by number: what was there when it began
  std::vector<Counted> counted_;  // by now; kept for its memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe hardirq_latency: only on the running system");
  auto irq = IrqObject::use(host, options, kHardirqLatency);
  if (!irq) return probe_off(kName, irq.error());
  return std::make_unique<HardirqLatency>(host, std::move(*irq));
}

}  // namespace

extern const CollectorInfo collector_hardirq_latency;
const CollectorInfo collector_hardirq_latency{kMetrics, kProbeFlags, make};

}  // namespace vitald
