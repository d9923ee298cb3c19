// SPDX-License-Identifier: Apache-2.0
#include "rules/history/live.h"

#include <algorithm>
#include <utility>

namespace vitald {

using history::is_hole;
using history::none_marker;

namespace {
constexpr std::uint64_t kPruneRounds = 64;
}  // namespace

// ---- selectors and their series

bool LiveHistory::Bound::fits(const promql::Labels& labels) const {
  return std::ranges::all_of(matchers, [&](const promql::Matcher& m) { return m.matches(labels.get(m.name)); });
}

std::vector<std::uint32_t>& LiveHistory::by_name(const Bound& b) {
  const auto named = std::ranges::find_if(b.matchers, [](const promql::Matcher& m) {
    return m.name == promql::kMetricName && m.op == promql::MatchOp::equal;
  });
  return named == b.matchers.end() ? handles_of_any_ : handles_of_name_[named->value];
}

std::uint32_t LiveHistory::bind(const promql::Selector& selector, std::int64_t past_ms) {
  longest_past_ms_ = std::max(longest_past_ms_, past_ms);
  const auto same = std::ranges::find(bounds_, selector.matchers, &Bound::matchers);
  if (same != bounds_.end()) {
    const bool longer = past_ms > std::exchange(same->past_ms, std::max(same->past_ms, past_ms));
    if (longer && history_->index().size() > 0) attach(*history_);
    ++same->users;
    return bound_.emplace_back(static_cast<std::uint32_t>(same - bounds_.begin()));
  }
  auto handle = static_cast<std::uint32_t>(bounds_.size());
  if (free_handles_.empty()) {
    bounds_.emplace_back();
  } else {
    handle = free_handles_.back();
    free_handles_.pop_back();
  }
  bound_.push_back(handle);
  bounds_[handle] = {selector.matchers, past_ms, {}, true, 1};
  by_name(bounds_[handle]).push_back(handle);
  if (history_->index().size() == 0) return handle;
  catch_up();
  // What it is to select is there already. Columns begin anew: those that there are know nothing of its series.
  if (past_ms > 0) attach(*history_);
  else
    for (std::uint32_t id = 0; id < history_->index().size(); ++id)
      if (history_->index().at(id).labels && bounds_[handle].fits(*history_->index().at(id).labels)) {
        const auto known = handles_of_id_.find(id);
        if (known == handles_of_id_.end()) {  // it had ended: when it comes back, it is everybody's
          match(id);
          continue;
        }
        if (std::ranges::find(known->second, handle) != known->second.end()) continue;  // matched by catch_up()
        bounds_[handle].selection.ids.push_back(id);
        known->second.push_back(handle);
      }
  return handle;
}

void LiveHistory::unbind(std::uint32_t handle) {
  auto& b = bounds_[handle];
  if (--b.users > 0) return;
  std::erase(by_name(b), handle);
  for (const auto id : std::exchange(b.selection, {}).ids) {
    const auto at = handles_of_id_.find(id);
    std::erase(at->second, handle);
    if (at->second.empty()) unmatch(id);
  }
  b = {};
  free_handles_.push_back(handle);
}

void LiveHistory::attach(History& history) {
  history_ = &history;
  for (auto& b : bounds_) b.selection = {}, b.dirty = true;
  handles_of_id_.clear();
  columns_.clear();
  free_columns_.clear();
  column_of_.clear();
  newest_.clear();
  static_cast<void>(history.take_changes());  // all is matched anew
  history.keep_none();
  for (std::uint32_t id = 0; id < history.index().size(); ++id)
    if (history.index().at(id).labels) match(id);
}

void LiveHistory::begin_round() {
  packed_.forget();
  catch_up();
  append();
  if (++rounds_ % kPruneRounds == 0) prune();
}

void LiveHistory::catch_up() {
  if (!history_->changed()) return;
  const auto changes = history_->take_changes();
  for (const auto id : changes.removed) unmatch(id);
  for (const auto id : changes.added) match(id);
}

void LiveHistory::match(std::uint32_t id) {
  if (handles_of_id_.contains(id)) return;  // it has come back
  const auto& labels = *history_->index().at(id).labels;
  std::vector<std::uint32_t> handles;
  std::int64_t past_ms = 0;
  const auto consider = [&](std::uint32_t handle) {
    auto& b = bounds_[handle];
    if (!b.fits(labels)) return;
    handles.push_back(handle);
    b.selection.ids.push_back(id);
    b.dirty = true;
    past_ms = std::max(past_ms, b.past_ms);
  };
  if (const auto at = handles_of_name_.find(std::string(labels.name())); at != handles_of_name_.end())
    std::ranges::for_each(at->second, consider);
  std::ranges::for_each(handles_of_any_, consider);
  if (handles.empty()) return;
  handles_of_id_.emplace(id, std::move(handles));
  if (past_ms == 0) return;
  history_->keep(id, past_ms);
  if (!history_->is_recorded(id)) add_column(id);
}

void LiveHistory::unmatch(std::uint32_t id) {
  const auto at = handles_of_id_.find(id);
  if (at == handles_of_id_.end()) return;
  for (const auto handle : at->second) {
    std::erase(bounds_[handle].selection.ids, id);
    bounds_[handle].dirty = true;
  }
  handles_of_id_.erase(at);
  if (const auto c = column_of(id); c != kNone) {
    for (auto& n : newest_) std::erase(n.columns, c);
    columns_[c] = {};
    free_columns_.push_back(c);
    column_of_[id] = kNone;
  }
}

// Series that ended so long ago that no rule looks back to them.
void LiveHistory::prune() {
  std::vector<std::uint32_t> gone;
  for (const auto& [id, handles] : handles_of_id_) {
    const auto ended = history_->ended_ms(id);
    std::int64_t past_ms = 0;
    for (const auto handle : handles) past_ms = std::max(past_ms, bounds_[handle].past_ms);
    if (ended < history_->now_ms() - past_ms) gone.push_back(id);
  }
  std::ranges::for_each(gone, [this](std::uint32_t id) { unmatch(id); });
}

const promql::Selection& LiveHistory::select(std::uint32_t handle) {
  catch_up();  // what the rules before this one have recorded
  auto& b = bounds_[handle];
  if (b.dirty) {
    auto shape = std::make_shared<promql::Shape>();
    for (const auto id : b.selection.ids) shape->series.push_back(*history_->index().at(id).labels);
    b.selection.shape = std::move(shape);
    b.dirty = false;
  }
  return b.selection;
}

// ---- columns

void LiveHistory::add_column(std::uint32_t id) {
  std::uint32_t c;
  if (free_columns_.empty()) {
    c = static_cast<std::uint32_t>(columns_.size());
    columns_.emplace_back();
  } else {
    c = free_columns_.back();
    free_columns_.pop_back();
  }
  const auto feed = history_->place(id).feed;
  if (feed >= newest_.size()) newest_.resize(feed + 1);
  auto& n = newest_[feed];
  if (n.columns.empty()) {  // it begins with the next row: what was before is read from the history
    n.times.clear();
    const bool has_new_row = history_->feed(feed).size > 0;
    n.first = history_->rows(feed) - (has_new_row ? 1 : 0);
  }
  n.columns.push_back(c);
  columns_[c].id = id;
  columns_[c].values.reserve(kNewest);
  columns_[c].values.assign(n.times.size(), none_marker());
  columns_[c].holes_end = n.end();
  if (id >= column_of_.size()) column_of_.resize(id + 1, kNone);
  column_of_[id] = c;
}

void LiveHistory::append() {
  for (std::uint32_t feed = 0; feed < newest_.size(); ++feed) {
    auto& n = newest_[feed];
    if (n.columns.empty() || n.end() >= history_->rows(feed)) continue;
    const auto& state = history_->feed(feed);
    const auto& row = state.head->rows[state.size - 1];
    if (n.end() + 1 < history_->rows(feed)) {  // some were missed between two sets of rules
      n.times.clear();
      n.first = history_->rows(feed) - 1;
      for (const auto c : n.columns) columns_[c].values.clear(), columns_[c].holes_end = n.first;
    }
    if (n.times.size() == kNewest) {
      n.times.erase(n.times.begin(), n.times.begin() + kBlock);
      n.first += kBlock;
      for (const auto c : n.columns) {
        auto& values = columns_[c].values;
        values.erase(values.begin(), values.begin() + kBlock);
      }
    }
    n.times.push_back(row.t_ms);
    n.to_ms = n.from_ms - 1;
    for (const auto c : n.columns) {
      auto& column = columns_[c];
      const auto slot = history_->place(column.id).slot;
      const double v = slot == history::kNobody ? none_marker() : row.at(slot);
      column.values.push_back(v);
      if (is_hole(v)) column.holes_end = n.end();
    }
  }
}

// ---- samples

std::optional<promql::Point> LiveHistory::at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) {
  const auto offset = history_->offset_ms();
  const auto t = t_ms - offset;
  const auto& place = history_->place(id);
  const auto& feed = history_->feed(place.feed);
  if (place.slot != history::kNobody && feed.size > 0) {  // nearly always the newest sample is asked for
    const auto& row = feed.head->rows[feed.size - 1];
    const double v = row.at(place.slot);
    if (row.t_ms <= t && !history::is_none(v)) {
      if (row.t_ms <= t - lookback_ms || promql::is_stale(v)) return {};
      return promql::Point{row.t_ms + offset, v};
    }
  }
  auto point = history::Columns::at(feed, id, history_->index().at(id).slot, t, lookback_ms);
  if (point) point->t_ms += offset;
  return point;
}

