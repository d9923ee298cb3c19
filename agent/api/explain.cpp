// SPDX-License-Identifier: Apache-2.0
// /api/v1/explain: which series are others in a window than before it, the greatest change first.
#include "agent/api/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"

namespace vitald {

namespace {

constexpr std::int64_t kWindowMs = 300'000;  // where no start is given
constexpr std::int64_t kTimes = 4;           // so many windows before it are the baseline
constexpr std::size_t kLimit = 20, kMostLimit = 1000;
constexpr auto kNow = INT64_MIN;

// A baseline is a duration before the window, or a start and an end of its own.
struct Times {
  std::int64_t start = kNow, end = kNow, baseline_start = kNow, baseline_end = kNow, baseline = 0;
};

std::optional<Times> times_of(const Parameters& p, std::optional<Response>& problem) {
  Times t;
  t.start = time_parameter(p, "start", kNow, problem);
  t.end = time_parameter(p, "end", kNow, problem);
  t.baseline_start = time_parameter(p, "baseline_start", kNow, problem);
  t.baseline_end = time_parameter(p, "baseline_end", kNow, problem);
  if (const auto text = first(p, "baseline"); !text.empty()) {
    const auto ms = parse_api_duration(text);
    if ((!ms || *ms <= 0) && !problem) problem = invalid_parameter("baseline", no_duration(text));
    t.baseline = ms.value_or(0);
    if (t.baseline_start != kNow && !problem)
      problem = invalid_parameter("baseline", "beside baseline_start, expected one of them");
  }
  if (problem) return {};
  return t;
}

// Empty: they fit.
std::string place(const Times& t, std::int64_t now_ms, std::int64_t oldest_ms, ExplainAsk& ask) {
  ask.end_ms = t.end == kNow ? now_ms : std::min(t.end, now_ms);
  ask.start_ms = t.start == kNow ? ask.end_ms - kWindowMs : t.start;
  if (ask.start_ms >= ask.end_ms) return "start: not before the end, or not before the newest samples";
  ask.baseline_end_ms = t.baseline_end == kNow ? ask.start_ms : t.baseline_end;
  if (ask.baseline_end_ms > ask.start_ms) return "baseline_end: after the start of the window, expected before it";
  ask.baseline_start_ms = t.baseline_start != kNow ? t.baseline_start
                          : t.baseline > 0         ? ask.baseline_end_ms - t.baseline
                                                   : ask.baseline_end_ms - kTimes * (ask.end_ms - ask.start_ms);
  const auto wanted_ms = ask.baseline_end_ms - ask.baseline_start_ms;
  if (wanted_ms <= 0) return "baseline_start: not before the end of the baseline";
  ask.baseline_start_ms = std::max(ask.baseline_start_ms, oldest_ms);
  // What there is of it may do; a few seconds before minutes are nothing to compare with.
  if (const auto there_ms = ask.baseline_end_ms - ask.baseline_start_ms;
      there_ms <= 0 || there_ms < std::min(wanted_ms, ask.end_ms - ask.start_ms))
    return fmt::format(
        "the history reaches back {} s before the window of {} s: too little to compare with, expected a later start, "
        "or to be asked again in a while",
        std::max<std::int64_t>(there_ms, 0) / 1000, (ask.end_ms - ask.start_ms) / 1000);
  return {};
}

}  // namespace

std::string explanation_json(const Explanation& explanation, const ExplainAsk& ask) {
  std::string out;
  Json j(out);
  const auto window = [&](const char* name, std::int64_t start_ms, std::int64_t end_ms) {
    j.key(name);
    j.open('{');
    j.text("start", go_time(start_ms));
    j.text("end", go_time(end_ms));
    j.close('}');
  };
  j.open('{');
  window("window", ask.start_ms, ask.end_ms);
  window("baseline", ask.baseline_start_ms, ask.baseline_end_ms);
  j.whole("series", static_cast<std::int64_t>(explanation.series));
  j.whole("too_short", static_cast<std::int64_t>(explanation.too_short));
  j.key("changes");
  j.open('[');
  for (const auto& c : explanation.changes) {
    j.open('{');
    j.key("metric");
    j.raw("");
    append_labels(out, c.labels);
    j.flag("rate", c.rate);
    if (std::isnan(c.before)) j.key("before"), j.raw("null");  // nobody knows
    else j.number("before", c.before);
    j.number("now", c.now);
    j.number("score", c.score);
    j.number("distance", c.distance);
    j.number("size", c.size);
    if (!ask.each_series) j.whole("others", static_cast<std::int64_t>(c.others));
    if (c.appeared || c.gone) j.text("note", c.appeared ? "appeared" : "gone");
    j.close('}');
  }
  j.close(']');
  j.close('}');
  return out;
}

Handler explain_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) -> Answer {
    const auto p = parameters_of(request);
    std::optional<Response> problem;
    const auto times = times_of(p, problem);
    const auto limit = limit_of(p, problem);
    const bool each_series = first(p, "by") == "series", self = first(p, "self") == "true";
    if (const auto by = first(p, "by"); !by.empty() && !each_series && by != "family" && !problem)
      problem = invalid_parameter("by", fmt::format("'{}', expected family or series", by));
    std::string key = fmt::format("explain\n{} {}\n{}", each_series, self, limit);
    for (const auto* name : {"start", "end", "baseline", "baseline_start", "baseline_end", "match[]"})
      for (const auto text : all(p, name)) add_to_key(key += name, text);
    const auto ask = ask_of(request, p, std::move(key), problem);
    if (problem) return std::move(*problem);
    return queries->run(
        ask, [p, times = *times, limit, each_series, self](HistoryView& view, const QueryLimits& limits) {
          if (!keeps_history(view))
            return Queries::Outcome{{}, api_error(ApiError::unavailable, std::string(kNoHistory)), true};
          ExplainAsk wanted;
          if (const auto why = place(times, view.now_wall_ms(), oldest_wall_ms(view), wanted); !why.empty())
            return Queries::Outcome{{}, api_error(ApiError::bad_data, why), true};
          wanted.limit = limit == 0 ? kLimit : std::min(limit, kMostLimit);
          wanted.each_series = each_series;
          wanted.self = self;
          std::optional<Response> refused;
          auto budget = promql::PatternBudget::of_request(limits.given_up);
          wanted.match = matchers_of(p, false, refused, budget);
          if (refused) return Queries::Outcome{{}, std::move(*refused), true};
          const auto explanation = explain(wanted, view, limits);
          if (!explanation) return outcome_of(explanation.error());
          return outcome_of(success(explanation_json(*explanation, wanted)));
        });
  };
}

}  // namespace vitald
