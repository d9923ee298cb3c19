// SPDX-License-Identifier: Apache-2.0
// How long tasks were made to sleep because they made pages dirty faster than disks take them, per owner.
#include <cstddef>

#include "sensors/bpf/stalls.h"

namespace vitald {
namespace {

constexpr MetricDesc kStall{
    "vitald_writeback_pause_seconds",
    MetricType::histogram,
    "How long tasks that write files were made to sleep each time because pages became dirty "
    "faster than disks take them "
    "(vm.dirty_ratio, vm.dirty_bytes, and with cgroup v2 a memory cgroup's share of them): as "
    "the kernel planned it, in "
    "its ticks; one that is killed meanwhile sleeps less, and a write of io_uring (since Linux "
    "6.0) does not sleep: it is tried again by a thread of the kernel, and counts here as well.",
    "",
    "seconds",
    "tp_btf/balance_dirty_pages"};
constexpr MetricDesc kTime{
    "vitald_owner_writeback_pause_seconds_total",
    MetricType::counter,
    "Time that the owner's tasks were made to sleep for it; see vitald_writeback_pause_seconds. An "
    "owner has its series from the first time.",
    kOwnerLabels,
    "seconds",
    "tp_btf/balance_dirty_pages"};
constexpr MetricDesc kCount{"vitald_owner_writeback_pauses_total",
                            MetricType::counter,
                            "How often; see vitald_owner_writeback_pause_seconds_total.",
                            kOwnerLabels,
                            "",
                            "tp_btf/balance_dirty_pages"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kStall, kTime, kCount};

constexpr OwnerField kFields[] = {
    {kTime, offsetof(vitald_reclaim_row, pause_ns), 1e9},
    {kCount, offsetof(vitald_reclaim_row, pause_count)},
};

constexpr StallFamilies kFamilies{kWritebackPauses, kStall, &vitald_reclaim_stalls::pauses, kFields};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return Stalls::make(host, options, kFamilies);
}

}  // namespace

extern const CollectorInfo collector_writeback_pauses;
const CollectorInfo collector_writeback_pauses{kMetrics, kOwnerFlags, make};

}  // namespace vitald
