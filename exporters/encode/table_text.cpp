// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/table_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/text/json.h"
#include "core/text/number.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

// That of the family's head: without the suffix of a histogram's part.
std::string_view family_name(const SeriesRow& row) {
  auto name = row.name;
  const std::string_view suffix = row.part == Part::bucket  ? "_bucket"
                                  : row.part == Part::sum   ? "_sum"
                                  : row.part == Part::count ? "_count"
                                                            : "";
  if (!suffix.empty() && name.ends_with(suffix)) name.remove_suffix(suffix.size());
  return name;
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quotes) out += "\\\"";
    else out += c;
  }
}

// What all rows of the family in front are; relabelling may have given one name to several.
std::string_view type_of(std::span<const SeriesRow> rows, std::span<const std::uint32_t> order) {
  const auto& first = rows[order[0]];
  for (const auto i : order) {
    const auto& row = rows[i];
    if (family_name(row) != family_name(first)) break;
    // A bucket by another name is none.
    const bool named = row.part == Part::value || family_name(row) != row.name;
    if (row.family->type != first.family->type || !named) return to_string(MetricType::untyped);
  }
  return to_string(first.family->type);
}

std::vector<std::uint32_t> by_family(const SeriesTable& table) {
  const auto rows = table.rows();
  std::vector<std::uint32_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return family_name(rows[i]); });
  return order;
}

}  // namespace

void TableText::build(const SeriesTable& table) {
  version_ = table.version();
  prefixes_.clear();
  lines_.clear();
  const auto order = by_family(table);
  std::string_view family;
  for (std::size_t at = 0; at < order.size(); ++at) {
    const auto i = order[at];
    const auto& row = table.rows()[i];
    if (const auto name = family_name(row); at == 0 || name != family) {
      family = name;
      if (!row.family->help.empty()) {
        prefixes_.append("# HELP ").append(name).append(" ");
        append_escaped(prefixes_,
                       is_fit_text(row.family->help) ? std::string(row.family->help) : fit_text(row.family->help),
                       false);
        prefixes_ += '\n';
      }
      prefixes_.append("# TYPE ")
          .append(name)
          .append(" ")
          .append(type_of(table.rows(), std::span(order).subspan(at)))
          .append("\n");
    }
    prefixes_ += row.name;
    char before = '{';
    for (const auto& label : table.labels(row)) {
      prefixes_ += before;
      prefixes_.append(label.name).append("=\"");
      append_escaped(prefixes_, label.value, true);
      prefixes_ += '"';
      before = ',';
    }
    if (before == ',') prefixes_ += '}';
    prefixes_ += ' ';
    lines_.push_back({i, static_cast<std::uint32_t>(prefixes_.size())});
  }
}

void TableText::encode(const SeriesTable& table, std::span<const double> values, std::string& out) {
  if (version_ != table.version()) build(table);
  out.resize(prefixes_.size() + lines_.size() * (kMaxNumberText + 1));
  char* at = out.data();
  std::uint32_t from = 0;
  for (const auto& line : lines_) {
    std::memcpy(at, prefixes_.data() + from, line.end - from);
    at = write_number(at + (line.end - from), values[line.row]);
    *at++ = '\n';
    from = line.end;
  }
  out.resize(static_cast<std::size_t>(at - out.data()));
}

void append_table_json(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns,
                       std::string& out) {
  const auto time = fmt::format("{}.{:03}", wall_ns / 1'000'000'000, wall_ns / 1'000'000 % 1'000);
  const auto rows = table.rows();
  std::vector<std::uint32_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return rows[i].name; });
  const auto number = [&out](double v) {
    if (!std::isfinite(v)) {
      out += "null";
      return;
    }
    char text[kMaxNumberText];
    out.append(text, static_cast<std::size_t>(write_number(text, v) - text));
  };
  double events = 0;
  out.append("{\"timestamp\":").append(time).append(",\"metrics\":{");
  for (std::size_t i = 0; i < order.size();) {
    const auto name = rows[order[i]].name;
    auto end = i;
    while (end < order.size() && rows[order[end]].name == name) ++end;
    if (i > 0) out += ',';
    append_json_string(out, name);
    out += ':';
    const bool several = end - i > 1;
    if (several) out += '[';
    for (auto at = i; at < end; ++at) {
      const auto& row = rows[order[at]];
      if (at > i) out += ',';
      out += "{\"value\":";
      number(values[order[at]]);
      if (name == "vitald_events_total") events += values[order[at]];
      out += ",\"labels\":{";
      bool first = true;
      for (const auto& label : table.labels(row)) {
        if (!std::exchange(first, false)) out += ',';
        append_json_string(out, label.name);
        out += ':';
        append_json_string(out, label.value);
      }
      out.append("},\"timestamp\":").append(time).append("}");
    }
    if (several) out += ']';
    i = end;
  }
  out += "},\"events_count\":";
  number(events);
  out += ",\"running\":true}\n";
}

}  // namespace vitald
