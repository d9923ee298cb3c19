// SPDX-License-Identifier: Apache-2.0
// An error that stands for several items (lines, devices) says so at the end of its text: "... (and 4 more)". The
// number is read there, too: errors of workers come as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/text/scan.h"

namespace vitald {

constexpr std::string_view kItemsStart = " (and ", kItemsEnd = " more)";

// How many items a text is about.
inline std::uint64_t items_of(std::string_view text) {
  const auto at = text.ends_with(kItemsEnd) ? text.rfind(kItemsStart) : std::string_view::npos;
  if (at == std::string_view::npos) return 1;
  text.remove_prefix(at + kItemsStart.size());
  text.remove_suffix(kItemsEnd.size());
  return 1 + parse_int<std::uint32_t>(text).value_or(0);
}

// The same text about so many.
inline std::string with_items(std::string_view text, std::uint64_t items) {
  if (items_of(text) > 1) text = text.substr(0, text.rfind(kItemsStart));
  std::string out(text);
  if (items > 1) out.append(kItemsStart).append(std::to_string(items - 1)).append(kItemsEnd);
  return out;
}

}  // namespace vitald
