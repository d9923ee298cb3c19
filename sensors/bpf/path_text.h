// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "bpf/include/vitald/owner.h"

namespace vitald {

// "/system.slice/ssh.service"; "/" for the root.
inline std::string path_text(const vitald_cgroup_path& path) {
  std::string text;
  for (auto i = std::min<std::uint32_t>(path.levels, VITALD_CGROUP_LEVELS); i-- > 0;)
    text.append("/").append(path.names[i], strnlen(path.names[i], VITALD_CGROUP_NAME));
  return text.empty() ? "/" : text;
}

}  // namespace vitald
