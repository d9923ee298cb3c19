// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/memory_source.h"

#include <algorithm>

#include "core/text/scan.h"

namespace vitald::promql {

namespace {

// As a server's storage tells it of what it has read back: that a counter goes on, it knows; that one began anew, not.
HistogramPtr with_hint(const HistogramPtr& h, const Histogram* before) {
  if (h->hint == ResetHint::gauge) return h;
  const bool goes_on = before && before->hint != ResetHint::gauge && h->hint != ResetHint::reset &&
                       before->schema == h->schema && before->zero_threshold == h->zero_threshold &&
                       before->custom == h->custom && [&] {
                         auto plain = *h;
                         plain.hint = ResetHint::unknown;
                         return !plain.reset_since(*before);
                       }();
  const auto hint = goes_on ? ResetHint::not_reset : ResetHint::unknown;
  if (hint == h->hint) return h;
  auto copy = *h;
  copy.hint = hint;
  return std::make_shared<const Histogram>(std::move(copy));
}

}  // namespace

void MemorySource::add(const Labels& labels, std::int64_t t, double v, HistogramPtr histogram) {
  const auto [at, added] = by_labels_.try_emplace(labels, series_.size());
  if (added) {
    series_.push_back({labels, {}, {}, {}, {}});
    ++generation_;
  }
  auto& s = series_[at->second];
  if (!s.times.empty() && t < s.times.back()) return;  // out of order: a server would refuse it
  if (!s.times.empty() && s.times.back() == t) {
    s.values.back() = v;
    if (!s.histograms.empty()) s.histograms.back() = nullptr;
  } else {
    s.times.push_back(t);
    s.values.push_back(v);
    if (!s.histograms.empty()) s.histograms.emplace_back();
    if (!s.starts.empty()) s.starts.push_back(0);
  }
  if (!histogram) return;
  s.histograms.resize(s.times.size());
  const auto n = s.times.size();
  s.histograms.back() = with_hint(histogram, n > 1 ? s.histograms[n - 2].get() : nullptr);
}

bool MemorySource::load(std::string_view line, std::int64_t step_ms, std::string& error, std::int64_t start_ms,
                        MostPoints most) {
  const auto s = split_series(line);
  if (!s) {
    error = "no series; expected name{label=\"value\"}";
    return false;
  }
  auto text = s->second;
  if (take_prefix(text, "@st")) {
    auto distances = parse_distances(text, error);
    if (!distances) return false;
    distances_[s->first] = std::move(*distances);
    return true;
  }
  const auto points = parse_points(text, error, most);
  if (!points) return false;
  const auto known = distances_.find(s->first);
  for (std::size_t i = 0; i < points->size(); ++i) {
    const auto& p = (*points)[i];
    if (p.missing) continue;
    const auto t = start_ms + static_cast<std::int64_t>(i) * step_ms;
    add(s->first, t, p.value, p.histogram);
    if (known == distances_.end() || i >= known->second.size() || !known->second[i]) continue;
    auto& to = series_[by_labels_[s->first]];
    to.starts.resize(to.times.size());
    to.starts.back() = t + *known->second[i];
  }
  if (known != distances_.end()) distances_.erase(known);
  return true;
}

void MemorySource::clear() {
  series_.clear();
  by_labels_.clear();
  distances_.clear();
  bound_.clear();
  ++generation_;
}

std::uint32_t MemorySource::bind(const Selector& selector, std::int64_t) {
  bound_.push_back({selector.matchers, {}, 0});
  return static_cast<std::uint32_t>(bound_.size() - 1);
}

const Selection& MemorySource::select(std::uint32_t handle) {
  auto& b = bound_[handle];
  if (b.generation == generation_) return b.selection;
  b.generation = generation_;
  auto shape = std::make_shared<Shape>();
  b.selection.ids.clear();
  for (std::uint32_t i = 0; i < series_.size(); ++i) {
    const auto match = [&](const Matcher& m) { return m.matches(series_[i].labels.get(m.name)); };
    if (!std::ranges::all_of(b.matchers, match)) continue;
    b.selection.ids.push_back(i);
    shape->series.push_back(series_[i].labels);
  }
  b.selection.shape = std::move(shape);
  return b.selection;
}

std::optional<Point> MemorySource::at(std::uint32_t id, std::int64_t t, std::int64_t lookback) {
  const auto& s = series_[id];
  const auto after = std::ranges::upper_bound(s.times, t) - s.times.begin();
  if (after == 0) return {};
  const auto i = static_cast<std::size_t>(after - 1);
  if (s.times[i] <= t - lookback || is_stale(s.values[i])) return {};
  return Point{s.times[i], s.values[i], s.histograms.empty() ? nullptr : s.histograms[i].get(),
               s.starts.empty() ? 0 : s.starts[i]};
}

Points MemorySource::range(std::uint32_t id, std::int64_t first, std::int64_t last, Buffer& buffer) {
  const auto& s = series_[id];
  buffer.times.clear();
  buffer.values.clear();
  buffer.histograms.clear();
  buffer.starts.clear();
  bool any = false;
  for (auto i = static_cast<std::size_t>(std::ranges::lower_bound(s.times, first) - s.times.begin());
       i < s.times.size() && s.times[i] <= last; ++i) {
    if (is_stale(s.values[i])) continue;
    buffer.times.push_back(s.times[i]);
    buffer.values.push_back(s.values[i]);
    if (!s.histograms.empty()) {
      buffer.histograms.push_back(s.histograms[i].get());
      any = any || s.histograms[i];
    }
    if (!s.starts.empty()) buffer.starts.push_back(s.starts[i]);
  }
  return {buffer.times.data(),
          buffer.values.data(),
          buffer.times.size(),
          0,
          any ? buffer.histograms.data() : nullptr,
          s.starts.empty() ? nullptr : buffer.starts.data()};
}

}  // namespace vitald::promql
