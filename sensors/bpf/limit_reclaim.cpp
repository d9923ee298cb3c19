// SPDX-License-Identifier: Apache-2.0
// How long tasks stood still because their memory cgroup was at its limit, per owner.
#include <cstddef>

#include "sensors/bpf/stalls.h"

namespace vitald {
namespace {

constexpr MetricDesc kStall{"vitald_memory_limit_reclaim_seconds",
                            MetricType::histogram,
                            "How long tasks were busy to free memory of a memory cgroup: their own that was at its "
                            "limit (memory.max, memory.high, limit_in_bytes), or one for which they asked (a limit "
                            "lowered, memory.reclaim, force_empty), which the kernel does not tell apart. Without the "
                            "kernel's own threads.",
                            "",
                            "seconds",
                            "tp_btf/mm_vmscan_memcg_reclaim_begin, _end"};
constexpr MetricDesc kTime{
    "vitald_owner_memory_limit_reclaim_seconds_total",
    MetricType::counter,
    "Time that the owner's tasks were busy to free memory of a memory cgroup, mostly because it "
    "was at its limit; see vitald_memory_limit_reclaim_seconds. An owner has its series from the "
    "first time.",
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

constexpr StallFamilies kFamilies{kLimitReclaim, kStall, &vitald_reclaim_stalls::limit, kFields};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return Stalls::make(host, options, kFamilies);
}

}  // namespace

extern const CollectorInfo collector_limit_reclaim;
const CollectorInfo collector_limit_reclaim{kMetrics, kOwnerFlags, make};

}  // namespace vitald
