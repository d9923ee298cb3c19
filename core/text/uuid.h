// SPDX-License-Identifier: Apache-2.0
// UUIDs (RFC 9562): the text of one, and new ones by chance.
#pragma once

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <string>

namespace vitald {

using UuidBytes = std::array<std::uint8_t, 16>;

// 8-4-4-4-12, with the version and the variant in their places.
inline std::string uuid_text(UuidBytes bytes, std::uint8_t version) {
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | version << 4);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", bytes[i]);
  }
  return out;
}

inline std::string new_uuid() {
  UuidBytes bytes{};
  [[maybe_unused]] const auto n = getrandom(bytes.data(), bytes.size(), 0);  // 16 bytes are never cut short
  return uuid_text(bytes, 4);
}

}  // namespace vitald
