// SPDX-License-Identifier: Apache-2.0
// The series of one destination as text: Prometheus' exposition format 0.0.4, and JSON for programs that read numbers
// from a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/encode/series_table.h"

namespace vitald {

// Keeps the text before each number. Families sorted by name. Not thread-safe.
class TableText {
 public:
  // Makes `out` the exposition of all rows; `values` are those of the table's rows.
  void encode(const SeriesTable& table, std::span<const double> values, std::string& out);

 private:
  void build(const SeriesTable& table);

  std::uint64_t version_ = 0;
  std::string prefixes_;  // name and labels, with HELP and TYPE before the first of a family
  struct Line {
    std::uint32_t row = 0, end = 0;  // in prefixes_
  };
  std::vector<Line> lines_;
};

// {"timestamp":..., "metrics":{NAME:{"value":..., "labels":{...}, "timestamp":...}}, "events_count":...,
// "running":true}; a metric with several label sets is a list of such. Times are seconds since the epoch. What JSON has
// no number for (NaN, infinite) is null.
void append_table_json(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns,
                       std::string& out);

}  // namespace vitald