promql::Points LiveHistory::range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) {
  const auto offset = history_->offset_ms();
  const auto first = first_ms - offset, last = last_ms - offset;
  const auto& place = history_->place(id);
  const auto c = column_of(id);
  auto* n = c == kNone ? nullptr : &newest_[place.feed];
  if (!n || n->times.empty() || (first < n->times.front() && n->first > 0))
    return packed_.range(history_->feed(place.feed), place.feed, id, history_->index().at(id).slot, first, last, offset,
                         buffer);
  if (n->from_ms != first || n->to_ms != last) {
    n->from_ms = first;
    n->to_ms = last;
    n->lo = static_cast<std::size_t>(std::ranges::lower_bound(n->times, first) - n->times.begin());
    n->hi = static_cast<std::size_t>(std::ranges::upper_bound(n->times, last) - n->times.begin());
  }
  if (n->lo >= n->hi) return {};
  const auto& column = columns_[c];
  if (column.holes_end <= n->first + n->lo)
    return {n->times.data() + n->lo, column.values.data() + n->lo, n->hi - n->lo, offset};
  buffer.times.clear();
  buffer.values.clear();
  for (auto i = n->lo; i < n->hi; ++i) {
    if (is_hole(column.values[i])) continue;
    buffer.times.push_back(n->times[i]);
    buffer.values.push_back(column.values[i]);
  }
  return {buffer.times.data(), buffer.values.data(), buffer.values.size(), offset};
}

}  // namespace vitald
