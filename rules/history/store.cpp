// SPDX-License-Identifier: Apache-2.0
#include "rules/history/store.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vitald {

using promql::is_stale;
using promql::Labels;

namespace {

constexpr std::string_view kRulesBatch = "rules";  // our own output, which comes through record()

double none_marker() { return std::bit_cast<double>(history::kNoneBits); }
bool is_none(double v) { return std::bit_cast<std::uint64_t>(v) == history::kNoneBits; }
bool is_hole(double v) { return is_none(v) || is_stale(v); }

}  // namespace

// ---- selectors

std::uint32_t History::bind(const promql::Selector& selector, std::int64_t past_ms) {
  const auto same = std::ranges::find(bounds_, selector.matchers, &Bound::matchers);
  if (same != bounds_.end()) {
    same->past_ms = std::max(same->past_ms, past_ms);
    return static_cast<std::uint32_t>(same - bounds_.begin());
  }
  const auto handle = static_cast<std::uint32_t>(bounds_.size());
  bounds_.push_back({selector.matchers, past_ms, {}, true});
  const auto named = std::ranges::find_if(selector.matchers, [](const promql::Matcher& m) {
    return m.name == promql::kMetricName && m.op == promql::MatchOp::equal;
  });
  if (named == selector.matchers.end()) handles_of_any_.push_back(handle);
  else handles_of_name_[named->value].push_back(handle);
  return handle;
}

const promql::Selection& History::select(std::uint32_t handle) {
  auto& b = bounds_[handle];
  if (b.dirty) {
    auto shape = std::make_shared<promql::Shape>();
    for (const auto id : b.selection.ids) shape->series.push_back(series_[id].labels);
    b.selection.shape = std::move(shape);
    b.dirty = false;
  }
  return b.selection;
}

std::vector<std::uint32_t> History::matching_handles(const Labels& labels) const {
  std::vector<std::uint32_t> out;
  const auto consider = [&](std::uint32_t handle) {
    const auto fits = [&](const promql::Matcher& m) { return m.matches(labels.get(m.name)); };
    if (std::ranges::all_of(bounds_[handle].matchers, fits)) out.push_back(handle);
  };
  if (const auto at = handles_of_name_.find(std::string(labels.name())); at != handles_of_name_.end())
    std::ranges::for_each(at->second, consider);
  std::ranges::for_each(handles_of_any_, consider);
  return out;
}

// ---- series

std::uint32_t History::add(Labels labels, bool in_layout) {
  if (const auto at = by_labels_.find(labels); at != by_labels_.end()) {
    ++series_[at->second].users;
    series_[at->second].in_layout = in_layout;
    return at->second;
  }
  auto handles = matching_handles(labels);
  if (handles.empty()) return kNobody;
  std::uint32_t id;
  if (free_ids_.empty()) {
    id = static_cast<std::uint32_t>(series_.size());
    series_.emplace_back();
    current_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
    series_[id] = {};
    current_[id] = {};
  }
  auto& s = series_[id];
  for (const auto handle : handles) {
    auto& b = bounds_[handle];
    s.past_ms = std::max(s.past_ms, b.past_ms);
    b.selection.ids.push_back(id);
    b.dirty = true;
  }
  s.handles = std::move(handles);
  s.users = 1;
  s.in_layout = in_layout;
  if (s.past_ms > 0) {
    s.column = std::make_unique<Column>();
    s.column->head.reserve(kHead);
    s.column->head.assign(head_times_.size(), none_marker());
    s.column->first_block = head_first_ / kBlock;
    s.column->holes_end = axis_end();
    columned_.push_back(id);
  }
  s.labels = labels;
  by_labels_.emplace(std::move(labels), id);
  return id;
}

std::uint32_t History::acquire(const Labels& labels) { return add(labels, false); }

void History::release(std::uint32_t id) {
  if (id == kNobody) return;
  if (--series_[id].users == 0) record(id, promql::stale_marker());
}

void History::record(std::uint32_t id, double value) {
  if (id == kNobody) return;
  current_[id] = {value, now_ms_};
  auto* c = series_[id].column.get();
  if (!c || head_times_.empty() || head_times_.back() != now_ms_) return;
  c->head.back() = value;
}

