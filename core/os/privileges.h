// SPDX-License-Identifier: Apache-2.0
// What this process may do, and no more than it uses: capabilities (capabilities(7)).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace vitald {

struct Privilege {
  unsigned capability;
  std::string_view name;  // as systemd writes it: CAP_BPF
  std::string_view used;  // by what: "eBPF probes: loading"
  bool wanted;            // worth granting to a daemon that is not root; the others are used only where root has them
};
// All that vitald can use.
std::span<const Privilege> privileges();

[[nodiscard]] bool has_capability(unsigned capability);

// Raises those of privileges() that we may have, e.g. by the program file's capabilities, and gives up all others for
// good, for what we start as well. Before the first thread: capabilities are each thread's own. False with errno: not
// done, nothing changed.
bool keep_only_used_privileges();

// In a child between clone and exec: nothing is left, also after the exec of root's or of a file with capabilities.
// Allocates nothing.
bool give_up_privileges(bool for_good);

}  // namespace vitald
