// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/net.h"

#include "sensors/owner/totals.h"

namespace vitald {
namespace {

// Why a packet is dropped is the third argument, since Linux 5.17.
constexpr ProbeHook kDropHooks[] = {
    timed(COST_ON_DROP, {"on_drop", "kfree_skb", ProbeHook::Attach::with_signal, nullptr, 3})};
constexpr ProbeHook kTcpHooks[] = {
    timed(COST_ON_STATE, {"on_state", "inet_sock_set_state"}),
    timed(COST_ON_RETRANSMIT, {"on_retransmit", "tcp_retransmit_skb"}),
    timed(COST_ON_RESET_SENT, {"on_reset_sent", "tcp_send_reset"}),
    timed(COST_ON_RESET_RECEIVED, {"on_reset_received", "tcp_receive_reset"}),
};
constexpr Signal kSignals[] = {
    {"net_drops", VITALD_NET_DROPS, 3, kDropHooks},
    {"tcp_life", VITALD_TCP_LIFE, 3, kTcpHooks, 12u << 20},
};

}  // namespace

std::span<const Signal> net_signals() { return kSignals; }

Result<SignalUse<NetObject>> NetObject::use(const Host& host, const Options& options, NetSignal which) {
  return use_signal<NetObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<NetObject>> {
        const auto& facts = host.shared<KernelFacts>();
        if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
        auto table = BpfOwners::of(host, options, signals.front().name);
        if (!table) return fail(table.error());
        auto loaded = BpfObject<net_bpf>::load(
            facts, signals,
            [&](net_bpf& skel) -> Result<> {
              const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
              if ((skel.rodata->wanted & VITALD_NET_DROPS) != 0) bpf_map__set_max_entries(skel.maps.drops, cpus);
              if ((skel.rodata->wanted & VITALD_TCP_LIFE) != 0) {
                bpf_map__set_max_entries(skel.maps.tcp_cpus, cpus);
                bpf_map__set_max_entries(skel.maps.rows, cpus * (*table)->size());
              }
              return (*table)->share_with(skel);
            },
            [](net_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped_drops = MappedArray<vitald_drops_cpu>::of(loaded->skel().maps.drops);
        auto mapped_tcp_cpus = MappedArray<vitald_tcp_cpu>::of(loaded->skel().maps.tcp_cpus);
        auto mapped_rows = MappedArray<vitald_tcp_row>::of(loaded->skel().maps.rows);
        if (!mapped_drops) return fail(mapped_drops.error());
        if (!mapped_tcp_cpus) return fail(mapped_tcp_cpus.error());
        if (!mapped_rows) return fail(mapped_rows.error());
        return std::make_shared<NetObject>(NetObject{std::move(*table), std::move(*loaded), std::move(*mapped_drops),
                                                     std::move(*mapped_tcp_cpus), std::move(*mapped_rows)});
      });
}

vitald_tcp_row NetObject::row(std::uint32_t slot) const {
  vitald_tcp_row sum{};
  for (std::size_t cpu = 0; cpu < tcp_cpus.size(); ++cpu)
    sum = OwnerTotals<vitald_tcp_row>::sum(sum, rows[cpu * owners->size() + slot]);
  return sum;
}

}  // namespace vitald
