// SPDX-License-Identifier: Apache-2.0
// The BPF object reclaim: who stood still for memory, per owner.
#pragma once

#include <memory>
#include <span>

#include "bpf/include/vitald/reclaim.h"
#include "bpf/reclaim.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/bpf/owners.h"

namespace vitald {

enum ReclaimSignal : std::size_t { kLimitReclaim, kCompaction, kWritebackPauses };
std::span<const Signal> reclaim_signals();

struct ReclaimObject {
  static Result<SignalUse<ReclaimObject>> use(const Host& host, const Options& options, ReclaimSignal which);

  // What a slot has counted, all CPUs added up.
  [[nodiscard]] vitald_reclaim_row row(std::uint32_t slot) const;
  [[nodiscard]] bool fits(const Options& options) const { return !owners || owners->fits(options); }
  [[nodiscard]] HistSum sum(vitald_hist vitald_reclaim_stalls::*which) const;
  void forget_past(const Signal&) { clear_hash(bpf.skel().maps.stalled_since); }

  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<reclaim_bpf> bpf;
  MappedArray<vitald_reclaim_stalls> stalls;
  MappedArray<vitald_reclaim_row> rows;
};

}  // namespace vitald
