// SPDX-License-Identifier: Apache-2.0
// What the kernel tells of one open file of a GPU in /proc/PID/fdinfo/N (Documentation/gpu/drm-usage-stats.rst): which
// client it is, how long each engine worked for it, and the memory that it holds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace vitald {

struct DrmClient {
  std::string pdev;      // "0000:03:00.0"; empty: not of the PCI bus
  std::uint64_t id = 0;  // of the client; files that were inherited or sent to others have the same
  struct Engine {
    std::optional<std::uint64_t> busy_ns;
    // Where the driver counts in the GPU's cycles (xe): the client's, and all that there were.
    std::optional<std::uint64_t> cycles, total_cycles;
  };
  std::map<std::string, Engine, std::less<>> engines;          // "gfx", "rcs"
  std::map<std::string, std::uint64_t, std::less<>> resident;  // bytes by region: "vram", "gtt", "vram0", "system0"

  // Of the GPU's own memory; of all where it has none of its own and takes the machine's.
  [[nodiscard]] std::uint64_t memory_bytes() const;
};

// Nothing: the file is none of a GPU's, or does not say which client it is.
std::optional<DrmClient> parse_drm_client(std::string_view fdinfo);

}  // namespace vitald
