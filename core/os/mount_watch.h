// SPDX-License-Identifier: Apache-2.0
// A descriptor that is kept shows what was at its path when it was opened. When something is mounted over that path (a
// container's /proc/meminfo, which lxcfs serves), or is no longer, only a new open shows it; the kernel's announcement
// of a change of the mount table is the sign.
#pragma once

#include <cstdint>
#include <string_view>

namespace vitald {

// Another number than before when anything was mounted or unmounted in this process' mount namespace since. Looks at
// most once in a tick of the coarse clock (4 ms), for 0.5 us; in between it costs a read of that clock.
[[nodiscard]] std::uint64_t mount_changes();

// Whether what is kept of a path may be something else by now.
class MountsSince {
 public:
  // True once after each change. lxcfs has files for /proc and /sys/devices/system/cpu; nobody mounts over the
  // attributes of devices, which are many: opening all of them anew for every container that starts would cost
  // milliseconds.
  bool changed(std::string_view path) {
    const auto now = mount_changes();
    if (now == seen_) return false;
    seen_ = now;
    const auto sys = path.find("/sys/");  // also /host/sys, but not /host/proc/sys
    return sys == path.npos || path.substr(0, sys).ends_with("/proc") ||
           path.substr(sys).starts_with("/sys/devices/system/");
  }

 private:
  std::uint64_t seen_ = 0;
};

}  // namespace vitald
