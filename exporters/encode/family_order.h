// SPDX-License-Identifier: Apache-2.0
// The order in which the series of several batches leave: families by name, series of a family by their label values,
// as client_golang has it; and what is left out because two batches give the same.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/layout_map.h"
#include "core/snapshot.h"

namespace vitald {

// A histogram's buckets by bound, then its sum, then its count.
bool leaves_before(const MetricDesc& family, const SeriesInfo& a, const SeriesInfo& b);

// The label that tells the samples of one histogram or summary apart, which takes no part in their order; empty:
// there is none.
std::string_view inner_label(const MetricDesc& family, Part part);

// The number in that label; 0: there is none.
double inner_value(const MetricDesc& family, const SeriesInfo& s);
inline double inner_value(const Sample& s) { return inner_value(*s.family, *s.series); }
// Whether two samples of a histogram or summary are of the same one.
bool same_but_inner(const MetricDesc& family, const SeriesInfo& a, const SeriesInfo& b);

// The unit where the name (of a counter without `_total`) ends with it, as readers want it; otherwise empty.
std::string_view named_unit(const MetricDesc& family);

struct FamilyOrder {
  struct Entry {
    std::uint32_t batch = 0;
    const Sample* sample = nullptr;
  };
  struct Family {
    const MetricDesc* desc = nullptr;
    std::uint32_t first = 0, count = 0;  // of the entries
    bool one_desc = true;                // all entries have this descriptor, not one that says something else
  };
  std::vector<Family> families;
  std::vector<Entry> entries;
  std::vector<std::string> conflicts;  // what is left out, a sentence each
};

// Keeps the order within each layout. Not thread-safe.
class FamilyOrders {
 public:
  FamilyOrders();
  ~FamilyOrders();
  FamilyOrders(FamilyOrders&&) noexcept;
  FamilyOrders& operator=(FamilyOrders&&) noexcept;
  // What the entries point to lives as long as the batches' layouts.
  [[nodiscard]] FamilyOrder order(const std::vector<const Batch*>& batches);
  void forget(const Layout* layout);

 private:
  struct LayoutOrder;
  std::unique_ptr<LayoutMap<LayoutOrder>> orders_;
};

}  // namespace vitald
