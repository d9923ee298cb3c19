// SPDX-License-Identifier: Apache-2.0
// What of the machine is before us, asked by identity and not by the names of paths: a container that has the host's
// /proc and /sys at /host/proc and /host/sys sees the host, a fixture tree at /proc would not. No question needs a
// privilege.
#pragma once

#include <string>

namespace vitald {

struct HostView {
  bool kernel = false;   // the proc and sys trees are the running kernel's: system calls and BPF mean the same machine
  bool network = false;  // our network namespace is theirs: netlink and ioctl mean the same interfaces
  bool processes = false;  // the proc tree has every process of the machine, also the kernel's own
  bool pids = false;       // our PID namespace is the proc tree's: sysctls of a namespace are its
  bool mounts = false;     // process 1 has its root where the root tree is: mount points lead to the same file systems
};

HostView look_at_host(const std::string& proc, const std::string& sys, const std::string& root);

}  // namespace vitald
