// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/native_histogram.h"

#include <bit>
#include <cmath>

namespace vitald {

void NativeBuckets::set(std::int32_t first, std::span<const double> cumulative) {
  spans.clear();
  deltas.clear();
  std::uint64_t below = 0;
  std::int64_t last = 0;
  std::int32_t next = 0;  // the index after the last bucket that is there
  for (std::size_t i = 0; i < cumulative.size(); ++i) {
    const auto upto = whole_count(cumulative[i]);
    if (upto <= below) continue;  // an empty one
    const auto here = static_cast<std::int64_t>(upto - below);
    below = upto;
    const auto index = first + static_cast<std::int32_t>(i);
    if (spans.empty()) spans.push_back({index, 1});
    else if (index == next) ++spans.back().length;
    else spans.push_back({index - next, 1});
    deltas.push_back(here - last);
    last = here;
    next = index + 1;
  }
  count = below;
}

std::optional<NativeScheme> native_scheme(std::span<const double> upper) {
  if (upper.size() < kLeastNativeBounds) return std::nullopt;
  int first = 0, step = 0;
  for (std::size_t i = 0; i < upper.size(); ++i) {
    int exponent = 0;
    if (std::frexp(upper[i], &exponent) != 0.5) return std::nullopt;  // no power of two
    if (i == 0) first = exponent - 1;
    if (i == 1) step = exponent - 1 - first;
    if (exponent - 1 != first + static_cast<int>(i) * step) return std::nullopt;
  }
  // Bounds are 2^(step * index), step is 2^-schema; Prometheus has schemas from -4 on.
  if (step < 1 || step > 16 || std::popcount(static_cast<unsigned>(step)) != 1 || first % step != 0)
    return std::nullopt;
  return NativeScheme{-std::countr_zero(static_cast<unsigned>(step)), first / step};
}

}  // namespace vitald
