// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/sched.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace vitald {
namespace {

constexpr __u32 kRunnableTasks = 16384;

constexpr bool records_wakeups(const KernelFacts& facts) { return !facts.keeps_last_queued; }
// Without cgroups nobody is moved.
bool tells_moves(const KernelFacts& facts) { return facts.arguments("cgroup_attach_task") >= 4; }

constexpr ProbeHook kRunqHooks[] = {
    timed(COST_ON_SWITCH, {"on_switch", "sched_switch"}),
    timed(COST_ON_ATTACH, {"on_attach", "cgroup_attach_task", ProbeHook::Attach::with_signal, tells_moves}),
    {"read_clock", "sched_switch", ProbeHook::Attach::never},
    timed(COST_ON_WAKEUP, {"on_wakeup", "sched_wakeup", ProbeHook::Attach::with_signal, records_wakeups}),
    timed(COST_ON_WAKEUP_NEW, {"on_wakeup_new", "sched_wakeup_new", ProbeHook::Attach::with_signal, records_wakeups}),
};
constexpr ProbeHook kMigrateHooks[] = {timed(COST_ON_MIGRATE, {"on_migrate", "sched_migrate_task"})};
constexpr Signal kSignals[] = {
    {"runq_latency", VITALD_RUNQ_LATENCY, 0, kRunqHooks, 16u << 20},
    {"owner_waits", VITALD_OWNER_WAITS, 1, kRunqHooks, 20u << 20},
    {"owner_peaks", VITALD_OWNER_PEAKS, 2, kRunqHooks, 20u << 20},
    {"migrations", VITALD_MIGRATIONS, 3, kMigrateHooks, 13u << 20},
};
constexpr __u32 kThrottledGroups = 512;

}  // namespace

std::span<const Signal> sched_signals() { return kSignals; }

Result<SignalUse<SchedObject>> SchedObject::use(const Host& host, const Options& options, SchedSignal which) {
  return use_signal<SchedObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<SchedObject>> {
        const auto& facts = host.shared<KernelFacts>();
        if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
        auto table = BpfOwners::of(host, options, signals.front().name);
        if (!table) return fail(table.error());
        const auto cpu_count = static_cast<__u32>(libbpf_num_possible_cpus());
        const auto detailed_owners = detailed_slots(options, (*table)->size());
        auto loaded = BpfObject<sched_bpf>::load(
            facts, signals,
            [&](sched_bpf& skel) -> Result<> {
              skel.rodata->has_prev_state = facts.arguments("sched_switch") >= 4;
              skel.rodata->has_last_queued = facts.keeps_last_queued;
              skel.rodata->cpu_count = cpu_count;
              bpf_map__set_max_entries(skel.maps.cpus, cpu_count);
              bpf_map__set_max_entries(skel.maps.rows, cpu_count * (*table)->size());
              if (!facts.keeps_last_queued)
                bpf_map__set_max_entries(skel.maps.runnable_since, lru_entries(kRunnableTasks));
              const auto wants = [&](__u32 bit) { return (skel.rodata->wanted & bit) != 0; };
              skel.rodata->detailed_slots = detailed_owners;
              if (wants(VITALD_OWNER_WAITS)) {
                bpf_map__set_max_entries(skel.maps.waits, cpu_count * detailed_owners);
                bpf_map__set_max_entries(skel.maps.throttled, lru_entries(kThrottledGroups));
              }
              if (wants(VITALD_OWNER_PEAKS)) bpf_map__set_max_entries(skel.maps.peaks, cpu_count * detailed_owners);
              if (wants(VITALD_MIGRATIONS))
                bpf_map__set_max_entries(skel.maps.migrations, cpu_count * (*table)->size());
              return (*table)->share_with(skel);
            },
            [](sched_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped_cpus = MappedArray<vitald_sched_cpu>::of(loaded->skel().maps.cpus);
        auto mapped_rows = MappedArray<vitald_sched_row>::of(loaded->skel().maps.rows);
        auto mapped_waits = MappedArray<vitald_sched_waits>::of(loaded->skel().maps.waits);
        auto mapped_peaks = MappedArray<vitald_sched_peaks>::of(loaded->skel().maps.peaks);
        auto mapped_migrations = MappedArray<std::uint64_t>::of(loaded->skel().maps.migrations);
        if (!mapped_cpus) return fail(mapped_cpus.error());
        if (!mapped_rows) return fail(mapped_rows.error());
        if (!mapped_waits) return fail(mapped_waits.error());
        if (!mapped_peaks) return fail(mapped_peaks.error());
        if (!mapped_migrations) return fail(mapped_migrations.error());
        return std::make_shared<SchedObject>(SchedObject{
            detailed_owners, std::move(*table), std::move(*loaded), std::move(*mapped_cpus), std::move(*mapped_rows),
            std::move(*mapped_waits), std::move(*mapped_peaks), std::move(*mapped_migrations)});
      });
}

void SchedObject::forget_past(const Signal& signal) {
  const auto is_on = [&](SchedSignal which) { return bpf.has(kSignals[which]); };
  // Nobody writes to these now.
  if (!is_on(kRunqLatency) && !is_on(kOwnerWaits) && !is_on(kOwnerPeaks)) {
    for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu) cpus[cpu].tgid = 0;
    clear_hash(bpf.skel().maps.runnable_since);
  }
  if (signal.bit != VITALD_OWNER_WAITS) return;
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu) std::memset(&cpus[cpu].past, 0, sizeof cpus[cpu].past);
  clear_hash(bpf.skel().maps.throttled);
}

vitald_sched_row SchedObject::row(std::uint32_t slot) const {
  vitald_sched_row sum{};
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu)
    sum = OwnerTotals<vitald_sched_row>::sum(sum, rows[cpu * owners->size() + slot]);
  return sum;
}

SchedObject::Running SchedObject::running() const {
  Running r;
  auto* clock = bpf.form() == HookForm::tp_btf ? bpf.skel().progs.read_clock : bpf.skel().progs.read_clock_raw;
  if (bpf_prog_test_run_opts(bpf_program__fd(clock), nullptr) != 0) return r;
  r.clock_ns = now_in(bpf.skel().bss->clock_ns);
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu) {
    const auto& c = cpus[cpu];
    if (now_in(c.tgid) == 0) continue;
    Slice part{cpu, now_in(c.slot), now_in(c.since_ns), now_in(c.since_ns), r.clock_ns};
    const auto pid = now_in(c.pid), made = now_in(c.moves_made);
    auto seen = now_in(c.moves_seen);
    if (made - seen > VITALD_SCHED_MOVES) seen = made;
    for (; seen != made; ++seen) {
      const vitald_sched_move move = c.moves[seen % VITALD_SCHED_MOVES];
      if (move.since_ns != part.began_ns || move.pid != pid || move.check != vitald_move_check(&move)) continue;
      part.until_ns = std::clamp<std::uint64_t>(move.at_ns, part.since_ns, std::max(part.since_ns, r.clock_ns));
      r.slices.push_back(part);
      part = {cpu, move.slot, part.began_ns, part.until_ns, r.clock_ns};
    }
    r.slices.push_back(part);
  }
  return r;
}

}  // namespace vitald
