// SPDX-License-Identifier: Apache-2.0
// What the rules know of a family that can be made here, so that they can tell of a selector that none of it fits.
#pragma once

#include <string_view>

namespace vitald {

struct KnownFamily {
  std::string_view name;         // a * stands for any text that is not empty
  std::string_view labels = {};  // with commas between; * for others that are not known, as all of a name with a *
  std::string_view off = {};     // how it is turned on, where it is not: "--collector.systemd"; empty: it is
};

}  // namespace vitald
