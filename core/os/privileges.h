// SPDX-License-Identifier: Apache-2.0
// What this process may do, and no more than it uses: capabilities (capabilities(7)).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace vitald {

struct Privilege {
  unsigned capability;
  std::string_view name;  // as systemd writes it: CAP_BPF
  std::string_view used;  // by what: "eBPF probes: loading"
  bool wanted;            // worth granting to a daemon that is not root; the others are used only where root has them
  std::array<std::string_view, 2> workers = {};  // the collectors whose worker processes are left it
  bool ours = true;  // used by the process itself; else kept, not in force, for those workers only

  [[nodiscard]] bool of_worker(std::string_view collector) const {
    return !collector.empty() && (workers[0] == collector || workers[1] == collector);
  }
};
// All that vitald can use.
std::span<const Privilege> privileges();

[[nodiscard]] bool has_capability(unsigned capability);
// We have it, or only a worker of ours is left it.
[[nodiscard]] bool may_give_capability(unsigned capability);

// Raises those of privileges() that we may have, e.g. by the program file's capabilities, and gives up all others for
// good, for what we start as well. `worker`: we are the worker of that collector. Before the first thread: capabilities
// are each thread's own. False with errno: not done, nothing changed.
bool keep_only_used_privileges(std::string_view worker = {});
// Those that only the worker of that collector uses are given up as well, since it is off. Before the first thread.
bool give_up_privileges_of_worker(std::string_view collector);

// What the worker of that collector is left: a bit for each capability.
std::uint64_t privileges_of_worker(std::string_view collector);

// In a child between clone and exec: nothing is left but what is in `keep` and we have, also after the exec of root's
// or of a file with capabilities. Allocates nothing.
bool give_up_privileges(bool for_good, std::uint64_t keep = 0);

}  // namespace vitald
