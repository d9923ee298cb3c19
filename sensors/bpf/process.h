// SPDX-License-Identifier: Apache-2.0
// The BPF object process: how processes begin and end.
#pragma once

#include <memory>
#include <span>

#include "bpf/include/vitald/process.h"
#include "bpf/process.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/bpf/owners.h"

namespace vitald {

enum ProcessSignal : std::size_t { kProcessLife };
std::span<const Signal> process_signals();

struct ProcessObject {
  static Result<SignalUse<ProcessObject>> use(const Host& host, const Options& options, ProcessSignal which);

  // What a slot has counted, all CPUs added up.
  [[nodiscard]] vitald_process_row row(std::uint32_t slot) const;
  [[nodiscard]] bool fits(const Options& options) const { return !owners || owners->fits(options); }
  void forget_past(const Signal& signal);

  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<process_bpf> bpf;
  MappedArray<vitald_process_row> rows;
  MappedArray<std::uint64_t> marked_late;  // per slot
};

}  // namespace vitald
