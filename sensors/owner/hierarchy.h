// SPDX-License-Identifier: Apache-2.0
// Where a task's cgroup is looked up: on v2, and for tasks that have no place of their own there, in the v1 hierarchy
// of a controller if the host has one. On hybrid hosts either may be in use, or both.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/host.h"

namespace vitald {

struct V1Hierarchy {
  // The same values as in bpf/owner.bpf.h.
  enum class Controller : std::uint8_t { none, cpuacct, cpu, memory };
  Controller controller = Controller::none;
  int id = 0;  // as in /proc/self/cgroup

  bool operator==(const V1Hierarchy&) const = default;
};
// "cgroup v2", "cgroup v2 and v1 cpuacct".
std::string_view describe(const V1Hierarchy& v1);

// For CPU time and run-queue delay, and for memory.
V1Hierarchy cpu_hierarchy(const Host& host);
V1Hierarchy memory_hierarchy(const Host& host);

}  // namespace vitald
