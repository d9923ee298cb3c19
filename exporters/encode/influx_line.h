// SPDX-License-Identifier: Apache-2.0
// Snapshot -> InfluxDB's line protocol: a measurement for each metric, its labels as tags, the number as the field
// `value` (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "exporters/encode/row_texts.h"

namespace vitald {

// Keeps the text before each number. Not thread-safe.
class InfluxEncoder {
 public:
  explicit InfluxEncoder(std::size_t most_lines) : most_lines_(most_lines) {}

  // Is given so many lines at most at a time. NaN and infinite numbers have no line: the protocol has no word for them.
  using Take = std::function<void(std::string_view lines, std::uint32_t count)>;
  void encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns, const Take& take);

 private:
  std::size_t most_lines_;
  RowTexts prefixes_;  // `measurement,tag=value value=`
  std::string out_;
};

// A tag's key or value, a measurement, as the protocol escapes them. What cannot be said in it is replaced: a line's
// end by a space; a backslash at the end, or before what is escaped, goes, since it would mean something else.
void append_influx_name(std::string& out, std::string_view text, bool measurement);
// A text field's value, with its quotes.
void append_influx_string(std::string& out, std::string_view text);

}  // namespace vitald
