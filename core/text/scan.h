// SPDX-License-Identifier: Apache-2.0
// Parsing in place: every function works on a string_view and never throws or allocates.
// take_* consume from the front of `rest`; parse_* want the whole text.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace vitald {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_space(char c) { return is_blank(c) || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }

constexpr std::string_view trim(std::string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

// The text up to `sep`, which is consumed too; the whole rest when there is none.
inline std::string_view take_until(std::string_view& rest, char sep) {
  const void* at = rest.empty() ? nullptr : std::memchr(rest.data(), sep, rest.size());
  const std::size_t n = at ? static_cast<std::size_t>(static_cast<const char*>(at) - rest.data()) : rest.size();
  const std::string_view head = rest.substr(0, n);
  rest.remove_prefix(at ? n + 1 : n);
  return head;
}
inline std::string_view take_line(std::string_view& rest) { return take_until(rest, '\n'); }

// The next word; leading white space (also newlines) is skipped. Empty at the end.
constexpr std::string_view take_word(std::string_view& rest) {
  std::size_t i = 0;
  while (i < rest.size() && is_space(rest[i])) ++i;
  std::size_t j = i;
  while (j < rest.size() && !is_space(rest[j])) ++j;
  const std::string_view word = rest.substr(i, j - i);
  rest.remove_prefix(j);
  return word;
}

// The same for `count` words at once.
constexpr void skip_words(std::string_view& rest, std::size_t count) {
  std::size_t i = 0;
  for (; count > 0; --count) {
    while (i < rest.size() && is_space(rest[i])) ++i;
    while (i < rest.size() && !is_space(rest[i])) ++i;
  }
  rest.remove_prefix(i);
}

constexpr bool take_prefix(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

// The next unsigned number; leading blanks are skipped. Faster than from_chars, which the hot parsers
// (/proc/stat, vmstat, diskstats) notice. nullopt, with `rest` unchanged, when there is no digit or it
// does not fit 64 bits.
constexpr std::optional<std::uint64_t> take_u64(std::string_view& rest) {
  std::size_t i = 0;
  while (i < rest.size() && is_blank(rest[i])) ++i;
  const std::size_t first = i;
  std::uint64_t n = 0;
  while (i < rest.size()) {
    const auto digit = static_cast<unsigned char>(rest[i] - '0');
    if (digit > 9) break;
    if (i - first >= 19) {  // only here can it overflow
      if (n > UINT64_MAX / 10 || (n == UINT64_MAX / 10 && digit > UINT64_MAX % 10)) return std::nullopt;
    }
    n = n * 10 + digit;
    ++i;
  }
  if (i == first) return std::nullopt;
  rest.remove_prefix(i);
  return n;
}

template <std::integral Int>
std::optional<Int> parse_int(std::string_view text, int base = 10) {
  Int n{};
  const auto* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data(), end, n, base);
  if (ec != std::errc{} || at != end || text.empty()) return std::nullopt;
  return n;
}
inline std::optional<std::uint64_t> parse_u64(std::string_view text) { return parse_int<std::uint64_t>(text); }
inline std::optional<std::int64_t> parse_i64(std::string_view text) { return parse_int<std::int64_t>(text); }

// A float in C syntax, also "inf", "nan" and a leading '+'.
inline std::optional<double> parse_double(std::string_view text) {
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return std::nullopt;
  }
  double v{};
  const auto* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data(), end, v);
  if (ec != std::errc{} || at != end || text.empty()) return std::nullopt;
  return v;
}

// A number as a label value without an allocation: out.set(desc, v, Decimal(cpu)).
class Decimal {
 public:
  explicit Decimal(std::integral auto n) : end_(std::to_chars(buf_, buf_ + sizeof buf_, n).ptr) {}
  Decimal(const Decimal&) = delete;
  operator std::string_view() const { return {buf_, static_cast<std::size_t>(end_ - buf_)}; }  // NOLINT

 private:
  char buf_[24];
  char* end_;
};

}  // namespace vitald
