// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/reclaim.h"

#include <ctime>

#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr ProbeHook kLimitHooks[] = {timed(COST_ON_LIMIT, {"on_limit", "mm_vmscan_memcg_reclaim_begin"}),
                                     timed(COST_ON_LIMIT_END, {"on_limit_end", "mm_vmscan_memcg_reclaim_end"})};
constexpr ProbeHook kCompactionHooks[] = {timed(COST_ON_COMPACTION, {"on_compaction", "mm_compaction_begin"}),
                                          timed(COST_ON_COMPACTION_END, {"on_compaction_end", "mm_compaction_end"})};
// The pause is the 7th of 8 arguments since Linux 6.13, of 12 before the 11th.
constexpr ProbeHook kPauseHooks[] = {
    timed(COST_ON_PAUSE, {.program = "on_pause", .tracepoint = "balance_dirty_pages", .arguments = 8})};
constexpr Signal kSignals[] = {
    {"limit_reclaim", VITALD_LIMIT_RECLAIM, 1, kLimitHooks, 16u << 20},
    {"compaction", VITALD_COMPACTION, 4, kCompactionHooks, 16u << 20},
    {"writeback_pauses", VITALD_WRITEBACK_PAUSES, 1, kPauseHooks, 16u << 20},
};

}  // namespace

std::span<const Signal> reclaim_signals() { return kSignals; }

Result<SignalUse<ReclaimObject>> ReclaimObject::use(const Host& host, const Options& options, ReclaimSignal which) {
  return use_signal<ReclaimObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<ReclaimObject>> {
        const auto& facts = host.shared<KernelFacts>();
        if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
        auto table = BpfOwners::of(host, options, signals.front().name);
        if (!table) return fail(table.error());
        auto loaded = BpfObject<reclaim_bpf>::load(
            facts, signals,
            [&](reclaim_bpf& skel) -> Result<> {
              const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
              bpf_map__set_max_entries(skel.maps.stalls, cpus);
              bpf_map__set_max_entries(skel.maps.rows, cpus * (*table)->size());
              bpf_map__set_max_entries(skel.maps.stalled_since, lru_entries(1024));
              // The coarse clocks advance with each jiffy (kernel/time/posix-timers.c), whatever CONFIG_HZ is.
              timespec tick{};
              if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0)
                skel.rodata->tick_ns = static_cast<__u64>(tick.tv_nsec);
              skel.rodata->pause_is_late = facts.arguments("balance_dirty_pages") >= 12;
              return (*table)->share_with(skel);
            },
            [](reclaim_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped_stalls = MappedArray<vitald_reclaim_stalls>::of(loaded->skel().maps.stalls);
        auto mapped_rows = MappedArray<vitald_reclaim_row>::of(loaded->skel().maps.rows);
        if (!mapped_stalls) return fail(mapped_stalls.error());
        if (!mapped_rows) return fail(mapped_rows.error());
        return std::make_shared<ReclaimObject>(
            ReclaimObject{std::move(*table), std::move(*loaded), std::move(*mapped_stalls), std::move(*mapped_rows)});
      });
}

vitald_reclaim_row ReclaimObject::row(std::uint32_t slot) const {
  vitald_reclaim_row sum{};
  for (std::size_t cpu = 0; cpu < stalls.size(); ++cpu)
    sum = OwnerTotals<vitald_reclaim_row>::sum(sum, rows[cpu * owners->size() + slot]);
  return sum;
}

HistSum ReclaimObject::sum(vitald_hist vitald_reclaim_stalls::*which) const {
  HistSum sum;
  for (std::size_t cpu = 0; cpu < stalls.size(); ++cpu) sum.add(stalls[cpu].*which);
  return sum;
}

}  // namespace vitald
