// SPDX-License-Identifier: Apache-2.0
// Series as a test writes them: `load 5m`, then `name{a="b"} 1 2 3+1x5 _ stale`.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/scan.h"
#include "rules/promql/parser.h"
#include "rules/promql/series_source.h"

namespace vitald::promql {

inline Labels labels_of(const Selector& s) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& m : s.matchers) pairs.emplace_back(m.name, m.value);
  return Labels(std::move(pairs));
}

// "name{a="b"} rest" -> labels and rest. nullopt when it does not start with a series.
inline std::optional<std::pair<Labels, std::string_view>> split_series(std::string_view line) {
  std::size_t end = 0;
  char quote = 0;
  bool braces = false;
  for (; end < line.size(); ++end) {
    const char c = line[end];
    if (quote) {
      if (c == '\\') ++end;
      else if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '{') {
      braces = true;
    } else if (c == '}') {
      ++end;
      break;
    } else if (is_space(c) && !braces) {
      // "name {a="b"}" may have a blank before the brace
      std::size_t next = end;
      while (next < line.size() && is_space(line[next])) ++next;
      if (next < line.size() && line[next] == '{' && line.substr(next, 2) != "{{") continue;
      break;
    }
  }
  std::vector<Problem> problems;
  const auto head = trim(line.substr(0, end));
  if (head == "{}") return std::pair{Labels(), trim(line.substr(end))};
  const auto s = parse_selector(head, problems);
  if (!s) return std::nullopt;
  return std::pair{labels_of(*s), trim(line.substr(end))};
}

// The points of one line; nullopt inside: no sample. Empty result: not understood (a native histogram).
inline std::optional<std::vector<std::optional<double>>> parse_points(std::string_view text) {
  std::vector<std::optional<double>> out;
  const auto number = [](std::string_view t) { return parse_double(t); };
  while (!(text = trim(text)).empty()) {
    const auto word = take_word(text);
    if (word.starts_with("{{")) return std::nullopt;
    if (word[0] == '_') {
      const auto n = word.size() > 2 ? parse_u64(word.substr(2)) : std::optional<std::uint64_t>(1);
      if (!n) return std::nullopt;
      out.insert(out.end(), *n, std::nullopt);
      continue;
    }
    const auto x = word.find('x');
    if (word.starts_with("stale")) {
      const auto n = x == word.npos ? 0 : parse_u64(word.substr(x + 1)).value_or(0);
      out.insert(out.end(), n + 1, stale_marker());
      continue;
    }
    if (x == word.npos) {
      const auto v = number(word);
      if (!v) return std::nullopt;
      out.push_back(*v);
      continue;
    }
    const auto n = parse_u64(word.substr(x + 1));
    const auto body = word.substr(0, x);
    std::size_t split = body.npos;
    for (std::size_t i = 1; i < body.size(); ++i)
      if ((body[i] == '+' || body[i] == '-') && (body[i - 1] | 0x20) != 'e') split = i;
    const auto start = number(body.substr(0, split));
    const auto step = split == body.npos ? std::optional<double>(0) : number(body.substr(split));
    if (!n || !start || !step) return std::nullopt;
    // As Prometheus counts them: each value is the last one plus the step.
    double v = *start;
    for (std::uint64_t i = 0; i <= *n; ++i, v += *step) out.push_back(v);
  }
  return out;
}

class MemorySource : public SeriesSource {
 public:
  struct Series {
    Labels labels;
    std::vector<std::int64_t> times;
    std::vector<double> values;
  };

  void add(const Labels& labels, std::int64_t t, double v) {
    auto at = std::ranges::find(series_, labels, &Series::labels);
    if (at == series_.end()) at = series_.insert(series_.end(), Series{labels, {}, {}}), ++generation_;
    at->times.push_back(t);
    at->values.push_back(v);
  }
  // False when the line has something this source does not hold.
  bool load(std::string_view line, std::int64_t step_ms) {
    const auto s = split_series(line);
    const auto points = s ? parse_points(s->second) : std::nullopt;
    if (!points) return false;
    for (std::size_t i = 0; i < points->size(); ++i)
      if ((*points)[i]) add(s->first, static_cast<std::int64_t>(i) * step_ms, *(*points)[i]);
    return true;
  }
  void clear() { series_.clear(), bound_.clear(), ++generation_; }

  std::uint32_t bind(const Selector& selector, std::int64_t) override {
    bound_.push_back({&selector, {}, 0});
    return static_cast<std::uint32_t>(bound_.size() - 1);
  }
  const Selection& select(std::uint32_t handle) override {
    auto& b = bound_[handle];
    if (b.generation == generation_) return b.selection;
    b.generation = generation_;
    auto shape = std::make_shared<Shape>();
    b.selection.ids.clear();
    for (std::uint32_t i = 0; i < series_.size(); ++i) {
      const auto match = [&](const Matcher& m) { return m.matches(series_[i].labels.get(m.name)); };
      if (!std::ranges::all_of(b.selector->matchers, match)) continue;
      b.selection.ids.push_back(i);
      shape->series.push_back(series_[i].labels);
    }
    b.selection.shape = std::move(shape);
    return b.selection;
  }
  std::optional<Point> at(std::uint32_t id, std::int64_t t, std::int64_t lookback) override {
    const auto& s = series_[id];
    const auto after = std::ranges::upper_bound(s.times, t) - s.times.begin();
    if (after == 0) return {};
    const auto i = static_cast<std::size_t>(after - 1);
    if (s.times[i] <= t - lookback || is_stale(s.values[i])) return {};
    return Point{s.times[i], s.values[i]};
  }
  Points range(std::uint32_t id, std::int64_t first, std::int64_t last, Buffer& buffer) override {
    const auto& s = series_[id];
    buffer.times.clear();
    buffer.values.clear();
    for (std::size_t i = 0; i < s.times.size(); ++i) {
      if (s.times[i] < first || s.times[i] > last || is_stale(s.values[i])) continue;
      buffer.times.push_back(s.times[i]);
      buffer.values.push_back(s.values[i]);
    }
    return {buffer.times.data(), buffer.values.data(), buffer.times.size(), 0};
  }

 private:
  struct Bound {
    const Selector* selector;
    Selection selection;
    std::uint64_t generation;
  };
  std::vector<Series> series_;
  std::vector<Bound> bound_;
  std::uint64_t generation_ = 1;
};

}  // namespace vitald::promql
