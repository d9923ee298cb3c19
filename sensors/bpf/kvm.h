// SPDX-License-Identifier: Apache-2.0
// The BPF object kvm: what virtual CPUs of guests do, per guest; and its signals as collectors, which begin when KVM
// does, be it after us, and let go of it when its vendor's module goes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bpf/include/vitald/kvm.h"
#include "bpf/kvm.skel.h"
#include "core/collector.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/bpf/owners.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/slots.h"
#include "sensors/owner/totals.h"

namespace vitald {

enum KvmSignal : std::size_t { kGuestExits, kGuestHalts };
std::span<const Signal> kvm_signals();

struct KvmObject {
  static Result<SignalUse<KvmObject>> use(const Host& host, const Options& options, KvmSignal which);

  // What a guest has counted, all CPUs added up.
  [[nodiscard]] vitald_guest_row row(std::uint32_t guest) const;
  // The guests of an owner's slot, mostly one or none; of slot 0 the one that all others share.
  [[nodiscard]] std::vector<std::uint32_t> guests_of(std::uint32_t slot) const;
  // Nobody's any more.
  void free_guests_of(std::uint32_t slot);
  [[nodiscard]] bool fits(const Options& options) const { return owners->fits(options); }
  void forget_past(const Signal&) { clear_hash(bpf.skel().maps.exits); }

  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<kvm_bpf> bpf;
  MappedArray<vitald_guest_row> rows;
  MappedArray<std::uint64_t> guest_of_slot, slot_of_guest;
  MappedArray<vitald_exit_reason> reasons;
  bool knows_reasons = false;
};

using GuestTotals = OwnerTotals<vitald_guest_row>;

// Writes a signal's families of all owners.
using EmitGuests = void (*)(const KvmObject& object, std::span<const GuestTotals::Entry> entries, BatchWriter& out);

// The collector of a signal.
Result<std::unique_ptr<Collector>> make_kvm(const Host& host, const Options& options, KvmSignal which, EmitGuests emit);

}  // namespace vitald
