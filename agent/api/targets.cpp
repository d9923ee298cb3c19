// SPDX-License-Identifier: Apache-2.0
// What clients of Prometheus ask about the server: its one target, its version, how its queries go.
#include <fmt/format.h>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"

namespace vitald {
namespace {

// What `up` is labelled with: as a server would label this host.
LabelMap own_labels(const Queries& queries) {
  LabelMap out;
  queries.view()->each_series([&](const promql::Labels& labels) {
    if (labels.name() != "up") return;
    for (const Label l : labels.without_name()) out.emplace(l.name, l.value);
  });
  return out;
}

std::string targets_json(const AgentView& agent, bool active) {
  std::string out;
  Json j(out);
  j.open('{');
  j.key("activeTargets");
  j.open('[');
  if (active) {
    const auto labels = own_labels(*agent.queries);
    const auto job = labels.contains("job") ? labels.at("job") : std::string("node");
    const auto url = agent.external_url + agent.metrics_path;
    const auto latest = agent.latest();
    std::int64_t took_ns = 0;
    if (latest)
      for (const auto& b : latest->batches) took_ns += b->health.wall_ns;
    const auto interval = fmt::format("{}ms", agent.interval_ns() / 1'000'000);
    auto discovered = labels;
    const auto scheme = url.find("://");
    const auto host = scheme == url.npos ? std::string() : url.substr(scheme + 3);
    discovered["__address__"] = host.substr(0, host.find('/'));
    discovered["__metrics_path__"] = agent.metrics_path;
    discovered["__scheme__"] = url.substr(0, scheme == url.npos ? 0 : scheme);
    j.open('{');
    j.map("discoveredLabels", discovered);
    j.map("labels", labels);
    j.text("scrapePool", job);
    j.text("scrapeUrl", url);
    j.text("globalUrl", url);
    j.text("lastError", "");
    j.text("lastScrape", go_time(latest ? latest->wall_ns / 1'000'000 : 0));
    j.number("lastScrapeDuration", static_cast<double>(took_ns) / 1e9);
    j.text("health", latest ? "up" : "unknown");
    j.text("scrapeInterval", interval);
    j.text("scrapeTimeout", interval);
    j.close('}');
  }
  j.close(']');
  j.key("droppedTargets");
  j.raw("[]");
  j.close('}');
  return success(out);
}

// The version whose language the queries are in: Grafana chooses by it what it asks for and offers. Who it really is
// says `revision`. Never `features`: with it Grafana takes a server for another product.
std::string buildinfo_json(promql::Dialect dialect) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("version", dialect == promql::Dialect::v2 ? "2.42.0" : "3.0.0");
  j.text("revision", "vitald " VITALD_VERSION);
  j.text("branch", "");
  j.text("buildUser", "");
  j.text("buildDate", "");
  j.text("goVersion", "");
  j.close('}');
  return success(out);
}

// Both spellings of latency that Rackscope's pages and code have.
std::string query_stats_json(const Queries::Stats& s) {
  const auto done = s.cache_misses > 0 ? static_cast<double>(s.cache_misses) : 1;
  std::string out;
  Json j(out);
  j.open('{');
  j.whole("query_count", static_cast<std::int64_t>(s.queries));
  j.whole("cache_hits", static_cast<std::int64_t>(s.cache_hits));
  j.whole("cache_misses", static_cast<std::int64_t>(s.cache_misses));
  j.whole("in_flight", s.in_flight);
  j.key("last_batch");
  j.raw("null");
  j.number("last_ms", s.last_ms);
  j.number("avg_ms", s.sum_ms / done);
  j.number("avg_latency_ms", s.sum_ms / done);
  j.whole("last_ts", s.last_wall_ms);
  j.close('}');
  return out;
}

std::string query_times_json(const Queries::Stats& s, std::int64_t interval_ns) {
  const auto done = s.cache_misses > 0 ? static_cast<double>(s.cache_misses) : 1;
  std::string out;
  Json j(out);
  j.open('{');
  j.number("last_ms", s.last_ms);
  j.number("avg_ms", s.sum_ms / done);
  j.whole("last_ts", s.last_wall_ms);
  j.number("heartbeat_seconds", static_cast<double>(interval_ns) / 1e9);
  j.whole("next_ts", s.last_wall_ms == 0 ? 0 : s.last_wall_ms + interval_ns / 1'000'000);
  j.close('}');
  return out;
}

}  // namespace

Handler targets_page(const AgentView& agent) {
  return [agent](const Request& request) {
    const auto state = request.all("state");
    const auto wanted = state.empty() ? std::string_view() : state[0];
    if (!wanted.empty() && wanted != "active" && wanted != "dropped" && wanted != "any")
      return api_error(ApiError::bad_data, fmt::format("state: '{}', expected active, dropped or any", wanted));
    return json_response(200, targets_json(agent, wanted != "dropped"));
  };
}

Handler buildinfo_page(const AgentView& agent) {
  return [queries = agent.queries](const Request&) {
    return json_response(200, buildinfo_json(queries->settings().dialect));
  };
}

Handler query_stats_page(const AgentView& agent) {
  return [queries = agent.queries](const Request&) { return json_response(200, query_stats_json(queries->stats())); };
}

Handler query_times_page(const AgentView& agent) {
  return [queries = agent.queries, interval = agent.interval_ns](const Request&) {
    return json_response(200, query_times_json(queries->stats(), interval()));
  };
}

}  // namespace vitald
