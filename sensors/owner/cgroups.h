// SPDX-License-Identifier: Apache-2.0
// Whether a cgroup is still there, and which controllers there are, asked of the mounted hierarchies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/host.h"
#include "sensors/owner/hierarchy.h"

namespace vitald {

class CgroupFolders {
 public:
  CgroupFolders(const Host& host, const V1Hierarchy& v1);

  // Nothing where it cannot be known: the hierarchy is not mounted, only a part of it is (a cgroup namespace), or the
  // path was cut.
  [[nodiscard]] std::optional<bool> on_v2(std::string_view path, std::uint64_t id) const;
  // Whether the root of v2 gives its cgroups this controller.
  [[nodiscard]] std::optional<bool> gives(std::string_view controller) const;
  [[nodiscard]] std::optional<bool> on_v1(std::string_view path, std::uint64_t id) const;

 private:
  std::string v2_, v1_;  // where the whole hierarchy is mounted; empty where it is not
};

}  // namespace vitald
