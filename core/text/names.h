// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace vitald {

// A name from the kernel as part of a metric name: runs of characters that no metric name may have become one
// '_', together with the '_' around them.
inline std::string metric_name(std::string_view text) {
  const auto good = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
  std::string name;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    bool bad = false;
    while (end < text.size() && !good(text[end])) bad = bad || text[end++] != '_';
    if (bad) name += '_';
    else name.append(text.substr(i, end - i));
    i = end;
    while (i < text.size() && good(text[i])) name += text[i++];
  }
  return name;
}

}  // namespace vitald
