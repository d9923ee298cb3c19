// SPDX-License-Identifier: Apache-2.0
// The buckets of a histogram whose bounds are powers of two as Prometheus' native histograms have them (of schema 0
// bucket i is (2^(i-1), 2^i], of schema -1 (4^(i-1), 4^i]) and OpenTelemetry's exponential ones, which count from one
// less. What is above the highest bound is in the bucket after it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace vitald {

// Greater than 0, so that a histogram without observations is known to be native; no observation is that small.
inline constexpr double kZeroThreshold = 0x1p-128;

struct NativeSpan {
  std::int32_t offset = 0;  // of the first one the index, of the next ones the gap
  std::uint32_t length = 0;
};

// Of one histogram at one time; its memory is used again.
struct NativeBuckets {
  std::vector<NativeSpan> spans;
  std::vector<std::int64_t> deltas;  // the first count, then differences
  std::uint64_t count = 0;

  // `cumulative`: of each bound, and of +Inf. What falls from one to the next, a counter of another time, is 0.
  // `first`: the index of the lowest bucket.
  void set(std::int32_t first, std::span<const double> cumulative);
};

struct NativeScheme {
  std::int32_t schema = 0;
  std::int32_t first = 0;  // index of the lowest bucket
};
// When these upper bounds (without +Inf) are those of a native histogram, one after the other. A few powers of two
// (0.5, 1, 2) are somebody's choice of bounds, not that.
std::optional<NativeScheme> native_scheme(std::span<const double> upper);
inline constexpr std::size_t kLeastNativeBounds = 8;

// A count that is read as a double: what is none is 0.
inline std::uint64_t whole_count(double v) { return v >= 0 && v < 1.8e19 ? static_cast<std::uint64_t>(v) : 0; }

}  // namespace vitald
