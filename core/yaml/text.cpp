// SPDX-License-Identifier: Apache-2.0
#include "core/yaml/text.h"

#include "core/text/scan.h"

namespace vitald {

std::optional<std::size_t> second_yaml_document(std::string_view text) {
  bool content = false;
  for (std::size_t number = 0; !text.empty(); ++number) {
    const auto line = take_line(text);
    const bool marker = line.starts_with("---") && (line.size() == 3 || is_space(line[3]));
    // A marker at the very end begins nothing.
    if (marker && content) return trim(text).empty() ? std::nullopt : std::optional(number);
    const auto words = trim(line);
    if (marker) content = !trim(line.substr(3)).empty();
    else if (!words.empty() && words.front() != '#' && !line.starts_with('%')) content = true;
  }
  return std::nullopt;
}

}  // namespace vitald
