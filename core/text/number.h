// SPDX-License-Identifier: Apache-2.0
// Numbers as the metric formats write them.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace vitald {

// The longest is "-2.2250738585072014e-308".
inline constexpr std::size_t kMaxNumberText = 24;

namespace detail {

// `v` as a decimal with Places places, where that is exact: the nearest double of n/10^Places is v again. Below
// 10^15 no two decimals share a double, so without its zeros at the end this is also the shortest text.
template <int Places>
inline char* write_fixed(char* at, double v) {
  constexpr std::int64_t kScale = Places == 3 ? 1'000 : 1'000'000'000;
  const double scaled = v * static_cast<double>(kScale);
  if (!(std::fabs(scaled) < 1e15)) return nullptr;
  std::int64_t n = std::llrint(scaled);
  if (static_cast<double>(n) / static_cast<double>(kScale) != v) return nullptr;
  if (n < 0) *at++ = '-', n = -n;
  at = std::to_chars(at, at + kMaxNumberText, n / kScale).ptr;
  *at++ = '.';
  auto rest = static_cast<std::uint32_t>(n % kScale);
  for (int i = Places - 1; i >= 0; --i) {
    at[i] = static_cast<char>('0' + rest % 10);
    rest /= 10;
  }
  at += Places;
  while (at[-1] == '0') --at;  // not all of them are: v is no whole number
  return at;
}

// The same for what is below 0.0001: whole nanoseconds, "8.5e-06".
inline char* write_nanoseconds(char* at, double v) {
  const std::int64_t n = std::llrint(v * 1e9);
  if (n <= 0 || static_cast<double>(n) / 1e9 != v) return nullptr;
  char digits[8];
  const auto count = std::to_chars(digits, digits + sizeof digits, n).ptr - digits;
  at[0] = digits[0];
  at[1] = '.';
  std::memcpy(at + 2, digits + 1, sizeof digits - 1);
  at += count + 1;
  while (at[-1] == '0') --at;
  if (at[-1] == '.') --at;
  std::memcpy(at, "e-0", 3);
  at[3] = static_cast<char>('0' + 10 - count);
  return at + 4;
}

}  // namespace detail

// Writes the shortest text that reads back as `v`, as Prometheus spells it, and returns its end. Needs room
// for kMaxNumberText. What the kernel counts is whole numbers, ticks (1/100), milliseconds and nanoseconds, and those
// are two to four times as fast as std::to_chars of a double. Whole numbers up to 2^53 never get an exponent.
inline char* write_number(char* at, double v) {
  if (std::fabs(v) <= 9007199254740992.0) {
    const auto whole = static_cast<std::int64_t>(v);
    if (static_cast<double>(whole) == v) return std::to_chars(at, at + kMaxNumberText, whole).ptr;
    if (std::fabs(v) >= 1e-4) {
      if (char* end = detail::write_fixed<3>(at, v)) return end;
      if (char* end = detail::write_fixed<9>(at, v)) return end;
    } else if (char* end = detail::write_nanoseconds(at, v)) {
      return end;
    }
  }
  if (std::isfinite(v)) return std::to_chars(at, at + kMaxNumberText, v).ptr;
  const char* name = std::isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
  const std::size_t size = std::strlen(name);
  std::memcpy(at, name, size);
  return at + size;
}

}  // namespace vitald
