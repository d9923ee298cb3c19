// SPDX-License-Identifier: Apache-2.0
// How long allocations stood still because memory had to be freed first.
#include "sensors/bpf/memory.h"
#include "sensors/bpf/report.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "direct_reclaim";

constexpr MetricDesc kStall{"vitald_memory_direct_reclaim_seconds",
                            MetricType::histogram,
                            "How long tasks were stopped to free memory for their own allocation.",
                            "",
                            "seconds",
                            "tp_btf/mm_vmscan_direct_reclaim_begin, _end"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kStall};

class DirectReclaim final : public Collector {
 public:
  DirectReclaim(const Host& host, SignalUse<MemoryObject> memory)
      : memory_(std::move(memory)), report_(kName, memory_->bpf.form()) {
    report_.watch(host.shared<KernelFacts>(), memory_);
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    HistSum sum;
    for (std::size_t cpu = 0; cpu < memory_->stalls.size(); ++cpu) sum.add(memory_->stalls[cpu].stall);
    out.histogram(kStall, sum.view());
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<MemoryObject> memory_;
  ProbeReport report_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe direct_reclaim: only on the running system");
  auto memory = MemoryObject::use(host, options, kDirectReclaim);
  if (!memory) return probe_off(kName, memory.error());
  return std::make_unique<DirectReclaim>(host, std::move(*memory));
}

}  // namespace

extern const CollectorInfo collector_direct_reclaim;
const CollectorInfo collector_direct_reclaim{kMetrics, kProbeFlags, make};

}  // namespace vitald
