// SPDX-License-Identifier: Apache-2.0
// The BPF object net: packets that are dropped, and TCP connections.
#pragma once

#include <memory>
#include <span>

#include "bpf/include/vitald/net.h"
#include "bpf/net.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/bpf/owners.h"

namespace vitald {

enum NetSignal : std::size_t { kNetDrops, kTcpLife };
std::span<const Signal> net_signals();

struct NetObject {
  static Result<SignalUse<NetObject>> use(const Host& host, const Options& options, NetSignal which);

  // What a slot has counted, all CPUs added up.
  [[nodiscard]] vitald_tcp_row row(std::uint32_t slot) const;
  [[nodiscard]] bool fits(const Options& options) const { return !owners || owners->fits(options); }

  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<net_bpf> bpf;
  MappedArray<vitald_drops_cpu> drops;
  MappedArray<vitald_tcp_cpu> tcp_cpus;
  MappedArray<vitald_tcp_row> rows;
};

}  // namespace vitald
