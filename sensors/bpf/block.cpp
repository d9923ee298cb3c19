// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/block.h"

#include <algorithm>

#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr ProbeHook kHooks[] = {
    timed(COST_ON_COMPLETE, {"on_complete", "block_rq_complete"}),
    timed(COST_ON_INSERT, {"on_insert", "block_rq_insert", ProbeHook::Attach::later}),
    timed(COST_ON_ISSUE, {"on_issue", "block_rq_issue", ProbeHook::Attach::later}),
};
constexpr std::span<const ProbeHook> kCompletion = std::span(kHooks).first(1);
constexpr Signal kSignals[] = {
    {"block_latency", VITALD_BLOCK_LATENCY, 0, kHooks},
    {"owner_io", VITALD_OWNER_IO, 4, kCompletion, 16u << 20},
};

Result<std::shared_ptr<BlockObject>> load(const Host& host, const Options& options, std::span<const Signal> signals) {
  const auto& facts = host.shared<KernelFacts>();
  if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
  const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
  std::shared_ptr<BpfOwners> owners;
  std::uint32_t detailed = 1;
  if (std::ranges::any_of(signals, [](const Signal& s) { return s.bit == VITALD_OWNER_IO; })) {
    auto table = BpfOwners::of(host, options, signals.front().name);
    if (!table) return fail(table.error());
    owners = std::move(*table);
    detailed = detailed_slots(options, owners->size());
  }
  auto bpf = BpfObject<block_bpf>::load(
      facts, signals,
      [&](block_bpf& skel) -> Result<> {
        skel.rodata->trust_request_times = facts.trust_request_times;
        skel.rodata->flush_step = facts.flush_step;
        skel.rodata->issue_has_queue = facts.arguments("block_rq_issue") >= 2;
        bpf_map__set_max_entries(skel.maps.in_flight, lru_entries(16384));
        bpf_map__set_max_entries(skel.maps.untimed_disks, lru_entries(1024));
        bpf_map__set_max_entries(skel.maps.cpus, cpus);
        bpf_map__set_max_entries(skel.maps.rows, cpus * VITALD_BLOCK_ROWS);
        if (!owners) return {};
        skel.rodata->detailed_slots = detailed;
        bpf_map__set_max_entries(skel.maps.owner_rows, cpus * owners->size());
        bpf_map__set_max_entries(skel.maps.owner_hists, cpus * detailed);
        return owners->share_with(skel);
      },
      [](block_bpf& skel) {
        for (__u32 row = VITALD_BLOCK_OPS; row < VITALD_BLOCK_ROWS; ++row)
          bpf_map_update_elem(bpf_map__fd(skel.maps.free_rows), nullptr, &row, 0);
      });
  if (!bpf) return fail(bpf.error());
  auto mapped_cpus = MappedArray<vitald_block_cpu>::of(bpf->skel().maps.cpus);
  auto rows = MappedArray<vitald_block_row>::of(bpf->skel().maps.rows);
  auto keys = MappedArray<vitald_block_key>::of(bpf->skel().maps.keys);
  auto owner_rows = MappedArray<vitald_block_owner_row>::of(bpf->skel().maps.owner_rows);
  auto owner_hists = MappedArray<vitald_block_owner_hist>::of(bpf->skel().maps.owner_hists);
  if (!mapped_cpus) return fail(mapped_cpus.error());
  if (!rows) return fail(rows.error());
  if (!keys) return fail(keys.error());
  if (!owner_rows) return fail(owner_rows.error());
  if (!owner_hists) return fail(owner_hists.error());
  return std::make_shared<BlockObject>(BlockObject{detailed, std::move(owners), std::move(*bpf),
                                                   std::move(*mapped_cpus), std::move(*rows), std::move(*keys),
                                                   std::move(*owner_rows), std::move(*owner_hists)});
}

}  // namespace

std::span<const Signal> block_signals() { return kSignals; }

Result<SignalUse<BlockObject>> BlockObject::use(const Host& host, const Options& options, BlockSignal which) {
  return use_signal<BlockObject>(host, options, kSignals, which,
                                 [&](std::span<const Signal> signals) { return load(host, options, signals); });
}

vitald_block_owner_row BlockObject::owner_row(std::uint32_t slot) const {
  vitald_block_owner_row sum{};
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu)
    sum = OwnerTotals<vitald_block_owner_row>::sum(sum, owner_rows[cpu * owners->size() + slot]);
  return sum;
}

vitald_block_owner_hist BlockObject::owner_hist(std::uint32_t slot) const {
  vitald_block_owner_hist sum{};
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu)
    sum = OwnerTotals<vitald_block_owner_hist>::sum(sum, owner_hists[cpu * detailed + slot]);
  return sum;
}

}  // namespace vitald
