// SPDX-License-Identifier: Apache-2.0
// The BPF object block: requests to disks, by disk and by owner.
#pragma once

#include <memory>
#include <span>

#include "bpf/block.skel.h"
#include "bpf/include/vitald/block.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/bpf/owners.h"

namespace vitald {

enum BlockSignal : std::size_t { kBlockLatency, kOwnerIo };
std::span<const Signal> block_signals();

struct BlockObject {
  static Result<SignalUse<BlockObject>> use(const Host& host, const Options& options, BlockSignal which);

  // What a slot has counted, all CPUs added up.
  [[nodiscard]] vitald_block_owner_row owner_row(std::uint32_t slot) const;
  // The same of one of the first `detailed` slots.
  [[nodiscard]] vitald_block_owner_hist owner_hist(std::uint32_t slot) const;
  // One without owners has no size.
  [[nodiscard]] bool fits(const Options& options) const {
    return !owners || (owners->fits(options) && detailed == detailed_slots(options, owners->size()));
  }
  void forget_past(const Signal&) { clear_hash(bpf.skel().maps.in_flight); }

  std::uint32_t detailed = 1;
  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf; null where the owners are not wanted
  BpfObject<block_bpf> bpf;
  MappedArray<vitald_block_cpu> cpus;
  MappedArray<vitald_block_row> rows;
  MappedArray<vitald_block_key> keys;
  MappedArray<vitald_block_owner_row> owner_rows;
  MappedArray<vitald_block_owner_hist> owner_hists;
};

}  // namespace vitald
