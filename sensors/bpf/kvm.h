// SPDX-License-Identifier: Apache-2.0
// The BPF object kvm: what virtual CPUs of guests do, per guest; and its signals as collectors, which begin when KVM
// does, be it after us, and let go of it when its vendor's module goes.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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

// The rows of guests. All of them are 144 KiB per CPU, and a mapped map counts as our memory whole: so each guest's are
// mapped when it is first read. Not thread-safe.
class GuestRows {
 public:
  static Result<GuestRows> of(bpf_map* map, std::uint32_t cpus);
  // What a guest has counted, all CPUs added up.
  [[nodiscard]] vitald_guest_row sum(std::uint32_t guest);

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(void* p) const noexcept { munmap(p, bytes); }
  };
  using Pages = std::unique_ptr<void, Unmap>;
  struct Window {
    Pages pages;
    const vitald_guest_row* rows;  // one per CPU; null: not mapped
  };
  GuestRows(int map, std::uint32_t cpus) : map_(map), cpus_(cpus) {
    for (std::uint32_t guest = 0; guest < VITALD_GUESTS; ++guest) windows_.push_back({Pages(nullptr, {0}), nullptr});
  }
  Result<> map(std::uint32_t guest);

  int map_;
  std::uint32_t cpus_;
  std::vector<Window> windows_;
};

struct KvmObject {
  static Result<SignalUse<KvmObject>> use(const Host& host, const Options& options, KvmSignal which);

  // The guests of an owner's slot, mostly one or none; of slot 0 the one that all others share. Under the slots' lock,
  // as the rest of guests.
  [[nodiscard]] std::vector<std::uint32_t> guests_of(std::uint32_t slot);
  // Those slots' guests count no more from now on, and are still read. Any number of readers may say so.
  void end_guests_of(std::span<const std::uint32_t> slots);
  // All have read them: the numbers are the next guests'. The first of the readers that says so does it.
  void free_ended();
  [[nodiscard]] bool fits(const Options& options) const { return owners->fits(options); }
  void forget_past(const Signal&) { clear_hash(bpf.skel().maps.exits); }

  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<kvm_bpf> bpf;
  GuestRows rows;
  MappedArray<std::uint64_t> guest_of_slot, slot_of_guest;
  MappedArray<vitald_exit_reason> reasons;
  bool knows_reasons = false;
  std::uint32_t seen = 0;  // the highest guest that anybody had
  struct Ended {
    std::uint32_t slot, guest;
  };
  std::vector<Ended> ended = {};
};

using GuestTotals = OwnerTotals<vitald_guest_row>;

// Writes a signal's families of all owners.
using EmitGuests = void (*)(const KvmObject& object, std::span<const GuestTotals::Entry> entries, BatchWriter& out);

// Whether somebody has KVM open, as each guest's hypervisor does: its modules are referred to (module/*/refcnt in
// sysfs). Also where KVM is a part of the kernel, which does not count that. `vendor`: its module, "kvm_intel".
bool kvm_in_use(const Host& host, std::string_view vendor);

// The collector of a signal. Its maps take 144 KiB per CPU, so it is loaded when KVM is first in use.
Result<std::unique_ptr<Collector>> make_kvm(const Host& host, const Options& options, KvmSignal which, EmitGuests emit);

}  // namespace vitald
