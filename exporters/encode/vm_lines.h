// SPDX-License-Identifier: Apache-2.0
// Guests -> InfluxDB's line protocol, a line for each guest and measurement with all its numbers as fields, as those
// have it who keep their virtual machines in InfluxDB:
//
//   vm_metrics,VMID=1,name=web,uuid=550e... state="running",cpu_count=2i,memory_max_kb=2097152i,... 1699868400000000000
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/snapshot.h"

namespace vitald {

// Not thread-safe.
class VmLines {
 public:
  static constexpr std::string_view kMeasurements[] = {"vm_metrics", "vm_features", "vm_devices", "vm_totals"};
  // Those of the lines themselves: no further tag may be called so.
  static constexpr std::string_view kTags[] = {"VMID", "name", "uuid", "device", "kind"};

  struct Settings {
    std::vector<std::string> measurements;                       // of kMeasurements; none: no lines
    std::vector<std::pair<std::string, std::string>> tags = {};  // more ones, behind the guest's own
  };
  explicit VmLines(Settings settings);

  // Appends the lines of the guests that run, and says how many. None of what libvirt has not been asked for since the
  // last call: interfaces are read more often than the rest. A line's time is that of the reading.
  std::uint32_t encode(const Snapshot& snapshot, std::string& out);

 private:
  bool metrics_ = false, features_ = false, devices_ = false, totals_ = false;
  std::string tags_;  // ",datacentre=west"
  std::int64_t last_boot_ns_ = 0, last_read_boot_ns_ = 0;
};

}  // namespace vitald
