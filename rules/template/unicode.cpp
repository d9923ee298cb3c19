// SPDX-License-Identifier: Apache-2.0
#include "rules/template/unicode.h"

#include <clocale>
#include <cwctype>

#include <fmt/format.h>

namespace vitald::text_template {

namespace {

// glibc has it built in; the process' own locale stays what it is.
locale_t utf8_locale() {
  static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return kLocale;
}

// ASCII, which next to all templates are, needs no tables: with those of glibc 150 KiB more stay in memory.
bool has_class(char32_t r, int (*test)(std::wint_t, locale_t), int (*ascii)(std::wint_t)) {
  if (r < 128) return ascii(static_cast<std::wint_t>(r)) != 0;
  const auto locale = utf8_locale();
  return locale && test(static_cast<std::wint_t>(r), locale) != 0;
}

}  // namespace

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

std::size_t count_runes(std::string_view text) {
  std::size_t n = 0;
  for (; !text.empty(); ++n) text.remove_prefix(first_rune(text).size);
  return n;
}

std::string_view first_runes(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; count > 0 && at < text.size(); --count) at += first_rune(text.substr(at)).size;
  return text.substr(0, at);
}

bool is_letter_or_digit(char32_t r) { return has_class(r, iswalnum_l, std::iswalnum); }
bool is_word(char32_t r) { return r == '_' || is_letter_or_digit(r); }
bool is_space(char32_t r) { return r == 0x85 || r == 0xA0 || has_class(r, iswspace_l, std::iswspace); }
bool is_print(char32_t r) { return r == ' ' || (!is_space(r) && has_class(r, iswprint_l, std::iswprint)); }
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

std::string unicode_name(char32_t rune, bool with_character, int digits) {
  auto out = fmt::format("U+{:0{}X}", static_cast<std::uint32_t>(rune), digits);
  if (with_character && rune <= 0x10FFFF && is_print(rune)) {
    out += " '";
    append_rune(out, rune);
    out += '\'';
  }
  return out;
}

namespace {

void append_quoted(std::string& out, Rune r, unsigned char byte, char quote, bool ascii) {
  if (!r.valid) {
    out += fmt::format("\\x{:02x}", byte);
    return;
  }
  if (r.rune == static_cast<char32_t>(quote) || r.rune == '\\') {
    out += '\\';
    out += static_cast<char>(r.rune);
    return;
  }
  if ((r.rune < 128 || !ascii) && is_print(r.rune)) return append_rune(out, r.rune);
  static constexpr std::string_view kControls = "\a\b\f\n\r\t\v", kLetters = "abfnrtv";
  const auto known = r.rune < 128 ? kControls.find(static_cast<char>(r.rune)) : std::string_view::npos;
  const auto code = static_cast<std::uint32_t>(r.rune);
  if (r.rune != 0 && known != std::string_view::npos) out += {'\\', kLetters[known]};
  else if (r.rune < ' ' || r.rune == 0x7F) out += fmt::format("\\x{:02x}", code);
  else if (r.rune < 0x10000) out += fmt::format("\\u{:04x}", code);
  else out += fmt::format("\\U{:08x}", code);
}

}  // namespace

std::string quote(std::string_view text, bool ascii) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto r = first_rune(text);
    append_quoted(out, r, static_cast<unsigned char>(text[0]), '"', ascii);
    text.remove_prefix(r.size);
  }
  return out + '"';
}

std::string quote_rune(char32_t rune, bool ascii) {
  if (rune > 0x10FFFF || (rune >= 0xD800 && rune < 0xE000)) rune = 0xFFFD;
  std::string out = "'";
  append_quoted(out, {rune, 1, true}, 0, '\'', ascii);
  return out + '\'';
}

bool unquote(std::string_view text, std::string& out) {
  out.clear();
  if (text.size() < 2 || text.front() != text.back()) return false;
  const char mark = text.front();
  text = text.substr(1, text.size() - 2);
  if (mark == '`') {
    for (const char c : text)
      if (c != '\r') out += c;
    return text.find('`') == text.npos;
  }
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++characters) {
    const char c = text[i];
    if (c == mark || c == '\n') return false;
    if (c != '\\') {
      const auto r = first_rune(text.substr(i));
      out += text.substr(i, r.size);
      i += r.size;
      continue;
    }
    if (++i == text.size()) return false;
    const char e = text[i++];
    static constexpr std::string_view kLetters = "abfnrtv\\", kControls = "\a\b\f\n\r\t\v\\";
    if (const auto k = kLetters.find(e); k != kLetters.npos) {
      out += kControls[k];
      continue;
    }
    if (e == mark) {
      out += mark;
      continue;
    }
    const bool octal = e >= '0' && e <= '7';
    const std::size_t digits = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : octal ? 3 : 0;
    if (octal) --i;
    if (digits == 0 || text.size() - i < digits) return false;
    std::uint32_t code = 0;
    for (const std::size_t stop = i + digits; i < stop; ++i) {
      const char d = text[i];
      const std::uint32_t n = d >= '0' && d <= '9'   ? static_cast<std::uint32_t>(d - '0')
                              : d >= 'a' && d <= 'f' ? static_cast<std::uint32_t>(d - 'a' + 10)
                              : d >= 'A' && d <= 'F' ? static_cast<std::uint32_t>(d - 'A' + 10)
                                                     : 99U;
      if (n >= (octal ? 8U : 16U)) return false;
      code = code * (octal ? 8U : 16U) + n;
    }
    if (e == 'x' || octal) {
      if (code > 255) return false;
      if (mark == '\'') append_rune(out, code);  // a character of this number
      else out += static_cast<char>(static_cast<unsigned char>(code));
    } else {
      if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
      append_rune(out, code);
    }
  }
  return mark == '"' || characters == 1;
}

}  // namespace vitald::text_template
