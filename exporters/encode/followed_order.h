// SPDX-License-Identifier: Apache-2.0
// The order in which all series of a snapshot leave (family_order.h), and what became of the one before: whoever keeps
// something for each series makes it only for those that came.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/snapshot.h"
#include "exporters/encode/family_order.h"
#include "exporters/encode/layouts.h"
#include "exporters/encode/order_change.h"

namespace vitald {

// Not thread-safe.
class FollowedOrder {
 public:
  static constexpr std::uint32_t kNew = UINT32_MAX;
  struct Family {
    const MetricDesc* desc = nullptr;
    std::uint32_t first = 0, count = 0;  // of the entries
    std::uint32_t was = kNew;            // which of the families before
    bool same = false;                   // the very series that it had before
  };
  struct Entry {
    std::uint32_t batch = 0, value = 0;  // where its number is in the snapshot
    std::uint32_t was = kNew;            // which of the entries before
  };

  // Whether the order is this snapshot's too.
  [[nodiscard]] bool is_for(const Snapshot& snapshot) const {
    return !layouts_.empty() && have_layouts(snapshot.batches, layouts_);
  }
  // `anew`: nothing is the one before.
  void update(const Snapshot& snapshot, bool anew);
  [[nodiscard]] std::span<const Family> families() const { return families_; }
  [[nodiscard]] std::span<const Entry> entries(const Family& family) const {
    return std::span(entries_).subspan(family.first, family.count);
  }
  // Of the family's `i`-th entry. It lives as long as the order.
  [[nodiscard]] const SeriesInfo& series(const Family& family, std::size_t i) const {
    return *series_[family.first + i];
  }

 private:
  void build(const Snapshot& snapshot);
  bool follow(const Snapshot& snapshot);

  FamilyOrders orders_;
  Layouts layouts_;  // empty: there is no order
  std::vector<Family> families_;
  std::vector<Entry> entries_;
  std::vector<const SeriesInfo*> series_;  // beside entries_
  std::unordered_map<const MetricDesc*, std::uint32_t> family_of_;
  bool conflicts_ = false;
  OrderChange change_;
};

}  // namespace vitald
