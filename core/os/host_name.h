// SPDX-License-Identifier: Apache-2.0
// What this host is called now, as in node_uname_info: whoever gets an alert must know where it is from.
#pragma once

#include <sys/utsname.h>

#include <string>

namespace vitald {

inline std::string host_name() {
  utsname kernel{};
  return uname(&kernel) == 0 ? kernel.nodename : "";
}

}  // namespace vitald
