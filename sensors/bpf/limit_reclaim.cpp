// SPDX-License-Identifier: Apache-2.0
// How long tasks stood still because their memory cgroup was at its limit, per owner.
#include <cstddef>

#include "sensors/bpf/reclaim.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "limit_reclaim";

constexpr MetricDesc kStall{"vitald_memory_limit_reclaim_seconds",
                            MetricType::histogram,
                            "How long tasks were stopped to free memory because their memory cgroup was at its limit "
                            "(memory.max, memory.high, limit_in_bytes).",
                            "",
                            "seconds",
                            "tp_btf/mm_vmscan_memcg_reclaim_begin, _end"};
constexpr MetricDesc kTime{"vitald_owner_memory_limit_reclaim_seconds_total",
                           MetricType::counter,
                           "Time that the owner's tasks were stopped to free memory because a memory cgroup was at its "
                           "limit. An owner has its series from the first time.",
                           kOwnerLabels,
                           "seconds",
                           "tp_btf/mm_vmscan_memcg_reclaim_begin, _end"};
constexpr MetricDesc kCount{"vitald_owner_memory_limit_reclaim_stalls_total",
                            MetricType::counter,
                            "How often; see vitald_owner_memory_limit_reclaim_seconds_total.",
                            kOwnerLabels,
                            "",
                            "tp_btf/mm_vmscan_memcg_reclaim_begin, _end"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kStall, kTime, kCount};

constexpr OwnerField kFields[] = {
    {kTime, offsetof(vitald_reclaim_row, limit_ns), 1e9},
    {kCount, offsetof(vitald_reclaim_row, limit_count)},
};

class LimitReclaim final : public Collector {
 public:
  LimitReclaim(const Host& host, SignalUse<ReclaimObject> reclaim)
      : reclaim_(std::move(reclaim)),
        report_(kName, reclaim_->bpf.form()),
        totals_(reclaim_->owners->slots(), reclaim_->owners->table(),
                [&object = *reclaim_](std::uint32_t slot) { return object.row(slot); }) {
    report_.watch(host.shared<KernelFacts>(), reclaim_);
  }

  Result<> collect(BatchWriter& out) override {
    report_.emit(out);
    out.histogram(kStall, reclaim_->sum(&vitald_reclaim_stalls::limit).view());
    totals_.round([](auto&) {}, [&](auto entries) { emit_counted_fields<vitald_reclaim_row>(kFields, entries, out); });
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<ReclaimObject> reclaim_;
  ProbeReport report_;
  SlotTotals<vitald_reclaim_row> totals_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe limit_reclaim: only on the running system");
  auto reclaim = ReclaimObject::use(host, options, kLimitReclaim);
  if (!reclaim) return probe_off(kName, reclaim.error());
  return std::make_unique<LimitReclaim>(host, std::move(*reclaim));
}

}  // namespace

extern const CollectorInfo collector_limit_reclaim;
const CollectorInfo collector_limit_reclaim{kMetrics, kOwnerFlags, make};

}  // namespace vitald
