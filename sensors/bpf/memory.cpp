// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/memory.h"

#include <unistd.h>

namespace vitald {
namespace {

bool victim_is_task(const KernelFacts& facts) { return facts.arguments("mark_victim") >= 2; }

constexpr ProbeHook kOomHooks[] = {
    timed(COST_ON_VICTIM, {"on_victim", "mark_victim"}),
    timed(COST_ON_SIGNAL, {"on_signal", "signal_generate", ProbeHook::Attach::with_signal,
                           [](const KernelFacts& facts) { return !victim_is_task(facts); }}),
};
constexpr ProbeHook kReclaimHooks[] = {
    timed(COST_ON_BEGIN, {"on_begin", "mm_vmscan_direct_reclaim_begin"}),
    timed(COST_ON_END, {"on_end", "mm_vmscan_direct_reclaim_end"}),
};
constexpr Signal kSignals[] = {
    {"oom_kills", VITALD_OOM_KILLS, 0, kOomHooks, 11u << 20},
    {"direct_reclaim", VITALD_DIRECT_RECLAIM, 1, kReclaimHooks},
};

}  // namespace

std::span<const Signal> memory_signals() { return kSignals; }

Result<SignalUse<MemoryObject>> MemoryObject::use(const Host& host, const Options& options, MemorySignal which) {
  return use_signal<MemoryObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<MemoryObject>> {
        const auto& facts = host.shared<KernelFacts>();
        const auto hierarchy = memory_hierarchy(host);
        auto loaded = BpfObject<memory_bpf>::load(
            facts, signals,
            [&](memory_bpf& skel) -> Result<> {
              skel.rodata->victim_is_task = victim_is_task(facts);
              skel.rodata->v1_controller = static_cast<__u32>(hierarchy.controller);
              skel.rodata->v1_hierarchy = hierarchy.id;
              if ((skel.rodata->wanted & VITALD_DIRECT_RECLAIM) != 0)
                bpf_map__set_max_entries(skel.maps.stalled_since, lru_entries(4096));
              if (!victim_is_task(facts)) bpf_map__set_max_entries(skel.maps.last_kill, 256);
              bpf_map__set_max_entries(skel.maps.stalls, static_cast<__u32>(libbpf_num_possible_cpus()));
              skel.rodata->has_news = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1;
              if (skel.rodata->has_news)
                bpf_map__set_max_entries(skel.maps.news, static_cast<__u32>(sysconf(_SC_PAGESIZE)));
              else bpf_map__set_autocreate(skel.maps.news, false);
              return {};
            },
            [](memory_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped_records = MappedArray<vitald_oom_record>::of(loaded->skel().maps.records);
        auto mapped_stalls = MappedArray<vitald_reclaim_cpu>::of(loaded->skel().maps.stalls);
        if (!mapped_records) return fail(mapped_records.error());
        if (!mapped_stalls) return fail(mapped_stalls.error());
        return std::make_shared<MemoryObject>(
            MemoryObject{std::move(*loaded), hierarchy, std::move(*mapped_records), std::move(*mapped_stalls)});
      });
}

}  // namespace vitald
