// SPDX-License-Identifier: Apache-2.0
#include "core/text/utf8.h"

#include <algorithm>
#include <cstddef>

namespace vitald {
namespace {

// The length of the valid sequence at the start of `s`, 0 when there is none (RFC 3629, table in 4).
std::size_t sequence(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto tail = [&](std::size_t i, unsigned lo = 0x80, unsigned hi = 0xBF) {
    return i < s.size() && byte(i) >= lo && byte(i) <= hi;
  };
  const unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c <= 0xDF) return tail(1) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) return tail(1, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF) && tail(2) ? 3 : 0;
  if (c >= 0xF0 && c <= 0xF4)
    return tail(1, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto n = sequence(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool replaced = false;
  while (!text.empty()) {
    const auto n = sequence(text);
    if (n > 0) out += text.substr(0, n);
    else if (!replaced) out += "\xEF\xBF\xBD";
    replaced = n == 0;
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

std::string escaped_utf8(std::string_view text) {
  if (is_valid_utf8(text)) return std::string(text);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto n = std::max<std::size_t>(sequence(text), 1);
    const auto c = static_cast<unsigned char>(text.front());
    if (n == 1 && (c >= 0x80 || c == '\\')) out.append("\\x").append({kHex[c >> 4], kHex[c & 15]});
    else out += text.substr(0, n);
    text.remove_prefix(n);
  }
  return out;
}

bool is_fit_text(std::string_view text) { return text.find('\0') == text.npos && is_valid_utf8(text); }

std::string fit_text(std::string_view text) {
  auto out = valid_utf8(text);
  for (auto at = out.find('\0'); at != out.npos; at = out.find('\0', at)) out.replace(at, 1, "\xEF\xBF\xBD");
  return out;
}

}  // namespace vitald
