// SPDX-License-Identifier: Apache-2.0
// Series in memory, all their samples: what unit tests of rules are evaluated on.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rules/promql/series_source.h"
#include "rules/promql/series_text.h"

namespace vitald::promql {

class MemorySource : public SeriesSource {
 public:
  struct Series {
    Labels labels;
    std::vector<std::int64_t> times;
    std::vector<double> values;
    std::vector<HistogramPtr> histograms;  // empty: none; else as many as values
    std::vector<std::int64_t> starts;      // the same
  };

  // In rising time for each series: an older one is left out, one of the same time replaces the last.
  void add(const Labels& labels, std::int64_t t, double v, HistogramPtr histogram = nullptr);
  // `name{a="b"} 1 2 3+1x5` from start_ms on, or `name{a="b"}@st -30s`; false and what is wrong.
  bool load(std::string_view line, std::int64_t step_ms, std::string& error, std::int64_t start_ms = 0,
            MostPoints most = {});
  bool load(std::string_view line, std::int64_t step_ms) {
    std::string error;
    return load(line, step_ms, error);
  }
  void clear();
  [[nodiscard]] const std::deque<Series>& series() const { return series_; }

  std::uint32_t bind(const Selector& selector, std::int64_t past_ms) override;
  const Selection& select(std::uint32_t handle) override;
  std::optional<Point> at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) override;
  Points range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) override;

 private:
  struct Bound {
    std::vector<Matcher> matchers;
    Selection selection;
    std::uint64_t generation;
  };
  std::deque<Series> series_;
  std::unordered_map<Labels, std::size_t, Labels::Hash> by_labels_;
  std::unordered_map<Labels, std::vector<std::optional<std::int64_t>>, Labels::Hash>
      distances_;  // told before the points
  std::vector<Bound> bound_;
  std::uint64_t generation_ = 1;
};

}  // namespace vitald::promql
