// SPDX-License-Identifier: Apache-2.0
// What is written in history.keep -> what the history does with it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rules/history/store.h"

namespace vitald {

// `{__name__=~"node_hwmon.*"} for 7d every 1m`; without `every`, all samples. nullopt: a problem is told.
std::optional<History::Keep> parse_keep(std::string_view text, std::vector<std::string>& problems);

// Entries that change nothing, and why, each as "--history.keep: 'ENTRY': ...". `texts` as they were written, one for
// each of `keep`; `unknown`: what is wrong with a name of series, or nothing.
std::vector<std::string> keeps_without_effect(std::span<const std::string> texts, std::span<const History::Keep> keep,
                                              std::int64_t retention_ms,
                                              const std::function<std::string(std::string_view)>& unknown);

}  // namespace vitald
