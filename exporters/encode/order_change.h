// SPDX-License-Identifier: Apache-2.0
// What becomes of an order of families and series (family_order.h) when some series come or go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/layout.h"
#include "exporters/encode/family_order.h"
#include "exporters/encode/layouts.h"

namespace vitald {

// Kept for its memory. Not thread-safe.
class OrderChange {
 public:
  static constexpr std::uint32_t kGone = UINT32_MAX;
  struct Arrival {
    std::uint32_t family = 0, place = 0;  // stands in front of that series of before
    std::uint32_t batch = 0;
    const Sample* sample = nullptr;
  };

  // `families` are of the order before: `desc`, and where its series begin in `series` and how many they are; `of`
  // finds the one of a descriptor, where all series of that name have this one. False: only making all anew tells.
  template <class Batches, class Families>
  bool find(const Layouts& before, const Batches& batches, const Families& families,
            const std::unordered_map<const MetricDesc*, std::uint32_t>& of, std::span<const SeriesInfo* const> series) {
    arrivals_.clear();
    now_.resize(batches.size());
    for (std::uint32_t b = 0; b < batches.size(); ++b)
      if (!find_in(b, before[b], batches[b]->layout, of)) return false;
    for (auto& a : arrivals_) {
      const auto& family = families[a.family];
      const auto own = series.subspan(family.first, family.count);
      const auto at = std::lower_bound(own.begin(), own.end(), a.sample, [&](const SeriesInfo* known, const Sample* s) {
        return leaves_before(*family.desc, *known, *s->series);
      });
      a.place = family.first + static_cast<std::uint32_t>(at - own.begin());
    }
    std::ranges::stable_sort(arrivals_, [](const Arrival& a, const Arrival& b) {
      if (a.family != b.family) return a.family < b.family;
      if (a.place != b.place) return a.place < b.place;
      return leaves_before(*a.sample->family, *a.sample->series, *b.sample->series);
    });
    // One that comes twice.
    return std::ranges::adjacent_find(arrivals_, [](const Arrival& a, const Arrival& b) {
             return a.family == b.family && Layout::prefix(*a.sample) == Layout::prefix(*b.sample);
           }) == arrivals_.end();
  }

  // In the order in which they leave.
  [[nodiscard]] std::span<const Arrival> arrivals() const { return arrivals_; }
  // Of a batch, by the index of a value before: the one it has now, or kGone. Empty: all are as they were.
  [[nodiscard]] std::span<const std::uint32_t> now(std::size_t batch) const { return now_[batch]; }

 private:
  bool find_in(std::uint32_t batch, const std::shared_ptr<const Layout>& before,
               const std::shared_ptr<const Layout>& after,
               const std::unordered_map<const MetricDesc*, std::uint32_t>& of);

  std::vector<std::vector<std::uint32_t>> now_;
  std::vector<Arrival> arrivals_;
};

}  // namespace vitald
