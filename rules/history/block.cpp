// SPDX-License-Identifier: Apache-2.0
#include "rules/history/block.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "rules/promql/series_source.h"

namespace vitald::history {

namespace {

std::uint64_t bits(double v) { return std::bit_cast<std::uint64_t>(v); }

// v * scale as an integer that divides back to exactly v.
bool to_integer(double v, double scale, std::int64_t& out) {
  const double scaled = v * scale;
  if (!(std::abs(scaled) < 9007199254740992.0)) return false;  // 2^53; also NaN and infinities
  out = std::llround(scaled);
  return bits(static_cast<double>(out) / scale) == bits(v);
}

std::uint64_t zigzag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
std::int64_t unzigzag(std::uint64_t v) { return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1); }

template <class T>
void put(unsigned char* at, std::size_t i, std::uint64_t v) {
  const auto narrow = static_cast<T>(v);
  std::memcpy(at + i * sizeof narrow, &narrow, sizeof narrow);
}
template <class T>
std::uint64_t get(const unsigned char* at, std::size_t i) {
  T v;
  std::memcpy(&v, at + i * sizeof v, sizeof v);
  return v;
}

template <class T>
void add_up(const unsigned char* at, std::int64_t n, unsigned shift, double scale, double* values) {
  values[0] = static_cast<double>(n) / scale;
  for (std::size_t i = 1; i < kBlock; ++i) {
    n += unzigzag(get<T>(at, i - 1)) * (std::int64_t{1} << shift);
    values[i] = static_cast<double>(n) / scale;
  }
}

constexpr std::size_t kMasks = 2 * sizeof(std::uint64_t);

}  // namespace

Block Block::pack(const double* given) {
  Block out;
  double values[kBlock];
  std::uint64_t none = 0, stale = 0;
  // A hole is filled with the value before it (or the first one), which costs nothing in the differences.
  double filler = 0;
  for (std::size_t i = kBlock; i-- > 0;)
    if (bits(given[i]) != kNoneBits && !promql::is_stale(given[i])) filler = given[i];
  for (std::size_t i = 0; i < kBlock; ++i) {
    if (bits(given[i]) == kNoneBits) none |= std::uint64_t{1} << i;
    else if (promql::is_stale(given[i])) stale |= std::uint64_t{1} << i;
    else filler = given[i];
    values[i] = filler;
  }
  out.holes_ = (none | stale) != 0;
  const std::size_t masks = out.holes_ ? kMasks : 0;
  const auto reserve = [&](std::size_t payload) {
    out.size_ = static_cast<std::uint16_t>(masks + payload);
    if (out.size_ > 0) out.data_ = std::make_unique_for_overwrite<unsigned char[]>(out.size_);
    if (out.holes_) {
      std::memcpy(out.data_.get(), &none, sizeof none);
      std::memcpy(out.data_.get() + sizeof none, &stale, sizeof stale);
    }
    return out.data_.get() + masks;
  };

  out.base_ = values[0];
  if (std::ranges::all_of(values, [&](double v) { return bits(v) == bits(values[0]); })) {
    reserve(0);
    return out;
  }
  std::int64_t whole[kBlock];
  static constexpr std::uint16_t kScales[] = {1, 100, 1000};
  for (const auto scale : kScales) {
    if (!std::ranges::all_of(values,
                             [&, i = std::size_t{0}](double v) mutable { return to_integer(v, scale, whole[i++]); }))
      continue;
    std::uint64_t any = 0;
    for (std::size_t i = 1; i < kBlock; ++i) any |= static_cast<std::uint64_t>(whole[i] - whole[i - 1]);
    const auto shift = static_cast<unsigned>(std::countr_zero(any));
    std::uint64_t largest = 0;
    std::uint64_t steps[kBlock];
    for (std::size_t i = 1; i < kBlock; ++i) {
      steps[i] = zigzag((whole[i] - whole[i - 1]) / (std::int64_t{1} << shift));
      largest |= steps[i];
    }
    if (largest > UINT32_MAX) break;
    out.scale_ = scale;
    out.shift_ = static_cast<std::uint8_t>(shift);
    out.width_ = largest <= UINT8_MAX ? 1 : largest <= UINT16_MAX ? 2 : 4;
    auto* at = reserve(out.width_ * (kBlock - 1));
    for (std::size_t i = 1; i < kBlock; ++i) {
      if (out.width_ == 1) put<std::uint8_t>(at, i - 1, steps[i]);
      else if (out.width_ == 2) put<std::uint16_t>(at, i - 1, steps[i]);
      else put<std::uint32_t>(at, i - 1, steps[i]);
    }
    return out;
  }
  out.width_ = 8;
  std::memcpy(reserve(sizeof values), values, sizeof values);
  return out;
}

void Block::unpack(double* values) const {
  const auto* at = data_.get() + (holes_ ? kMasks : 0);
  const auto first = static_cast<std::int64_t>(width_ > 0 && width_ < 8 ? std::llround(base_ * scale_) : 0);
  switch (width_) {
    case 0: std::fill_n(values, kBlock, base_); break;
    case 1: add_up<std::uint8_t>(at, first, shift_, scale_, values); break;
    case 2: add_up<std::uint16_t>(at, first, shift_, scale_, values); break;
    case 4: add_up<std::uint32_t>(at, first, shift_, scale_, values); break;
    default: std::memcpy(values, at, kBlock * sizeof(double));
  }
  if (!holes_) return;
  std::uint64_t none, stale;
  std::memcpy(&none, data_.get(), sizeof none);
  std::memcpy(&stale, data_.get() + sizeof none, sizeof stale);
  for (std::size_t i = 0; i < kBlock; ++i) {
    if (none >> i & 1) std::memcpy(&values[i], &kNoneBits, sizeof kNoneBits);
    if (stale >> i & 1) values[i] = promql::stale_marker();
  }
}

}  // namespace vitald::history
