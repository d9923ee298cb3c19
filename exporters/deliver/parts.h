// SPDX-License-Identifier: Apache-2.0
// The body of an item that is several texts, each behind its length (4 bytes, little endian).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vitald {

inline void append_part(std::string& body, std::string_view text) {
  for (int shift = 0; shift < 32; shift += 8) body += static_cast<char>(text.size() >> shift & 0xff);
  body += text;
}

// Nothing when it is no such body.
inline std::optional<std::vector<std::string_view>> parts_of(std::string_view body) {
  std::vector<std::string_view> parts;
  while (!body.empty()) {
    if (body.size() < 4) return std::nullopt;
    std::size_t size = 0;
    for (int i = 0; i < 4; ++i)
      size |= static_cast<std::size_t>(static_cast<unsigned char>(body[static_cast<std::size_t>(i)])) << 8 * i;
    body.remove_prefix(4);
    if (size > body.size()) return std::nullopt;
    parts.push_back(body.substr(0, size));
    body.remove_prefix(size);
  }
  if (parts.empty()) return std::nullopt;
  return parts;
}

}  // namespace vitald
