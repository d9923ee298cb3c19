// SPDX-License-Identifier: Apache-2.0
// GET /: a page for people. Browsers get the live page (page/); whoever asks for no HTML, or for /?plain, gets a table
// without a script: what runs here, what does not and why, and the rules.
#include <fmt/format.h>

#include <algorithm>

#include "agent/api/collector_state.h"
#include "agent/api/endpoints.h"
#include "agent/api/page/page.h"

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

// Addresses are relative, since a proxy may show this page below a path of its own.
std::string_view relative(std::string_view path) { return path.starts_with('/') ? path.substr(1) : path; }

Response landing(const AgentView& source) {
  constexpr std::string_view kHead =
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>vitald</title><style>"
      "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
      "td{padding:.1em 1em .1em 0;vertical-align:top}.on{color:#060}.failed{color:#a00}</style></head><body>";
  std::string out(kHead);
  out += fmt::format(
      "<h1>vitald {}</h1><p><a href=\".\">Live page</a> · <a href=\"{}\">Metrics</a> · <a "
      "href=\"api/v1/alerts\">Alerts</a> · "
      "<a href=\"api/v1/rules\">Rules</a> · <a href=\"-/healthy\">Healthy</a> · "
      "<a href=\"-/ready\">Ready</a></p>",
      VITALD_VERSION, html(relative(source.metrics_path)));
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
                           html(rule.declared->name), rule.declared->alerting ? to_string(rule.state) : "record",
                           html(rule.declared->query));
    out += "</table>";
  }
  out += "</body></html>\n";
  return {200,
          "text/html; charset=utf-8",
          std::make_shared<const std::string>(std::move(out)),
          // Its own style, and nothing else that somebody might get into it.
          {{"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
           {"Vary", "Accept, Accept-Encoding"}}};
}

}  // namespace

Handler landing_page(const AgentView& agent) {
  return [agent](const Request& request) {
    const bool plain = std::ranges::any_of(request.query, [](const auto& given) { return given.first == "plain"; });
    const bool browser = request.list("Accept").find("text/html") != std::string::npos;
    return browser && !plain ? live_page(request) : landing(agent);
  };
}

}  // namespace vitald
