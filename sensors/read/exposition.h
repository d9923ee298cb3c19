// SPDX-License-Identifier: Apache-2.0
// Reads the Prometheus text format 0.0.4 as strictly as node_exporter does for its textfiles
// (prometheus/common expfmt with legacy names).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metric.h"
#include "core/result.h"

namespace vitald {

struct ExpositionSeries {
  std::vector<std::pair<std::string, std::string>> labels;  // as written, without le or quantile of their kinds
  double value = 0;                                         // of a counter, gauge or untyped
  std::map<double, double> points;                          // quantile -> value, or upper bound -> cumulative count
  double sum = 0, count = 0;
  bool has_sum = true, has_count = true;  // false: it is not known
  std::int64_t since_wall_ms = 0;         // since when it counts, where the text says so; otherwise 0
};

struct ExpositionFamily {
  std::string name;
  MetricType type = MetricType::untyped;
  std::optional<std::string> help;
  std::vector<ExpositionSeries> series;
};

struct Exposition {
  std::vector<ExpositionFamily> families;  // in the order of the text, only those with series
  bool timestamps = false;                 // some sample has one
  // Lines of histograms and summaries that were left out: a number that is there twice, of which the first is kept, and
  // what is no number of theirs. "line N: ...", with names and labels of the text. The first hundred, and how many
  // more.
  std::vector<std::string> conflicts;
  std::size_t more_conflicts = 0;
};

// Of one series, in this format and in OpenMetrics. A line of megabytes of them would take minutes to compare, and
// nobody who reads a metric has so many.
inline constexpr std::size_t kMostLabelsOfASeries = 256;

// Errors: malformed, "line N: ...", with nothing of the text in them: they go into the log, and the file may be a link
// to one that is nobody's to read.
Result<Exposition> parse_exposition(std::string_view text);

// As Go's ParseFloat: what is nearer to 0 than any float is 0, what is too large is none.
std::optional<double> parse_go_float(std::string_view text);

// A number as Go's strconv prints it ('g', shortest), which is how le and quantile labels are written.
std::string go_number(double value);

}  // namespace vitald
