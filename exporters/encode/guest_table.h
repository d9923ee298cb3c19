// SPDX-License-Identifier: Apache-2.0
// The guests of a snapshot as records: what libvirt said of each that runs or is defined, and what was derived.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"

namespace vitald {

// A number of a guest or of one of its devices: the field's name for those who read records, the series it is, what
// one of the series is in the field's unit, and whether it is a whole number.
struct GuestField {
  std::string_view name;
  std::string_view series;
  double times = 1;
  bool whole = true;
};
// Of vm_metrics (K2) beside `state`, of vm_features, of each disk and interface, of all of them together.
extern const std::array<GuestField, 4> kGuestFields;
extern const std::array<GuestField, 2> kFeatureFields;
extern const std::array<GuestField, 6> kDiskFields;
extern const std::array<GuestField, 6> kInterfaceFields;
extern const std::array<GuestField, 8> kTotalFields;
inline constexpr std::string_view kGuestStateSeries = "libvirt_domain_info_vstate";

struct GuestDevice {
  std::string name;  // "vda", "vnet0"
  bool disk = false;
  std::array<std::optional<double>, 6> fields;  // of kDiskFields or kInterfaceFields, in the field's unit
};

struct GuestRecord {
  std::string name;
  std::string uuid;                // empty: it does not run and the series have no uuid
  std::optional<std::int64_t> id;  // libvirt's number; only while it runs
  std::optional<int> state;        // virDomainState
  std::array<std::optional<double>, 4> fields;
  std::array<std::optional<double>, 2> features;
  std::array<std::optional<double>, 8> totals;
  std::vector<GuestDevice> devices;
};

struct GuestTable {
  std::int64_t boot_ns = 0, wall_ns = 0;  // when libvirt was asked last; 0: nobody reads guests
  // When CPU time, memory and disks were, which is more rarely (--collector.libvirt.slow-interval).
  std::int64_t read_boot_ns = 0, read_wall_ns = 0;
  bool up = false;                  // libvirt answered
  std::vector<GuestRecord> guests;  // sorted by name
};

// Looks at every sample of the collectors that know of guests.
GuestTable guests_of(const Snapshot& snapshot);

// virDomainState in a word: running, paused, stopped; blocked, stopping, crashed, suspended; unknown.
std::string_view guest_state_word(int state);

}  // namespace vitald
