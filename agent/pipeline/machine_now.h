// SPDX-License-Identifier: Apache-2.0
// What the machine is at, at this moment, as JSON for evidence: pressure, memory, the biggest processes, tasks that are
// blocked in the kernel with their stacks, the end of the kernel's log. Reads only files that answer at once: never
// what a process maps (cmdline), which waits for a lock that a blocked one may hold.
#pragma once

#include <cstdint>
#include <string>

#include "core/host.h"

namespace vitald {

struct MachineNow {
  std::string json;      // an object
  bool complete = true;  // every process was looked at
};
// Stops looking at more processes at that time.
MachineNow machine_now(const Host& host, std::int64_t deadline_boot_ns);

// One line for the kernel's log: load, memory, pressure; what cannot be read is left out.
std::string vitals_line(const Host& host);

}  // namespace vitald
