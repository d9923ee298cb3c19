// SPDX-License-Identifier: Apache-2.0
// The kernel's histograms with every other bound, up to a second: where there is one per owner or per kind, all of its
// bounds would be a flood. The buckets of a native histogram of schema -1.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bpf/include/vitald/hist.h"
#include "core/batch.h"
#include "sensors/bpf/maps.h"

namespace vitald {

inline constexpr std::size_t kCoarseBounds = 11;  // 2^-20 s, 2^-18 s, ..., 1 s

inline std::span<const double> coarse_bounds() {
  static const auto bounds = [] {
    std::array<double, kCoarseBounds> b{};
    for (int i = 0; i < static_cast<int>(b.size()); ++i) b[static_cast<std::size_t>(i)] = std::ldexp(1.0, 2 * i - 20);
    return b;
  }();
  return bounds;
}

struct CoarseSum {
  std::array<std::uint64_t, kCoarseBounds + 1> counts{};
  std::uint64_t sum_ns = 0;

  void add(const vitald_hist& h) {
    for (std::size_t i = 0; i < VITALD_HIST_SLOTS; ++i) counts[std::min((i + 1) / 2, kCoarseBounds)] += h.slots[i];
    sum_ns += h.sum_ns;
  }
  [[nodiscard]] std::uint64_t count() const {
    std::uint64_t n = 0;
    for (const auto c : counts) n += c;
    return n;
  }
  [[nodiscard]] HistogramView view() const { return {coarse_bounds(), counts, static_cast<double>(sum_ns) / 1e9}; }
};

// One histogram of each CPU's row, added up. `of`: from the row to the histogram.
template <class Row, class Of>
CoarseSum coarse_sum(const MappedArray<Row>& cpus, Of&& of) {
  CoarseSum sum;
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu) sum.add(of(cpus[cpu]));
  return sum;
}

}  // namespace vitald
