// SPDX-License-Identifier: Apache-2.0
#include "agent/http/site.h"

#include <fmt/format.h>

#include "agent/api/rules.h"
#include "core/text/json.h"

namespace vitald {
namespace {

std::string html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string_view word(CollectorStatus::State state) {
  switch (state) {
    case CollectorStatus::State::on: return "on";
    case CollectorStatus::State::off: return "off";
    case CollectorStatus::State::unavailable: return "not here";
    case CollectorStatus::State::failed: return "failed";
  }
  return "off";
}

Response landing(const SiteSource& source) {
  constexpr std::string_view kHead =
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>vitald</title><style>"
      "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
      "td{padding:.1em 1em .1em 0;vertical-align:top}.on{color:#060}.failed{color:#a00}</style></head><body>";
  std::string out(kHead);
  out += fmt::format(
      "<h1>vitald {}</h1><p><a href=\"{}\">Metrics</a> · <a href=\"/api/v1/alerts\">Alerts</a> · "
      "<a href=\"/api/v1/rules\">Rules</a> · <a href=\"/-/healthy\">Healthy</a> · "
      "<a href=\"/-/ready\">Ready</a></p>",
      VITALD_VERSION, html(source.metrics_path));
  if (const auto snapshot = source.latest())
    out += fmt::format("<p>{} series from {} sources.</p>", snapshot->series_count(), snapshot->batches.size());
  const auto rows = source.collectors();
  for (const bool probes : {false, true}) {
    out += probes ? "<h2>Probes</h2><table>" : "<h2>Collectors</h2><table>";
    if (rows)
      for (const auto& row : *rows)
        if (row.probe() == probes)
          out += fmt::format("<tr><td>{}</td><td class=\"{}\">{}</td><td>{}</td></tr>", html(row.name),
                             row.state == CollectorStatus::State::on       ? "on"
                             : row.state == CollectorStatus::State::failed ? "failed"
                                                                           : "",
                             word(row.state), html(row.text));
    out += "</table>";
  }
  out += "<h2>Rules</h2>";
  const auto rules = source.rules();
  if (!rules || rules->groups.empty()) {
    out += "<p>None loaded; see --rules.file.</p>";
  } else {
    out += "<table>";
    for (const auto& group : rules->groups)
      for (const auto& rule : group.rules)
        out += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>", html(group.name),
                           html(rule.name), rule.alerting ? to_string(rule.state) : "record", html(rule.query));
    out += "</table>";
  }
  out += "</body></html>\n";
  return {200, "text/html; charset=utf-8", std::make_shared<const std::string>(std::move(out)), {}};
}

Response json_response(int status, std::string body) {
  return {status, "application/json", std::make_shared<const std::string>(std::move(body)), {}};
}

Response rules_api(const Request& request, const SiteSource& source) {
  static const RulesView kNone;
  const auto view = source.rules();
  const auto& rules = view ? *view : kNone;
  if (request.path == "/api/v1/alerts") return json_response(200, alerts_json(rules));
  const auto type = request.all("type");
  if (type.empty() || type[0].empty()) return json_response(200, rules_json(rules));
  if (type[0] == "alert") return json_response(200, rules_json(rules, RuleFilter::alert));
  if (type[0] == "record") return json_response(200, rules_json(rules, RuleFilter::record));
  std::string problem = R"({"status":"error","errorType":"bad_data","error":)";
  append_json_string(problem, fmt::format("type: '{}', expected alert or record", type[0]));
  return json_response(400, problem + "}\n");
}

constexpr std::string_view kReloadPath = "/-/reload";

}  // namespace

bool is_reload(const Request& request) {
  return request.path == kReloadPath && (request.method == "POST" || request.method == "PUT");
}

Response reloaded(const std::vector<std::string>& problems) {
  if (problems.empty()) return text_response(200, "reloaded\n");
  return text_response(500, fmt::format("the configuration in force stays:\n{}\n", fmt::join(problems, "\n")));
}

bool is_read(const Request& request) { return request.method == "GET" || request.method == "HEAD"; }

Response method_not_allowed(std::string_view allowed) {
  auto response = text_response(405, fmt::format("only {} here\n", allowed));
  response.headers.emplace_back("Allow", allowed);
  return response;
}

Response handle(const Request& request, const SiteSource& source) {
  const auto& path = request.path;
  if (path == kReloadPath) return method_not_allowed("POST, PUT");
  const bool api = path == "/api/v1/rules" || path == "/api/v1/alerts";
  const bool known = api || path == "/" || path == "/-/healthy" || path == "/-/ready";
  if (!known) return text_response(404, "nothing here; see /\n");
  if (!is_read(request)) return method_not_allowed("GET, HEAD");
  if (api) return rules_api(request, source);
  if (path == "/-/healthy") return text_response(200, "vitald is healthy.\n");
  if (path == "/-/ready")
    return source.latest() ? text_response(200, "vitald is ready.\n")
                           : text_response(503, "the first collection still runs\n");
  return landing(source);
}

}  // namespace vitald
