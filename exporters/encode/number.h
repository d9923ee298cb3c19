// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace vitald {

// The longest is "-2.2250738585072014e-308".
inline constexpr std::size_t kMaxNumberText = 24;

namespace detail {

// `v` as a decimal with Log10 places, where that is exact: the nearest double of n/scale is v again. Below
// 10^15 no two decimals share a double, so this is also the shortest text.
template <std::int64_t Scale>
inline char* write_fixed(char* at, double v) {
  const double scaled = v * static_cast<double>(Scale);
  if (!(std::fabs(scaled) < 1e15)) return nullptr;
  std::int64_t n = std::llrint(scaled);
  if (static_cast<double>(n) / static_cast<double>(Scale) != v) return nullptr;
  if (n < 0) *at++ = '-', n = -n;
  at = std::to_chars(at, at + kMaxNumberText, n / Scale).ptr;
  std::int64_t rest = n % Scale;
  *at++ = '.';
  for (std::int64_t digit = Scale / 10; rest != 0; digit /= 10) {
    *at++ = static_cast<char>('0' + rest / digit);
    rest %= digit;
  }
  return at;
}

}  // namespace detail

// Writes the shortest text that reads back as `v`, as Prometheus spells it, and returns its end. Needs room
// for kMaxNumberText. What the kernel counts is whole numbers, ticks (1/100) and milliseconds, and those are
// twice as fast as std::to_chars of a double. Whole numbers up to 2^53 never get an exponent.
inline char* write_number(char* at, double v) {
  if (std::fabs(v) <= 9007199254740992.0) {
    const auto whole = static_cast<std::int64_t>(v);
    if (static_cast<double>(whole) == v) return std::to_chars(at, at + kMaxNumberText, whole).ptr;
    if (char* end = detail::write_fixed<1000>(at, v)) return end;
  }
  if (std::isfinite(v)) return std::to_chars(at, at + kMaxNumberText, v).ptr;
  const char* name = std::isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
  const std::size_t size = std::strlen(name);
  std::memcpy(at, name, size);
  return at + size;
}

}  // namespace vitald
