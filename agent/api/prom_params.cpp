// SPDX-License-Identifier: Apache-2.0
#include "agent/api/prom_params.h"

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>
#include <cmath>

#include "agent/api/json.h"
#include "core/text/rfc3339.h"
#include "core/text/scan.h"
#include "rules/promql/lexer.h"

namespace vitald {

namespace {

// Beyond these a number of milliseconds is no time any more, and sums of two overflow.
constexpr double kMostSeconds = 4.5e12;

}  // namespace

std::optional<std::int64_t> parse_api_time(std::string_view text) {
  if (const auto seconds = parse_double(text)) {
    if (!(std::abs(*seconds) < kMostSeconds)) return {};
    return static_cast<std::int64_t>(std::llround(*seconds * 1000));
  }
  if (text.find_first_of("tz") != text.npos) return {};  // RFC 3339 has them small, too; Go has not
  return parse_rfc3339(text);
}

std::optional<std::int64_t> parse_api_duration(std::string_view text) {
  if (const auto seconds = parse_double(text)) {
    if (!(std::abs(*seconds) < kMostSeconds)) return {};
    return static_cast<std::int64_t>(*seconds * 1000);
  }
  const auto ms = promql::parse_duration_ms(text);
  if (ms < 0 || static_cast<double>(ms) > kMostSeconds * 1000) return {};
  return ms;
}

Response invalid_parameter(std::string_view name, std::string_view why) {
  return api_error(ApiError::bad_data, fmt::format("invalid parameter \"{}\": {}", name, why));
}

std::string no_duration(std::string_view text) {
  if (promql::parse_duration_ms(text) == promql::kTooLong)
    return fmt::format("\"{}\" is longer than 292 years, which is the longest", text);
  return fmt::format("cannot parse \"{}\" to a valid duration", text);
}

std::optional<Response> body_problem(const Request& request) {
  auto type = request.header("Content-Type");
  type = trim(take_until(type, ';'));
  constexpr std::string_view kForm = "application/x-www-form-urlencoded";
  const auto is = [&type](std::string_view what) {
    return type.size() == what.size() && strncasecmp(type.data(), what.data(), what.size()) == 0;
  };
  if (trim(request.body).empty() || type.empty() || is(kForm)) return {};
  return api_error(ApiError::bad_data, fmt::format("the body is {}, expected {}", type, kForm));
}

std::int64_t time_parameter(const Parameters& p, std::string_view name, std::int64_t fallback_ms,
                            std::optional<Response>& problem) {
  const auto text = first(p, name);
  if (text.empty()) return fallback_ms;
  const auto t = parse_api_time(text);
  if (!t && !problem) problem = invalid_parameter(name, fmt::format("cannot parse \"{}\" to a valid timestamp", text));
  return t.value_or(fallback_ms);
}

bool may_have_patterns(const Parameters& p, std::string_view name) {
  return std::ranges::any_of(all(p, name), [](std::string_view text) { return text.find('~') != text.npos; });
}

Selectors matchers_of(const Parameters& p, bool required, std::optional<Response>& problem,
                      promql::PatternBudget& budget) {
  constexpr std::size_t kMost = 1000;
  Selectors out;
  for (const auto text : all(p, "match[]")) {
    if (problem) return out;
    auto selector = parse_matchers(text, budget);
    if (!selector && selector.error().kind == QueryError::Kind::given_up) problem = outcome_of(selector.error()).error;
    else if (!selector) problem = invalid_parameter("match[]", selector.error().text);
    else if (std::ranges::all_of((*selector)->matchers, [](const promql::Matcher& m) { return m.matches(""); }))
      problem = invalid_parameter("match[]", "match[] must contain at least one non-empty matcher");
    else if (out.size() == kMost) problem = invalid_parameter("match[]", fmt::format("more than {} of them", kMost));
    else out.push_back(std::move(*selector));
  }
  if (out.empty() && required && !problem) problem = api_error(ApiError::bad_data, "no match[] parameter provided");
  return out;
}

std::size_t limit_of(const Parameters& p, std::optional<Response>& problem) {
  const auto text = first(p, "limit");
  if (text.empty()) return 0;
  const auto n = parse_u64(text);
  if (!n && !problem) problem = invalid_parameter("limit", "limit must be a number, 0 or more");
  return n.value_or(0);
}

void add_to_key(std::string& key, std::string_view text) { key += fmt::format("\n{}:{}", text.size(), text); }

Queries::Ask ask_of(const Request& request, const Parameters& p, std::string key, std::optional<Response>& problem) {
  Queries::Ask ask;
  ask.key = std::move(key);
  ask.arrived_boot_ns = request.arrived_boot_ns;
  ask.gzip = accepts_gzip(request.list("Accept-Encoding"));
  if (!problem) problem = body_problem(request);
  if (const auto text = first(p, "timeout"); !text.empty()) {
    const auto ms = parse_api_duration(text);
    const auto seconds = parse_double(text);  // less than a millisecond is a time as well
    if (seconds && *seconds > 0 && *seconds < 1) {
      ask.timeout_ns = std::max<std::int64_t>(static_cast<std::int64_t>(*seconds * 1e9), 1);
    } else {
      if ((!ms || *ms <= 0) && !problem) problem = invalid_parameter("timeout", no_duration(text));
      ask.timeout_ns = std::min<std::int64_t>(ms.value_or(0), 1'000'000'000) * 1'000'000;
    }
  }
  if (const auto text = first(p, "lookback_delta"); !text.empty()) {
    const auto ms = parse_api_duration(text);
    if ((!ms || *ms <= 0) && !problem) problem = invalid_parameter("lookback_delta", no_duration(text));
    ask.lookback_ms = ms.value_or(0);
    if (!ask.key.empty()) add_to_key(ask.key, text);
  }
  return ask;
}

Queries::Outcome outcome_of(const QueryError& error) {
  using enum QueryError::Kind;
  switch (error.kind) {
    case bad_query: return {{}, invalid_parameter("query", error.text), true};
    case given_up: return {{}, api_error(ApiError::timeout, "query timed out in expression evaluation"), true};
    case failed:
    case too_much: break;
  }
  return {{}, api_error(ApiError::execution, error.text), true};
}

Queries::Outcome outcome_of(std::string body) { return {std::move(body), {}, false}; }

void append_labels(std::string& out, const promql::Labels& labels) {
  char separator = '{';
  for (const Label l : labels) {
    out += separator;
    append_json_string(out, l.name);
    out += ':';
    append_json_string(out, l.value);
    separator = ',';
  }
  out += labels.empty() ? "{}" : "}";
}

}  // namespace vitald
