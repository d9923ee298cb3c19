// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/process.h"

#include <unistd.h>

#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr ProbeHook kLifeHooks[] = {
    timed(COST_ON_FORK, {"on_fork", "sched_process_fork"}), timed(COST_ON_EXEC, {"on_exec", "sched_process_exec"}),
    timed(COST_ON_EXIT, {"on_exit", "sched_process_exit"}), timed(COST_ON_SENT, {"on_sent", "signal_generate"}),
    timed(COST_ON_MARKED, {"on_marked", "mark_victim"}),
};
constexpr Signal kSignals[] = {{"process_life", VITALD_PROCESS_LIFE, 2, kLifeHooks, 16u << 20}};

}  // namespace

std::span<const Signal> process_signals() { return kSignals; }

Result<SignalUse<ProcessObject>> ProcessObject::use(const Host& host, const Options& options, ProcessSignal which) {
  return use_signal<ProcessObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<ProcessObject>> {
        const auto& facts = host.shared<KernelFacts>();
        if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
        auto table = BpfOwners::of(host, options, signals.front().name);
        if (!table) return fail(table.error());
        auto loaded = BpfObject<process_bpf>::load(
            facts, signals,
            [&](process_bpf& skel) -> Result<> {
              skel.rodata->victim_is_task = facts.arguments("mark_victim") >= 2;
              bpf_map__set_max_entries(skel.maps.rows,
                                       static_cast<__u32>(libbpf_num_possible_cpus()) * (*table)->size());
              skel.rodata->has_group_dead = facts.arguments("sched_process_exit") >= 2;
              bpf_map__set_max_entries(skel.maps.marked_late, (*table)->size());
              bpf_map__set_max_entries(skel.maps.sent_to, lru_entries(1024));
              if (!skel.rodata->has_group_dead) bpf_map__set_max_entries(skel.maps.counted, lru_entries(1024));
              skel.rodata->has_deaths = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1;
              if (skel.rodata->has_deaths)
                bpf_map__set_max_entries(skel.maps.deaths, 4 * static_cast<__u32>(sysconf(_SC_PAGESIZE)));
              else bpf_map__set_autocreate(skel.maps.deaths, false);
              return (*table)->share_with(skel);
            },
            [](process_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped_rows = MappedArray<vitald_process_row>::of(loaded->skel().maps.rows);
        auto mapped_late = MappedArray<std::uint64_t>::of(loaded->skel().maps.marked_late);
        if (!mapped_rows) return fail(mapped_rows.error());
        if (!mapped_late) return fail(mapped_late.error());
        return std::make_shared<ProcessObject>(
            ProcessObject{std::move(*table), std::move(*loaded), std::move(*mapped_rows), std::move(*mapped_late)});
      });
}

vitald_process_row ProcessObject::row(std::uint32_t slot) const {
  vitald_process_row sum{};
  const auto cpus = rows.size() / owners->size();
  for (std::size_t cpu = 0; cpu < cpus; ++cpu)
    sum = OwnerTotals<vitald_process_row>::sum(sum, rows[cpu * owners->size() + slot]);
  return sum;
}

void ProcessObject::forget_past(const Signal&) {
  clear_hash(bpf.skel().maps.sent_to);
  clear_hash(bpf.skel().maps.counted);
}

}  // namespace vitald
