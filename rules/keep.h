// SPDX-License-Identifier: Apache-2.0
// What is written in history.keep -> what the history does with it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rules/history/store.h"

namespace vitald {

// `{__name__=~"node_hwmon.*"} for 7d every 1m`; without `every`, all samples. nullopt: a problem is told.
std::optional<History::Keep> parse_keep(std::string_view text, std::vector<std::string>& problems);

}  // namespace vitald
