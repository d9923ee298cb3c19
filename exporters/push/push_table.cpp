// SPDX-License-Identifier: Apache-2.0
#include "exporters/push/push_table.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace vitald {

PushTable::PushTable(SeriesTable::Settings settings, PushAggregate aggregate)
    : table_(std::move(settings)), aggregate_(aggregate) {}

void PushTable::update(const Snapshot& snapshot) {
  std::unordered_map<std::uint64_t, Sum> before;
  if (aggregate_ != PushAggregate::last && !table_.is_for(snapshot))
    for (std::size_t i = 0; i < sums_.size(); ++i)
      if (sums_[i].count > 0) before.emplace(table_.rows()[i].key, sums_[i]);
  if (table_.update(snapshot)) {
    sums_.assign(aggregate_ == PushAggregate::last ? 0 : table_.rows().size(), {});
    for (std::size_t i = 0; i < sums_.size() && !before.empty(); ++i)
      if (const auto at = before.find(table_.rows()[i].key); at != before.end()) sums_[i] = at->second;
  }
  std::ranges::copy(table_.gone(), std::back_inserter(gone_));
  table_.values(snapshot, values_);
}

// What only counts up has no average worth sending.
void PushTable::add(std::size_t row, Sum& sum) const {
  const auto& r = table_.rows()[row];
  const auto v = values_[row];
  if (r.family->type != MetricType::gauge || std::isnan(v)) return;
  if (aggregate_ == PushAggregate::avg) sum.value += v;
  else sum.value = sum.count == 0 ? v : std::max(sum.value, v);
  ++sum.count;
}

void PushTable::observe(const Snapshot& snapshot) {
  if (aggregate_ == PushAggregate::last) return;
  if (std::exchange(looked_, false)) gone_.clear();
  update(snapshot);
  for (std::size_t i = 0; i < sums_.size(); ++i) add(i, sums_[i]);
}

void PushTable::look(const Snapshot& snapshot) {
  if (std::exchange(looked_, true)) gone_.clear();  // those were told
  update(snapshot);
  if (aggregate_ == PushAggregate::last) return;
  // One that went and came back is there: one time has one value.
  if (!gone_.empty()) {
    std::unordered_set<std::uint64_t> there;
    for (const auto& row : table_.rows()) there.insert(row.key);
    std::erase_if(gone_, [&](const GoneSeries& g) { return !there.insert(g.key).second; });
  }
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    add(i, sums_[i]);
    const auto sum = std::exchange(sums_[i], {});
    if (sum.count > 0) values_[i] = aggregate_ == PushAggregate::avg ? sum.value / sum.count : sum.value;
  }
}

}  // namespace vitald
