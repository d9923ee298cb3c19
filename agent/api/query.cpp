// SPDX-License-Identifier: Apache-2.0
// /api/v1/query, query_range, query_exemplars and format_query, as Prometheus has them.
#include <fmt/format.h>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"

namespace vitald {
namespace {

using promql::ValueType;

constexpr std::int64_t kMostPoints = 11'000;  // of one series: what a screen can show, and Prometheus' limit

void append_point(std::string& out, std::int64_t t_ms, double value) {
  out += '[';
  append_sample_time(out, t_ms);
  out += ",\"";
  append_sample_value(out, value);
  out += "\"]";
}

std::string body_of(const QueryAnswer& answer, std::int64_t t_ms, const std::vector<std::string>& warnings) {
  static constexpr std::string_view kTypes[] = {"none", "scalar", "vector", "matrix", "string"};
  std::string out = fmt::format(R"({{"resultType":"{}","result":)", kTypes[static_cast<std::size_t>(answer.type)]);
  switch (answer.type) {
    case ValueType::scalar:  // never with an exponent, unlike a sample
      out += '[';
      append_sample_time(out, t_ms);
      out += fmt::format(",\"{}\"]", promql::number_text(answer.rows[0].second));
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
      for (const auto& [labels, value] : answer.rows) {
        out += std::exchange(some, true) ? ",{\"metric\":" : "{\"metric\":";
        append_labels(out, labels);
        out += ",\"value\":";
        append_point(out, t_ms, value);
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
        out += ",\"values\":";
        char separator = '[';
        for (const auto& p : points) {
          out += separator;
          append_point(out, p.t_ms, p.value);
          separator = ',';
        }
        out += points.empty() ? "[]}" : "]}";
      }
      out += ']';
      break;
    }
  }
  return success(out + '}', warnings);
}

// An empty result of a host that keeps no history would pass for good news.
std::vector<std::string> warnings_of(const HistoryView& view) {
  if (view.round().names) return {};
  return {"this host keeps no history: load rules (rules.file) or set history.without_rules"};
}

Answer instant(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  constexpr auto kNow = INT64_MIN;
  const auto t = time_parameter(p, "time", kNow, problem);
  const std::string text(first(p, "query"));
  auto ask = ask_of(request, p, fmt::format("query\n{}\n{}", t, text), problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [t, text](HistoryView& view, const QueryLimits& limits) {
    const auto expr = parse_query(text);
    if (!expr) return outcome_of(expr.error());
    const auto at = t != kNow ? t : view.now_wall_ms();
    const auto answer = instant_query(**expr, view, at, limits);
    return answer ? outcome_of(body_of(*answer, at, warnings_of(view))) : outcome_of(answer.error());
  });
}

Answer range(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto p = parameters_of(request);
  // Unlike the time of an instant query these must be given.
  std::int64_t bounds[2] = {};
  for (const bool is_end : {false, true}) {
    const auto* name = is_end ? "end" : "start";
    const auto given = parse_api_time(first(p, name));
    if (!given) return invalid_parameter(name, fmt::format("cannot parse \"{}\" to a valid timestamp", first(p, name)));
    bounds[is_end] = *given;
  }
  const auto start = bounds[0], end = bounds[1];
  if (end < start) return invalid_parameter("end", "end timestamp must not be before start time");
  const auto step = parse_api_duration(first(p, "step"));
  if (!step) return invalid_parameter("step", fmt::format("cannot parse \"{}\" to a valid duration", first(p, "step")));
  if (*step <= 0)
    return invalid_parameter("step",
                             "zero or negative query resolution step widths are not accepted. Try a positive integer");
  if ((end - start) / *step > kMostPoints)
    return api_error(ApiError::bad_data,
                     "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
                     "resolution (?step=XX)");
  std::optional<Response> problem;
  const std::string text(first(p, "query"));
  auto ask = ask_of(request, p, fmt::format("range\n{} {} {}\n{}", start, end, *step, text), problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [start, end, step = *step, text](HistoryView& view, const QueryLimits& limits) {
    const auto expr = parse_query(text);
    if (!expr) return outcome_of(expr.error());
    const auto type = (*expr)->type;
    if (type != ValueType::scalar && type != ValueType::vector)
      return Queries::Outcome{
          {},
          invalid_parameter("query", fmt::format("invalid expression type \"{}\" for range query, must be Scalar or "
                                                 "instant Vector",
                                                 type == ValueType::matrix ? "range vector" : "string")),
          true};
    const auto answer = range_query(**expr, view, start, end, step, limits);
    return answer ? outcome_of(body_of(*answer, end, warnings_of(view))) : outcome_of(answer.error());
  });
}

// vitald has no exemplars; whoever asks for some gets the right answer.
Answer exemplars(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  const auto start = time_parameter(p, "start", 0, problem), end = time_parameter(p, "end", INT64_MAX, problem);
  if (!problem && end < start) problem = invalid_parameter("end", "end timestamp must not be before start timestamp");
  const std::string text(first(p, "query"));
  auto ask = ask_of(request, p, "exemplars\n" + text, problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [text](HistoryView&, const QueryLimits&) {
    const auto expr = parse_query(text);
    return expr ? outcome_of(success("[]")) : outcome_of(expr.error());
  });
}

// The text as Prometheus would write it.
Answer formatted(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  const std::string text(first(p, "query"));
  auto ask = ask_of(request, p, "format\n" + text, problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [text](HistoryView&, const QueryLimits&) {
    const auto expr = parse_query(text);
    if (!expr) return outcome_of(expr.error());
    std::string out;
    append_json_string(out, promql::to_string(**expr));
    return outcome_of(success(out));
  });
}

}  // namespace

Handler query_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return instant(queries, request); };
}

Handler query_range_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return range(queries, request); };
}

Handler query_exemplars_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return exemplars(queries, request); };
}

Handler format_query_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return formatted(queries, request); };
}

}  // namespace vitald
