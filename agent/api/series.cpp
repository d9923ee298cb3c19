// SPDX-License-Identifier: Apache-2.0
// /api/v1/series, labels, label/NAME/values and metadata: what there is to ask for, as Prometheus says it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "core/layout.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"

namespace vitald {
namespace {

constexpr std::int64_t kEver = std::int64_t{1} << 52;  // milliseconds

// match[], start, end and limit, as these three share them.
struct Asked {
  std::shared_ptr<const Parameters> given;
  bool required = false;  // match[]
  std::int64_t first_ms = 0, last_ms = 0;
  std::size_t limit = 0;
  Queries::Ask ask;
};

std::optional<Response> read(const Request& request, std::string what, bool required, Asked& out) {
  out.given = std::make_shared<const Parameters>(parameters_of(request));
  out.required = required;
  const auto& p = *out.given;
  std::optional<Response> problem;
  out.first_ms = time_parameter(p, "start", 0, problem);
  out.last_ms = time_parameter(p, "end", kEver, problem);
  out.limit = limit_of(p, problem);
  what += fmt::format("\n{} {} {}", out.first_ms, out.last_ms, out.limit);
  for (const auto text : all(p, "match[]")) add_to_key(what, text);
  out.ask = ask_of(request, p, std::move(what), problem);
  return problem;
}

// The series that are asked for; else why there are none.
tl::expected<std::vector<promql::Labels>, Queries::Outcome> found(const Asked& a, HistoryView& view,
                                                                  const QueryLimits& limits) {
  std::optional<Response> problem;
  auto budget = promql::PatternBudget::of_request(limits.given_up);
  const auto matchers = matchers_of(*a.given, a.required, problem, budget);
  if (problem) return tl::unexpected(Queries::Outcome{{}, std::move(*problem), true});
  auto series = find_series(matchers, view, a.first_ms, a.last_ms, limits);
  if (!series) return tl::unexpected(outcome_of(series.error()));
  return std::move(*series);
}

Notes truncated(std::size_t limit, std::size_t& count) {
  if (limit == 0 || count <= limit) return {};
  count = limit;
  return {{kTruncated}, {}};
}

Answer series(const std::shared_ptr<Queries>& queries, const Request& request) {
  Asked a;
  if (auto problem = read(request, "series", true, a)) return std::move(*problem);
  return queries->run(a.ask, [a](HistoryView& view, const QueryLimits& limits) {
    const auto all = found(a, view, limits);
    if (!all) return all.error();
    auto count = all->size();
    const auto notes = truncated(a.limit, count);
    std::string out = "[";
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out += ',';
      append_labels(out, (*all)[i]);
    }
    return outcome_of(success(out + ']', notes));
  });
}

// Names of labels, or values of the label `name`, of the series that were found.
Queries::Outcome words(const Asked& a, std::string_view name, HistoryView& view, const QueryLimits& limits) {
  const auto series = found(a, view, limits);
  if (!series) return series.error();
  std::set<std::string_view> all;
  for (const auto& labels : *series) {
    if (!name.empty()) {
      if (const auto value = labels.get(name); !value.empty()) all.insert(value);
      continue;
    }
    for (const Label l : labels) all.insert(l.name);
  }
  std::vector<std::string> texts(all.begin(), all.end());
  auto count = texts.size();
  const auto notes = truncated(a.limit, count);
  texts.resize(count);
  std::string out = "[";
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    append_json_string(out, texts[i]);
  }
  return outcome_of(success(out + ']', notes));
}

Answer label_names(const std::shared_ptr<Queries>& queries, const Request& request) {
  Asked a;
  if (auto problem = read(request, "labels", false, a)) return std::move(*problem);
  return queries->run(a.ask, [a](HistoryView& view, const QueryLimits& limits) { return words(a, {}, view, limits); });
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&put, code](int shift) { put(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) return put(0xc0 | code >> 6), tail(0);
  if (code < 0x10000) return put(0xe0 | code >> 12), tail(6), tail(0);
  put(0xf0 | code >> 18), tail(12), tail(6), tail(0);
}

// U__my_2e_metric: how names that are no identifiers stand in a path.
std::optional<std::string> unescaped_name(std::string_view text) {
  if (!take_prefix(text, "U__")) return std::string(text);
  std::string out;
  while (!text.empty()) {
    if (!take_prefix(text, "_")) {
      out += text[0];
      text.remove_prefix(1);
    } else if (take_prefix(text, "_")) {
      out += '_';
    } else {
      const auto code = parse_int<std::uint32_t>(take_until(text, '_'), 16);
      if (!code || *code > 0x10ffff) return {};
      append_utf8(out, *code);
    }
  }
  return out;
}

Answer label_values(const std::shared_ptr<Queries>& queries, const Request& request) {
  const auto part = part_of_path("/api/v1/label/{name}/values", request.path);
  const auto name = unescaped_name(part);
  if (!name || !is_valid_utf8(*name) || (*name == part && !is_label_name(*name)))
    return api_error(ApiError::bad_data, fmt::format("invalid label name: \"{}\"", part));
  Asked a;
  std::string what = "values";
  add_to_key(what, *name);
  if (auto problem = read(request, std::move(what), false, a)) return std::move(*problem);
  return queries->run(
      a.ask, [a, name = *name](HistoryView& view, const QueryLimits& limits) { return words(a, name, view, limits); });
}

// Of the families in the newest snapshot: what a server would have learned from scraping it.
Answer metadata(const SnapshotPtr& snapshot, const Request& request) {
  const auto p = parameters_of(request);
  std::optional<Response> problem;
  const auto limit = limit_of(p, problem);
  if (problem) return std::move(*problem);
  const auto metric = first(p, "metric");
  std::map<std::string_view, const MetricDesc*> families;
  if (snapshot)
    for (const auto& batch : snapshot->batches)
      for (const auto* family : *batch->layout->families())
        if (metric.empty() || metric == family->name) families.emplace(family->name, family);
  std::string out;
  Json j(out);
  j.open('{');
  std::size_t n = 0;
  for (const auto& [name, family] : families) {
    if (limit > 0 && ++n > limit) break;
    j.key(name);
    j.open('[');
    j.open('{');
    j.text("type", to_string(family->type) == "untyped" ? std::string_view("unknown") : to_string(family->type));
    j.text("help", family->help);
    j.text("unit", "");
    j.close('}');
    j.close(']');
  }
  j.close('}');
  return packed(json_response(200, success(out)), accepts_gzip(request.list("Accept-Encoding")));
}

}  // namespace

Handler series_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return series(queries, request); };
}
Handler labels_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return label_names(queries, request); };
}
Handler label_values_request(const AgentView& agent) {
  return [queries = agent.queries](const Request& request) { return label_values(queries, request); };
}
Handler metadata_request(const AgentView& agent) {
  return [latest = agent.latest](const Request& request) { return metadata(latest(), request); };
}

}  // namespace vitald