void History::end(std::uint32_t id) {
  if (--series_[id].users == 0) current_[id] = {promql::stale_marker(), now_ms_};
}

Labels History::labels_of(const Layout& layout, const vitald::Sample& s) const {
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.emplace_back(promql::kMetricName, layout.name(s));
  // A server keeps its own job and instance and renames what the target says.
  for (const auto& l : layout.labels(s)) {
    const bool taken = settings_.series_labels.contains(std::string(l.name));
    pairs.emplace_back((taken ? "exported_" : "") + std::string(l.name), l.value);
  }
  pairs.insert(pairs.end(), settings_.series_labels.begin(), settings_.series_labels.end());
  return Labels(std::move(pairs));
}

void History::resolve(Feed& feed, const Batch& batch) {
  auto old = std::move(feed.values);
  feed.layout = batch.layout;
  feed.values.clear();
  for (const auto& s : batch.layout->samples()) {
    if (handles_of_any_.empty() && !handles_of_name_.contains(std::string(batch.layout->name(s)))) continue;
    const auto id = add(labels_of(*batch.layout, s), true);
    if (id != kNobody) feed.values.emplace_back(s.value, id);
  }
  feed.values.shrink_to_fit();
  for (const auto& [index, id] : old) end(id);
}

// ---- a cycle

void History::begin(const Snapshot& snapshot, bool append_too) {
  now_ms_ = snapshot.boot_ns / 1'000'000;
  offset_ms_ = snapshot.wall_ns / 1'000'000 - now_ms_;
  window_.last = -1;
  std::size_t next = 0;
  for (const auto& batch : snapshot.batches) {
    if (batch->collector == kRulesBatch) continue;
    // Both are sorted by collector; a feed that is passed over has lost its batch.
    while (next < feeds_.size() && feeds_[next].collector < batch->collector) {
      for (const auto& [index, id] : feeds_[next].values) end(id);
      feeds_.erase(feeds_.begin() + static_cast<std::ptrdiff_t>(next));
    }
    if (next == feeds_.size() || feeds_[next].collector != batch->collector)
      feeds_.insert(feeds_.begin() + static_cast<std::ptrdiff_t>(next), Feed{batch->collector, nullptr, {}});
    auto& feed = feeds_[next++];
    if (feed.layout != batch->layout) resolve(feed, *batch);
    for (const auto& [index, id] : feed.values) current_[id] = {batch->values[index], now_ms_};
  }
  while (next < feeds_.size()) {
    for (const auto& [index, id] : feeds_.back().values) end(id);
    feeds_.pop_back();
  }
  if (append_too) append();
}

void History::append() {
  if (!head_times_.empty() && now_ms_ <= head_times_.back()) return;
  if (head_times_.size() == kHead) seal();
  const auto before = axis_end();
  head_times_.push_back(now_ms_);
  for (const auto id : columned_) {
    const auto& now = current_[id];
    auto& c = *series_[id].column;
    // A series of a layout without a value has ended; a rule's series just has no new value yet.
    const double v = now.t_ms == now_ms_ ? now.value : series_[id].in_layout ? promql::stale_marker() : none_marker();
    if (!c.head.empty() && is_hole(c.head.back())) c.holes_end = before;
    c.head.push_back(v);
  }
}

