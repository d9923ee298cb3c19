// SPDX-License-Identifier: Apache-2.0
// Where RE2 takes a regular expression that Go, whose words the configuration is in, does not.
#pragma once

#include <string_view>

namespace vitald {

// Whether \C, "any byte", is in it: half a character would be matched.
inline bool matches_bytes(std::string_view regex) {
  for (std::size_t i = 0; i + 1 < regex.size(); ++i) {
    if (regex[i] != '\\') continue;
    const char c = regex[++i];
    if (c == 'C') return true;
    if (c != 'Q') continue;
    i = regex.find("\\E", i);  // all up to there is plain text
    if (i == std::string_view::npos) return false;
    ++i;
  }
  return false;
}
inline constexpr std::string_view kMatchesBytes = "invalid escape sequence: \\C";

}  // namespace vitald
