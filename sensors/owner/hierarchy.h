// SPDX-License-Identifier: Apache-2.0
// Which cgroup hierarchy says who a task belongs to. On cgroup v2 there is one. On v1 each controller has its own,
// and on hybrid hosts v2 exists beside them, with everything in it (systemd) or with nothing.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/host.h"

namespace vitald {

struct Hierarchy {
  // The same values as in bpf/owner.bpf.h.
  enum class Kind : std::uint8_t { v2, cpuacct, cpu, memory };
  Kind kind = Kind::v2;
  int id = 0;  // as in /proc/self/cgroup

  bool operator==(const Hierarchy&) const = default;
};
std::string_view to_string(Hierarchy::Kind kind);

// For CPU time and run-queue delay, and for memory.
Hierarchy cpu_hierarchy(const Host& host);
Hierarchy memory_hierarchy(const Host& host);

}  // namespace vitald
