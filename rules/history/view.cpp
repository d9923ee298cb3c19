// SPDX-License-Identifier: Apache-2.0
#include "rules/history/view.h"

#include <algorithm>

namespace vitald {

std::uint32_t HistoryView::bind(const promql::Selector& selector, std::int64_t) {
  auto shape = std::make_shared<promql::Shape>();
  promql::Selection selection;
  const auto& table = round_->table;
  for (std::uint32_t id = 0; id < table.size(); ++id) {
    const auto& s = table.at(id);
    if (!s.labels) continue;
    if (id % 16 == 0 && given_up_ && given_up_()) {
      gave_up_ = true;
      break;
    }
    const auto fits = [&](const promql::Matcher& m) { return m.matches(s.labels->get(m.name)); };
    if (!std::ranges::all_of(selector.matchers, fits)) continue;
    shape->series.push_back(*s.labels);
    selection.ids.push_back(id);
  }
  selection.shape = std::move(shape);
  selections_.push_back(std::move(selection));
  return static_cast<std::uint32_t>(selections_.size() - 1);
}

const history::Columns::Whole& HistoryView::unpacked(std::uint32_t id) {
  if (const auto at = unpacked_.find(id); at != unpacked_.end()) return at->second;
  if (unpacked_samples_ > kMostUnpacked) {
    unpacked_.clear();
    unpacked_samples_ = 0;
  }
  const auto& s = round_->table.at(id);
  const auto& whole = unpacked_[id] = history::Columns::whole(round_->feeds[s.feed], id, s.slot);
  unpacked_samples_ += whole.values.size();
  return whole;
}

std::optional<promql::Point> HistoryView::at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) {
  const auto& s = round_->table.at(id);
  const auto& feed = round_->feeds[s.feed];
  const auto offset = round_->offset_ms;
  const auto t = t_ms - offset;
  if (feed.size > 0 && feed.head->rows[feed.size - 1].t_ms <= t) {  // now: nothing is unpacked for it
    auto point = history::Columns::at(feed, id, s.slot, t, lookback_ms);
    if (point) point->t_ms += offset;
    return point;
  }
  const auto& all = unpacked(id);
  const auto after = std::ranges::upper_bound(all.times, t);
  if (after == all.times.begin() || *(after - 1) <= t - lookback_ms) return {};
  const auto newest = *(after - 1);
  const auto ended = std::ranges::upper_bound(all.ends, newest);
  if (ended != all.ends.end() && *ended <= t) return {};
  return promql::Point{newest + offset, all.values[static_cast<std::size_t>(after - all.times.begin()) - 1]};
}

promql::Points HistoryView::range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer&) {
  const auto offset = round_->offset_ms;
  const auto& all = unpacked(id);
  const auto from = std::ranges::lower_bound(all.times, first_ms - offset),
             to = std::ranges::upper_bound(all.times, last_ms - offset);
  if (from >= to) return {};
  const auto at = from - all.times.begin();
  return {&*from, all.values.data() + at, static_cast<std::size_t>(to - from), offset};
}

}  // namespace vitald
