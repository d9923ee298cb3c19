// SPDX-License-Identifier: Apache-2.0
// 2023-11-14T22:13:20.12Z, 2023-11-14T22:13:20+01:00 -> milliseconds since 1970.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace vitald {

// Nothing: it is no such time, or one that the calendar does not have. Of a fraction three digits count.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

}  // namespace vitald
