// SPDX-License-Identifier: Apache-2.0
#include "agent/api/query_json.h"

#include <fmt/format.h>

#include <utility>

#include "agent/api/prom_params.h"

namespace vitald {

namespace {

using promql::ValueType;

void append_point(std::string& out, std::int64_t t_ms, double value) {
  out += '[';
  append_sample_time(out, t_ms);
  out += ",\"";
  append_sample_value(out, value);
  out += "\"]";
}

// {"count":"4","sum":"5","buckets":[[0,"1","2","1"]]}: which bounds belong to a bucket say 0 (the upper one), 1 (the
// lower one), 2 (none) and 3 (both).
void append_histogram(std::string& out, std::int64_t t_ms, const promql::Histogram& h) {
  out += '[';
  append_sample_time(out, t_ms);
  out += ",{\"count\":\"";
  append_sample_value(out, h.count);
  out += "\",\"sum\":\"";
  append_sample_value(out, h.sum);
  out += '"';
  bool some = false;
  for (const auto& b : h.ranges()) {
    if (b.count == 0) continue;
    out += std::exchange(some, true) ? ",[" : ",\"buckets\":[[";
    out += b.lower_inclusive ? (b.upper_inclusive ? '3' : '1') : b.upper_inclusive ? '0' : '2';
    for (const double v : {b.lower, b.upper, b.count}) {
      out += ",\"";
      append_sample_value(out, v);
      out += '"';
    }
    out += ']';
  }
  out += some ? "]}]" : "}]";
}

// One of the two lists of a row of a matrix, where there is something for it.
void append_points(std::string& out, const std::vector<promql::Point>& points, bool histograms) {
  bool some = false;
  for (const auto& p : points) {
    if ((p.histogram != nullptr) != histograms) continue;
    if (!std::exchange(some, true)) out += histograms ? ",\"histograms\":[" : ",\"values\":[";
    else out += ',';
    if (histograms) append_histogram(out, p.t_ms, *p.histogram);
    else append_point(out, p.t_ms, p.value);
  }
  if (some) out += ']';
}

}  // namespace

void add_annotations(Notes& notes, const QueryAnswer& answer, std::string_view query) {
  constexpr std::size_t kMost = 10;
  for (const bool warnings : {true, false}) {
    auto& to = warnings ? notes.warnings : notes.infos;
    std::size_t count = 0;
    for (const auto& a : answer.annotations)
      if (a.warning == warnings && ++count <= kMost) to.push_back(a.text(query));
    if (count > kMost)
      to.push_back(fmt::format("{} more {} annotations omitted", count - kMost, warnings ? "warning" : "info"));
  }
}

std::string query_json(const QueryAnswer& answer, std::int64_t t_ms, const Notes& notes) {
  static constexpr std::string_view kTypes[] = {"none", "scalar", "vector", "matrix", "string"};
  std::string out = fmt::format(R"({{"resultType":"{}","result":)", kTypes[static_cast<std::size_t>(answer.type)]);
  switch (answer.type) {
    case ValueType::scalar:  // never with an exponent, unlike a sample
      out += '[';
      append_sample_time(out, t_ms);
      out += fmt::format(",\"{}\"]", promql::number_text(answer.rows[0].value));
      break;
    case ValueType::string:
      out += '[';
      append_sample_time(out, t_ms);
      out += ',';
      append_json_string(out, answer.text);
      out += ']';
      break;
    case ValueType::vector: {
      out += '[';
      bool some = false;
      for (const auto& row : answer.rows) {
        out += std::exchange(some, true) ? ",{\"metric\":" : "{\"metric\":";
        append_labels(out, row.labels);
        out += row.histogram ? ",\"histogram\":" : ",\"value\":";
        if (row.histogram) append_histogram(out, t_ms, *row.histogram);
        else append_point(out, t_ms, row.value);
        out += '}';
      }
      out += ']';
      break;
    }
    case ValueType::matrix:
    case ValueType::none: {
      out += '[';
      bool some = false;
      for (const auto& [labels, points] : answer.matrix) {
        out += std::exchange(some, true) ? ",{\"metric\":" : "{\"metric\":";
        append_labels(out, labels);
        append_points(out, points, false);
        append_points(out, points, true);
        out += '}';
      }
      out += ']';
      break;
    }
  }
  return success(out + '}', notes);
}

bool truncate(QueryAnswer& answer, std::size_t limit) {
  if (limit == 0) return false;
  if (answer.type == ValueType::vector && answer.rows.size() > limit) return answer.rows.resize(limit), true;
  if (answer.type == ValueType::matrix && answer.matrix.size() > limit) return answer.matrix.resize(limit), true;
  return false;
}

}  // namespace vitald
