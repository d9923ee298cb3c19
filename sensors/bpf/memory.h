// SPDX-License-Identifier: Apache-2.0
// The BPF object memory: what happens when memory runs short.
#pragma once

#include <span>

#include "bpf/include/vitald/memory.h"
#include "bpf/memory.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/owner/hierarchy.h"

namespace vitald {

enum MemorySignal : std::size_t { kOomKills, kDirectReclaim };
std::span<const Signal> memory_signals();

struct MemoryObject {
  static Result<SignalUse<MemoryObject>> use(const Host& host, const Options& options, MemorySignal which);

  void forget_past(const Signal&) {
    clear_hash(bpf.skel().maps.stalled_since);
    clear_hash(bpf.skel().maps.last_kill);
  }

  BpfObject<memory_bpf> bpf;
  V1Hierarchy v1;
  MappedArray<vitald_oom_record> records;
  MappedArray<vitald_reclaim_cpu> stalls;
};

}  // namespace vitald
