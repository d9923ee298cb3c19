// SPDX-License-Identifier: Apache-2.0
// The BPF object irq: softirqs and interrupts' handlers.
#pragma once

#include <span>

#include "bpf/include/vitald/irq.h"
#include "bpf/irq.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"

namespace vitald {

enum IrqSignal : std::size_t { kSoftirqLatency, kHardirqLatency };
std::span<const Signal> irq_signals();

struct IrqObject {
  static Result<SignalUse<IrqObject>> use(const Host& host, const Options& options, IrqSignal which);

  // What ran when a signal was turned off has ended long since.
  void forget_past(const Signal& signal);

  BpfObject<irq_bpf> bpf;
  MappedArray<vitald_softirq_cpu> softirqs;
  MappedArray<vitald_hardirq_cpu> hardirqs;
  MappedArray<vitald_irq_name> names;
};

}  // namespace vitald
