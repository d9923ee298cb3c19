// SPDX-License-Identifier: Apache-2.0
// How long tasks stood still because memory had to be compacted, per owner.
#include <cstddef>

#include "sensors/bpf/stalls.h"

namespace vitald {
namespace {

constexpr MetricDesc kStall{
    "vitald_memory_compaction_seconds",
    MetricType::histogram,
    "How long tasks were stopped to compact memory: for a large page that they asked for, or because they wrote to "
    "vm.compact_memory. Without the kernel's own threads, which do it in the background.",
    "",
    "seconds",
    "tp_btf/mm_compaction_begin, _end"};
constexpr MetricDesc kTime{"vitald_owner_memory_compaction_seconds_total",
                           MetricType::counter,
                           "Time that the owner's tasks were stopped to compact memory; see "
                           "vitald_memory_compaction_seconds. An owner has its series from the first time.",
                           kOwnerLabels,
                           "seconds",
                           "tp_btf/mm_compaction_begin, _end"};
constexpr MetricDesc kCount{"vitald_owner_memory_compaction_stalls_total",
                            MetricType::counter,
                            "How often; see vitald_owner_memory_compaction_seconds_total.",
                            kOwnerLabels,
                            "",
                            "tp_btf/mm_compaction_begin, _end"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kStall, kTime, kCount};

constexpr OwnerField kFields[] = {
    {kTime, offsetof(vitald_reclaim_row, compaction_ns), 1e9},
    {kCount, offsetof(vitald_reclaim_row, compaction_count)},
};

constexpr StallFamilies kFamilies{kCompaction, kStall, &vitald_reclaim_stalls::compaction, kFields};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return Stalls::make(host, options, kFamilies);
}

}  // namespace

extern const CollectorInfo collector_compaction;
const CollectorInfo collector_compaction{kMetrics, kOwnerFlags, make};

}  // namespace vitald
