// SPDX-License-Identifier: Apache-2.0
// How much memory is left in the cgroup that this process is in: what the kernel needs to check and hold BPF programs
// is charged to it, and where that is too much the kernel ends the process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vitald {

struct MemoryRoom {
  std::uint64_t bytes = 0, limit_bytes = 0;
};
// Of the narrowest cgroup from ours to the root; what can be had back (the page cache) is counted as left. Nothing
// where there is no limit. `root`: the folder in which /proc and /sys are.
std::optional<MemoryRoom> memory_room(const std::string& root = "");

}  // namespace vitald
