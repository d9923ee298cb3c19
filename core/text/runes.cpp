// SPDX-License-Identifier: Apache-2.0
#include "core/text/runes.h"

#include <cwctype>

namespace vitald {

locale_t utf8_locale() {
  static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return kLocale;
}

Rune first_rune(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto bad = Rune{0xFFFD, 1, false};
  const unsigned char c = byte(0);
  if (c < 0x80) return {c, 1};
  const std::size_t size = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
  if (c < 0xC2 || c > 0xF4 || text.size() < size) return bad;
  auto r = static_cast<char32_t>(c & (0xFF >> (size + 1)));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return bad;
    r = r << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (size == 3 && r < 0x800) || (size == 4 && r < 0x10000);
  if (overlong || r > 0x10FFFF || (r >= 0xD800 && r < 0xE000)) return bad;
  return {r, size};
}

void append_rune(std::string& out, char32_t r) {
  if (r > 0x10FFFF || (r >= 0xD800 && r < 0xE000)) r = 0xFFFD;
  const auto put = [&](char32_t v) { out += static_cast<char>(static_cast<unsigned char>(v)); };
  if (r < 0x80) return put(r);
  if (r < 0x800) put(0xC0 | r >> 6);
  else if (r < 0x10000) put(0xE0 | r >> 12);
  else put(0xF0 | r >> 18), put(0x80 | (r >> 12 & 0x3F));
  if (r >= 0x800) put(0x80 | (r >> 6 & 0x3F));
  put(0x80 | (r & 0x3F));
}

// ASCII needs no tables: with those of glibc 150 KiB more stay in memory.
char32_t to_upper(char32_t r) {
  if (r < 128) return r >= 'a' && r <= 'z' ? r - 'a' + 'A' : r;
  const auto locale = utf8_locale();
  return locale ? static_cast<char32_t>(towupper_l(static_cast<std::wint_t>(r), locale)) : r;
}
char32_t to_lower(char32_t r) {
  if (r < 128) return r >= 'A' && r <= 'Z' ? r - 'A' + 'a' : r;
  const auto locale = utf8_locale();
  return locale ? static_cast<char32_t>(towlower_l(static_cast<std::wint_t>(r), locale)) : r;
}

}  // namespace vitald
