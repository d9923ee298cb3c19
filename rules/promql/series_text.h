// SPDX-License-Identifier: Apache-2.0
// Series as unit tests and test scripts write them: `name{a="b"}`, then `1 2 3+1x5 _ stale {{schema:0 count:1}}x3`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/promql/ast.h"
#include "rules/promql/histogram.h"
#include "rules/promql/labels.h"

namespace vitald::promql {

struct SeriesPoint {
  bool missing = false;    // `_`
  double value = 0;        // a stale marker is one
  HistogramPtr histogram;  // in place of the value
  bool hinted = false;     // the histogram says whether its counter began anew
};

// The labels that a selector of one series has.
Labels labels_of(const Selector& s);

// `name{a="b"} rest` -> labels and rest; nullopt when it does not start with a series.
std::optional<std::pair<Labels, std::string_view>> split_series(std::string_view line);

// How many points a text may say, in which a few characters can say very many.
struct MostPoints {
  std::size_t count = 1'000'000;
  bool leave_out_more = false;  // otherwise it is an error
};
// A number as Prometheus reads it there: 017 is 15, 08 is 8, 017.5 is 17.5; a sign before it; Inf and NaN in any case.
std::optional<double> parse_series_number(std::string_view text);

// All points, or nullopt and what is wrong where.
std::optional<std::vector<SeriesPoint>> parse_points(std::string_view text, std::string& error, MostPoints most = {});

// `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`; nullopt and what is wrong.
std::optional<Histogram> parse_histogram(std::string_view text, std::string& error, bool* hinted = nullptr);

// Distances from the time of a point: `-30s`, `-30s-1mx2` (the distance grows by a minute each), `_`.
std::optional<std::vector<std::optional<std::int64_t>>> parse_distances(std::string_view text, std::string& error);

}  // namespace vitald::promql
