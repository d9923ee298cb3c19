// SPDX-License-Identifier: Apache-2.0
// /api/v1/query, query_range, query_exemplars and format_query, as Prometheus has them.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/api/query_json.h"
#include "agent/api/query_tree.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

using promql::ValueType;

constexpr std::int64_t kMostPoints = 11'000;  // of one series: what a screen can show, and Prometheus' limit

Notes notes_of(const QueryAnswer& answer, std::string_view query, const HistoryView& view, bool cut) {
  Notes notes;
  if (cut) notes.warnings.emplace_back(kTruncated);
  if (!keeps_history(view)) notes.warnings.emplace_back(kNoHistory);
  add_annotations(notes, answer, query);
  return notes;
}

Answer instant(const std::shared_ptr<Queries>& queries, const Clock& clock, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  constexpr auto kNow = INT64_MIN;
  const auto t = time_parameter(p, "time", kNow, problem);
  const std::string text(first(p, "query"));
  const auto limit = limit_of(p, problem);
  auto key = fmt::format("query\n{} {}", t, limit);
  add_to_key(key, text);
  const auto ask = ask_of(request, p, std::move(key), problem);
  if (problem) return std::move(*problem);
  const auto now_ms = clock.wall_ns() / 1'000'000;
  return queries->run(ask, [t, now_ms, limit, text](HistoryView& view, const QueryLimits& limits) {
    const auto expr = parse_query(text, limits);
    if (!expr) return outcome_of(expr.error());
    const auto at = t != kNow ? t : keeps_history(view) ? view.now_wall_ms() : now_ms;
    auto answer = instant_query(**expr, view, at, limits);
    if (!answer) return outcome_of(answer.error());
    const bool cut = truncate(*answer, limit);
    return outcome_of(query_json(*answer, at, notes_of(*answer, text, view, cut)));
  });
}

Answer range(const std::shared_ptr<Queries>& queries, const Request& request) {
  if (auto problem = body_problem(request)) return std::move(*problem);
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
  if (!step) return invalid_parameter("step", no_duration(first(p, "step")));
  if (*step == 0 && parse_double(first(p, "step")).value_or(0) > 0)
    return invalid_parameter("step", "less than a millisecond, which is the shortest that there is");
  if (*step <= 0)
    return invalid_parameter("step",
                             "zero or negative query resolution step widths are not accepted. Try a positive integer");
  if ((end - start) / *step > kMostPoints)
    return api_error(ApiError::bad_data,
                     "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
                     "resolution (?step=XX)");
  std::optional<Response> problem;
  const std::string text(first(p, "query"));
  const auto limit = limit_of(p, problem);
  auto key = fmt::format("range\n{} {} {} {}", start, end, *step, limit);
  add_to_key(key, text);
  const auto ask = ask_of(request, p, std::move(key), problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [start, end, step = *step, limit, text](HistoryView& view, const QueryLimits& limits) {
    const auto expr = parse_query(text, limits);
    if (!expr) return outcome_of(expr.error());
    const auto type = (*expr)->type;
    if (type != ValueType::scalar && type != ValueType::vector)
      return Queries::Outcome{
          {},
          invalid_parameter("query", fmt::format("invalid expression type \"{}\" for range query, must be Scalar or "
                                                 "instant Vector",
                                                 type == ValueType::matrix ? "range vector" : "string")),
          true};
    auto answer = range_query(**expr, view, start, end, step, limits);
    if (!answer) return outcome_of(answer.error());
    const bool cut = truncate(*answer, limit);
    return outcome_of(query_json(*answer, end, notes_of(*answer, text, view, cut)));
  });
}

// [{"seriesLabels":{...},"exemplars":[{"labels":{...},"value":"0.5","timestamp":1600096945.479}]}]
std::string exemplars_json(const std::vector<ExemplarLog::Series>& all) {
  std::string out;
  Json j(out);
  j.open('[');
  for (const auto& series : all) {
    j.open('{');
    j.key("seriesLabels");
    j.raw("");
    append_labels(out, series.labels);
    j.key("exemplars");
    j.open('[');
    for (const auto& e : series.exemplars) {
      j.open('{');
      j.key("labels");
      j.open('{');
      for (const auto& [name, value] : e.labels) j.text(name, value);
      j.close('}');
      j.text("value", sample_value(e.value));
      j.key("timestamp");
      j.raw("");
      append_sample_time(out, e.wall_ms);
      j.close('}');
    }
    j.close(']');
    j.close('}');
  }
  j.close(']');
  return out;
}

// The newest ones of each bucket that the query names, whatever it makes of them.
Answer exemplars(const AgentView& agent, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  const auto start = time_parameter(p, "start", 0, problem), end = time_parameter(p, "end", INT64_MAX, problem);
  if (!problem && end < start) problem = invalid_parameter("end", "end timestamp must not be before start timestamp");
  const std::string text(first(p, "query"));
  auto key = fmt::format("exemplars\n{} {}", start, end);
  add_to_key(key, text);
  const auto ask = ask_of(request, p, std::move(key), problem);
  if (problem) return std::move(*problem);
  return agent.queries->run(ask, [text, start, end, log = agent.exemplars, labels = agent.series_labels](
                                     HistoryView&, const QueryLimits& limits) {
    const auto expr = parse_query(text, limits);
    if (!expr) return outcome_of(expr.error());
    if (!log) return outcome_of(success("[]"));
    return outcome_of(success(exemplars_json(log->find(**expr, labels ? labels() : LabelMap(), start, end))));
  });
}

// The text as Prometheus would write it.
Answer formatted(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  const std::string text(first(p, "query"));
  std::string key = "format";
  add_to_key(key, text);
  const auto ask = ask_of(request, p, std::move(key), problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [text](HistoryView&, const QueryLimits& limits) {
    const auto expr = parse_query(text, limits);
    if (!expr) return outcome_of(expr.error());
    std::string out;
    append_json_string(out, promql::to_string(**expr));
    return outcome_of(success(out));
  });
}

Answer parsed(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  const std::string text(first(p, "query"));
  std::string key = "parse";
  add_to_key(key, text);
  const auto ask = ask_of(request, p, std::move(key), problem);
  if (problem) return std::move(*problem);
  return queries->run(ask, [text](HistoryView&, const QueryLimits& limits) {
    const auto expr = parse_query(text, limits);
    return expr ? outcome_of(success(query_tree_json(**expr))) : outcome_of(expr.error());
  });
}

}  // namespace

Handler query_request(const AgentView& agent) {
  return [queries = agent.queries, clock = agent.clock](const Request& request) {
    return instant(queries, *clock, request);
  };
}

Handler query_range_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return range(queries, request); };
}

Handler query_exemplars_request(const AgentView& agent) {
  return [agent](const Request& request) { return exemplars(agent, request); };
}

Handler format_query_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return formatted(queries, request); };
}

Handler parse_query_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return parsed(queries, request); };
}

}  // namespace vitald