void History::seal() {
  const auto base = head_times_.front();
  auto& offsets = time_blocks_.emplace_back(kBlock);
  for (std::size_t i = 0; i < kBlock; ++i)
    offsets[i] = static_cast<std::uint32_t>(std::min<std::int64_t>(head_times_[i] - base, UINT32_MAX));
  time_bases_.push_back(base);
  const auto block_end = head_times_[kBlock - 1];
  for (const auto id : columned_) {
    auto& s = series_[id];
    auto& c = *s.column;
    if (block_end >= now_ms_ - s.past_ms) {
      c.blocks.push_back(history::Block::pack(c.head.data()));
    } else {
      c.blocks.clear();
      c.first_block = head_first_ / kBlock + 1;
    }
    c.head.erase(c.head.begin(), c.head.begin() + kBlock);
    std::size_t old = 0;
    while (old < c.blocks.size()) {
      const auto number = c.first_block + old - first_time_block_;
      if (time_bases_[number] + time_blocks_[number].back() >= now_ms_ - s.past_ms) break;
      ++old;
    }
    c.blocks.erase(c.blocks.begin(), c.blocks.begin() + static_cast<std::ptrdiff_t>(old));
    c.first_block += old;
  }
  head_times_.erase(head_times_.begin(), head_times_.begin() + kBlock);
  head_first_ += kBlock;
  forget_gone();
  enforce_limit();
  // Of the axis as much as some column still has blocks for.
  auto first = head_first_ / kBlock;
  for (const auto id : columned_)
    if (!series_[id].column->blocks.empty()) first = std::min(first, series_[id].column->first_block);
  const auto old = static_cast<std::ptrdiff_t>(first - first_time_block_);
  time_bases_.erase(time_bases_.begin(), time_bases_.begin() + old);
  time_blocks_.erase(time_blocks_.begin(), time_blocks_.begin() + old);
  first_time_block_ = first;
}

// Series that nobody feeds any more and whose past has become too old for every rule.
void History::forget_gone() {
  for (std::uint32_t id = 0; id < series_.size(); ++id) {
    auto& s = series_[id];
    if (s.labels.empty() || s.users > 0 || current_[id].t_ms >= now_ms_ - s.past_ms) continue;
    for (const auto handle : s.handles) {
      std::erase(bounds_[handle].selection.ids, id);
      bounds_[handle].dirty = true;
    }
    if (s.column) std::erase(columned_, id);
    by_labels_.erase(s.labels);
    s = {};
    free_ids_.push_back(id);
  }
}

void History::enforce_limit() {
  auto total = bytes();
  while (total > settings_.limit_bytes) {
    std::size_t oldest = SIZE_MAX;
    for (const auto id : columned_)
      if (!series_[id].column->blocks.empty()) oldest = std::min(oldest, series_[id].column->first_block);
    if (oldest == SIZE_MAX) return;
    for (const auto id : columned_) {
      auto& c = *series_[id].column;
      if (c.blocks.empty() || c.first_block != oldest) continue;
      total -= c.blocks.front().bytes();
      c.blocks.erase(c.blocks.begin());
      ++c.first_block;
    }
  }
}

// ---- reading

std::int64_t History::time_at(std::size_t index) const {
  if (index >= head_first_) return head_times_[index - head_first_];
  const auto block = index / kBlock - first_time_block_;
  return time_bases_[block] + time_blocks_[block][index % kBlock];
}

std::size_t History::index_from(std::int64_t boot_ms) const {
  if (head_times_.empty()) return head_first_;
  if (boot_ms > head_times_.front() || first_time_block_ * kBlock == head_first_)
    return head_first_ + static_cast<std::size_t>(std::ranges::lower_bound(head_times_, boot_ms) - head_times_.begin());
  std::size_t lo = first_time_block_ * kBlock, hi = head_first_;
  while (lo < hi) {
    const auto middle = lo + (hi - lo) / 2;
    if (time_at(middle) < boot_ms) lo = middle + 1;
    else hi = middle;
  }
  return lo;
}

void History::copy(const Column& c, std::size_t from, std::size_t to, double* out) const {
  double block[kBlock];
  while (from < to) {
    if (from >= head_first_) {
      std::copy_n(c.head.begin() + static_cast<std::ptrdiff_t>(from - head_first_), to - from, out);
      return;
    }
    const auto number = from / kBlock, first = from % kBlock;
    const auto n = std::min(kBlock - first, to - from);
    if (number < c.first_block || number - c.first_block >= c.blocks.size()) {
      std::fill_n(out, n, none_marker());
    } else {
      c.blocks[number - c.first_block].unpack(block);
      std::copy_n(block + first, n, out);
    }
    out += n;
    from += n;
  }
}

