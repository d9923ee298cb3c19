// SPDX-License-Identifier: Apache-2.0
// Up to 64 samples of one series, packed so that they read back bit for bit. What a host counts is mostly constant,
// whole, or a decimal with few places: such a block is the first value and the differences in as few bits as the
// largest of them needs. Any other number is kept by what changed in its bits (Facebook's Gorilla, 2015).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rules/promql/series_source.h"

namespace vitald::history {

inline constexpr std::size_t kBlock = 64;

// In place of a value: this series had no sample at that time. A NaN beside the stale marker, never a real value.
inline constexpr std::uint64_t kNoneBits = 0x7ff0000000000003;
inline double none_marker() { return std::bit_cast<double>(kNoneBits); }
inline bool is_none(double v) { return std::bit_cast<std::uint64_t>(v) == kNoneBits; }
// No sample, or the stale marker.
inline bool is_hole(double v) {
  static_assert((kNoneBits | 1) == (promql::kStaleBits | 1));
  return (std::bit_cast<std::uint64_t>(v) | 1) == kNoneBits;
}

// Appends the block of `values` (1 to kBlock of them) to `out`.
void pack(const double* values, std::size_t count, std::vector<std::uint8_t>& out);
// Of a block of `count` values that begins at `at`. Returns where the block ends.
// It may look at the 8 bytes behind the block.
const std::uint8_t* unpack(const std::uint8_t* at, std::size_t count, double* values);

// Where the block of `count` values ends that somebody else wrote; null unless it is one that unpack() may be given,
// and lies before `end`.
const std::uint8_t* end_of_block(const std::uint8_t* at, const std::uint8_t* end, std::size_t count);

// Whether some of the block's values are holes.
bool has_holes(const std::uint8_t* at);

}  // namespace vitald::history
