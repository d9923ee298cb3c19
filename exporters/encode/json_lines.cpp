// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/json_lines.h"

#include <fmt/format.h>

#include <cmath>

#include "core/text/json.h"
#include "core/text/number.h"

namespace vitald {

void JsonLines::encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns, std::size_t most,
                       const Take& take) {
  prefixes_.follow(table, [&](std::string& to, const SeriesRow& row) {
    to += "{\"name\":";
    append_json_string(to, row.name);
    to += ",\"labels\":{";
    for (const auto& label : table.labels(row)) {
      if (to.back() != '{') to += ',';
      append_json_string(to, label.name);
      to += ':';
      append_json_string(to, label.value);
    }
    to += "},\"value\":";
  });
  const auto tail = fmt::format(",\"timestamp\":{}.{:03}}}\n", wall_ns / 1'000'000'000, wall_ns / 1'000'000 % 1'000);
  std::uint32_t count = 0;
  out_.clear();
  prefixes_.each([&](std::size_t i, std::string_view prefix) {
    out_ += prefix;
    if (std::isfinite(values[i])) {
      char number[kMaxNumberText];
      out_.append(number, static_cast<std::size_t>(write_number(number, values[i]) - number));
    } else {
      out_ += "null";
    }
    out_ += tail;
    if (++count < most && i + 1 < prefixes_.size()) return;
    take(out_, count);
    out_.clear();
    count = 0;
  });
}

}  // namespace vitald