std::optional<promql::Point> History::at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) {
  const auto t = t_ms - offset_ms_;
  const auto& now = current_[id];
  if (now.t_ms <= t) {
    if (now.t_ms <= t - lookback_ms || is_stale(now.value)) return {};
    return promql::Point{now.t_ms + offset_ms_, now.value};
  }
  const auto* c = series_[id].column.get();
  if (!c) return {};
  for (auto i = index_from(t + 1); i > first_time_block_ * kBlock; --i) {
    const auto time = time_at(i - 1);
    if (time <= t - lookback_ms) break;
    double v = 0;
    copy(*c, i - 1, i, &v);
    if (is_none(v)) continue;
    if (is_stale(v)) break;
    return promql::Point{time + offset_ms_, v};
  }
  return {};
}

promql::Points History::range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) {
  const auto* c = series_[id].column.get();
  if (!c) return {};
  auto& w = window_;
  if (w.first != first_ms || w.last != last_ms || w.end != axis_end()) {
    w.first = first_ms;
    w.last = last_ms;
    w.end = axis_end();
    w.lo = index_from(first_ms - offset_ms_);
    w.hi = index_from(last_ms - offset_ms_ + 1);
    w.times.clear();
  }
  // The newest value of a rule's series may still come.
  const bool whole = c->holes_end <= w.lo && !(w.hi == axis_end() && !c->head.empty() && is_hole(c->head.back()));
  if (w.lo >= head_first_ && whole) {
    const auto at = w.lo - head_first_;
    return {head_times_.data() + at, c->head.data() + at, w.hi - w.lo, offset_ms_};
  }
  const auto lo = std::max(w.lo, c->first_block * kBlock);
  if (lo >= w.hi) return {};
  if (w.times.empty())
    for (auto i = w.lo; i < w.hi; ++i) w.times.push_back(time_at(i));
  const auto* times = w.times.data() + (lo - w.lo);
  const auto count = w.hi - lo;
  buffer.values.resize(count);
  copy(*c, lo, w.hi, buffer.values.data());
  if (!has_holes(*c, lo, w.hi)) return {times, buffer.values.data(), count, offset_ms_};
  buffer.times.clear();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (is_hole(buffer.values[i])) continue;
    buffer.values[kept++] = buffer.values[i];
    buffer.times.push_back(times[i]);
  }
  return {buffer.times.data(), buffer.values.data(), kept, offset_ms_};
}

bool History::has_holes(const Column& c, std::size_t from, std::size_t to) const {
  for (auto block = from / kBlock; block * kBlock < std::min(to, head_first_); ++block)
    if (block - c.first_block >= c.blocks.size() || c.blocks[block - c.first_block].has_holes()) return true;
  if (to <= head_first_) return false;
  const auto first = std::max(from, head_first_) - head_first_;
  return std::any_of(c.head.begin() + static_cast<std::ptrdiff_t>(first),
                     c.head.begin() + static_cast<std::ptrdiff_t>(to - head_first_), is_hole);
}

// ---- the rest

void History::adopt(History& old) {
  head_times_ = std::move(old.head_times_);
  head_first_ = old.head_first_;
  time_blocks_ = std::move(old.time_blocks_);
  time_bases_ = std::move(old.time_bases_);
  first_time_block_ = old.first_time_block_;
  now_ms_ = old.now_ms_;
  offset_ms_ = old.offset_ms_;
  for (std::uint32_t i = 0; i < old.series_.size(); ++i) {
    auto& from = old.series_[i];
    if (from.labels.empty()) continue;
    const auto id = add(from.labels, from.in_layout);
    if (id == kNobody) continue;
    auto& to = series_[id];
    to.users = 0;  // whoever feeds it from now on counts again
    current_[id] = old.current_[i];
    if (to.column && from.column) to.column = std::move(from.column);
  }
}

std::size_t History::sample_count() const {
  std::size_t n = 0;
  for (const auto id : columned_) n += series_[id].column->head.size() + series_[id].column->blocks.size() * kBlock;
  return n;
}

std::size_t History::bytes() const {
  std::size_t n = head_times_.capacity() * sizeof(std::int64_t) + time_blocks_.size() * kBlock * sizeof(std::uint32_t);
  for (const auto id : columned_) {
    const auto& c = *series_[id].column;
    n += sizeof c + c.head.capacity() * sizeof(double);
    for (const auto& b : c.blocks) n += b.bytes();
  }
  return n;
}

}  // namespace vitald
