// SPDX-License-Identifier: Apache-2.0
// What to say where something cannot be had for want of file descriptors (EMFILE).
#pragma once

#include <string_view>

namespace vitald {

inline constexpr std::string_view kFewDescriptors =
    "the limit of open files is too low for it; set LimitNOFILE=4096 in the unit or raise ulimit -Hn";

}  // namespace vitald
