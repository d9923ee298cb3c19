// SPDX-License-Identifier: Apache-2.0
// Parameters of Prometheus' HTTP API: times, durations, limits and matchers, with the words it has for bad ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/api/queries.h"
#include "agent/http/form.h"
#include "rules/query.h"

namespace vitald {

// Seconds since the epoch, with a fraction, or RFC 3339; in milliseconds.
std::optional<std::int64_t> parse_api_time(std::string_view text);
// Seconds, with a fraction, or 5m; in milliseconds.
std::optional<std::int64_t> parse_api_duration(std::string_view text);
// Prometheus' words for a text that is none.
std::string no_duration(std::string_view text);

// The body of a request is of a kind that is not read, as of `curl -F`: what is in it would be missing.
std::optional<Response> body_problem(const Request& request);

// `problem` is set where it is wrong: the answer then.
std::int64_t time_parameter(const Parameters& p, std::string_view name, std::int64_t fallback_ms,
                            std::optional<Response>& problem);
// The text of `invalid parameter "NAME": ...`.
Response invalid_parameter(std::string_view name, std::string_view why);

// All match[]; the answer in `problem` where one is none, or where there must be one and is none. Not on the server's
// loop where there are regular expressions among them.
Selectors matchers_of(const Parameters& p, bool required, std::optional<Response>& problem,
                      promql::PatternBudget& budget);
// There may be regular expressions in what `name` says.
bool may_have_patterns(const Parameters& p, std::string_view name);
// `limit`; 0: no limit.
std::size_t limit_of(const Parameters& p, std::optional<Response>& problem);

// An empty result of a host that keeps no history would pass for good news.
inline constexpr std::string_view kNoHistory =
    "this host keeps no history: load rules (rules.files, --rules.file) or set history.without_rules";
inline bool keeps_history(const HistoryView& view) { return view.round().names != nullptr; }

// Appends a text to the key of a cached answer, with its length: however texts are cut, no two requests have one key.
void add_to_key(std::string& key, std::string_view text);
// Who asks, with `timeout` and `lookback_delta`. The key is made of what `parts` says.
Queries::Ask ask_of(const Request& request, const Parameters& p, std::string key, std::optional<Response>& problem);

// As the answer says it.
Queries::Outcome outcome_of(const QueryError& error);
Queries::Outcome outcome_of(std::string body);

void append_labels(std::string& out, const promql::Labels& labels);

}  // namespace vitald
