// SPDX-License-Identifier: Apache-2.0
// How long softirqs ran, by vector.
#include "sensors/bpf/coarse.h"
#include "sensors/bpf/irq.h"
#include "sensors/bpf/report.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "softirq_latency";

// include/linux/interrupt.h; the same since 2.6.38, as /proc/softirqs has them.
constexpr std::string_view kVectors[] = {"HI",       "TIMER",   "NET_TX", "NET_RX",  "BLOCK",
                                         "IRQ_POLL", "TASKLET", "SCHED",  "HRTIMER", "RCU"};
static_assert(std::size(kVectors) == VITALD_SOFTIRQS);

constexpr MetricDesc kRuns{"vitald_softirq_seconds",
                           MetricType::histogram,
                           "How long each run of a softirq took, with what interrupted it. Its sum is the exact time, "
                           "which /proc/stat samples "
                           "at the tick on kernels without CONFIG_IRQ_TIME_ACCOUNTING. Of those that ran at all.",
                           "type",
                           "seconds",
                           "tp_btf/softirq_entry, softirq_exit"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kRuns};

class SoftirqLatency final : public Collector {
 public:
  SoftirqLatency(const Host& host, SignalUse<IrqObject> irq) : irq_(std::move(irq)), report_(kName, irq_->bpf.form()) {
    report_.watch(host.shared<KernelFacts>(), irq_);
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    for (std::size_t vector = 0; vector < VITALD_SOFTIRQS; ++vector) {
      const auto sum = coarse_sum(
          irq_->softirqs, [vector](const auto& cpu) -> const auto& { return cpu.runs[vector]; });
      if (sum.count() != 0) out.histogram(kRuns, sum.view(), kVectors[vector]);
    }
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<IrqObject> irq_;
  ProbeReport report_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe softirq_latency: only on the running system");
  auto irq = IrqObject::use(host, options, kSoftirqLatency);
  if (!irq) return probe_off(kName, irq.error());
  return std::make_unique<SoftirqLatency>(host, std::move(*irq));
}

}  // namespace

extern const CollectorInfo collector_softirq_latency;
const CollectorInfo collector_softirq_latency{kMetrics, kProbeFlags, make};

}  // namespace vitald
