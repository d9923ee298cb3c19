// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/json_lines.h"

#include <fmt/format.h>

#include <cmath>

#include "core/text/json.h"
#include "core/text/number.h"

namespace vitald {

void JsonLines::build(const SeriesTable& table) {
  version_ = table.version();
  prefixes_.clear();
  ends_.clear();
  for (const auto& row : table.rows()) {
    prefixes_ += "{\"name\":";
    append_json_string(prefixes_, row.name);
    prefixes_ += ",\"labels\":{";
    for (const auto& label : table.labels(row)) {
      if (prefixes_.back() != '{') prefixes_ += ',';
      append_json_string(prefixes_, label.name);
      prefixes_ += ':';
      append_json_string(prefixes_, label.value);
    }
    prefixes_ += "},\"value\":";
    ends_.push_back(static_cast<std::uint32_t>(prefixes_.size()));
  }
}

void JsonLines::encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns, std::size_t most,
                       const Take& take) {
  if (version_ != table.version()) build(table);
  const auto tail = fmt::format(",\"timestamp\":{}.{:03}}}\n", wall_ns / 1'000'000'000, wall_ns / 1'000'000 % 1'000);
  std::uint32_t from = 0, count = 0;
  out_.clear();
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    out_.append(prefixes_, from, ends_[i] - from);
    from = ends_[i];
    if (std::isfinite(values[i])) {
      char number[kMaxNumberText];
      out_.append(number, static_cast<std::size_t>(write_number(number, values[i]) - number));
    } else {
      out_ += "null";
    }
    out_ += tail;
    if (++count < most && i + 1 < ends_.size()) continue;
    take(out_, count);
    out_.clear();
    count = 0;
  }
}

}  // namespace vitald
