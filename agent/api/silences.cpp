// SPDX-License-Identifier: Apache-2.0
// Silences and alerts in the shape of Alertmanager's API v2, so that amtool and Grafana work with one host.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "agent/api/alerts.h"
#include "agent/api/body.h"
#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/api/rules.h"
#include "rules/alert_reach.h"

namespace vitald {
namespace {

constexpr std::int64_t kPatienceNs = 5'000'000'000;  // for the disk

// Alertmanager's errors are a JSON text.
Response am_error(int status, std::string_view what) {
  std::string out;
  append_json_string(out, what);
  return json_response(status, std::move(out));
}

void append_silence(Json& j, const Silence& s, std::int64_t now_ms) {
  j.open('{');
  j.text("id", s.id);
  j.key("status");
  j.open('{');
  j.text("state", s.state(now_ms));
  j.close('}');
  j.text("updatedAt", go_time(s.updated_ms));
  j.text("comment", s.comment);
  j.text("createdBy", s.created_by);
  j.text("endsAt", go_time(s.ends_ms));
  j.key("matchers");
  j.open('[');
  for (const auto& m : s.matchers) {
    using enum promql::MatchOp;
    j.open('{');
    j.flag("isEqual", m.op == equal || m.op == regex);
    j.flag("isRegex", m.op == regex || m.op == not_regex);
    j.text("name", m.name);
    j.text("value", m.value);
    j.close('}');
  }
  j.close(']');
  j.text("startsAt", go_time(s.starts_ms));
  j.close('}');
}

// `filter` of the list: a silence fits when it has such a matcher, as amtool understands it.
bool has_matchers(const Silence& s, const Matchers& wanted) {
  return std::ranges::all_of(wanted, [&](const promql::Matcher& w) {
    return std::ranges::any_of(s.matchers,
                               [&](const promql::Matcher& m) { return m.name == w.name && w.matches(m.value); });
  });
}

// All `filter`; else the answer in `problem`. Not on the server's loop where there are regular expressions among them.
Matchers filters_of(const Parameters& p, std::optional<Response>& problem, promql::PatternBudget& budget) {
  Matchers wanted;
  for (const auto text : all(p, "filter")) {
    auto matchers = parse_alert_matchers(text, &budget);
    if (!matchers) {
      problem = am_error(400, matchers.error().text);
      return {};
    }
    std::ranges::move(*matchers, std::back_inserter(wanted));
  }
  return wanted;
}

Response list_of(const Marks& marks, const Parameters& p, std::int64_t now_ms, promql::PatternBudget& budget) {
  std::optional<Response> problem;
  const auto wanted = filters_of(p, problem, budget);
  if (problem) return std::move(*problem);
  // Active ones first, those that end soonest in front; then what comes, then what was.
  std::vector<const Silence*> rows;
  for (const auto& s : marks.silences)
    if (has_matchers(s, wanted)) rows.push_back(&s);
  const auto rank = [now_ms](const Silence* s) {
    return s->state(now_ms) == std::string_view("active") ? 0 : s->state(now_ms) == std::string_view("pending") ? 1 : 2;
  };
  std::ranges::stable_sort(rows, [&](const Silence* a, const Silence* b) {
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return rank(a) == 2 ? a->ends_ms > b->ends_ms : a->ends_ms < b->ends_ms;
  });
  std::string out;
  Json j(out);
  j.open('[');
  for (const auto* s : rows) append_silence(j, *s, now_ms);
  j.close(']');
  return json_response(200, std::move(out));
}

Answer list(const AgentView& agent, const Request& request, std::int64_t now_ms) {
  return agent.queries->run(request, may_have_patterns(request.query, "filter"),
                            [p = request.query, marks = agent.silences->marks(),
                             now_ms](promql::PatternBudget& budget) { return list_of(*marks, p, now_ms, budget); });
}

// On the thread of changes: it waits for the disk.
Answer change(const AgentView& agent, const Request& request, Jobs::Work work) {
  if (auto pending = agent.changes->run(std::move(work), request.arrived_boot_ns + kPatienceNs)) return pending;
  return am_error(503, "too many changes wait already; try again later");
}

int status_of(const Error& error) {
  return error.kind == Errc::malformed ? 400 : error.kind == Errc::absent ? 404 : 500;
}

Answer silences(const AgentView& agent, const Request& request) {
  const auto now_ms = agent.clock->wall_ns() / 1'000'000;
  if (request.method != "POST") return list(agent, request, now_ms);
  return change(agent, request,
                [all = agent.silences, body = request.body, user = request.user, rules = rules_view_of(agent),
                 now_ms](const Jobs::GivenUp&) {
                  auto silence = parse_silence(body, now_ms);
                  if (!silence) return am_error(400, silence.error().text);
                  if (!user.empty()) silence->created_by = user;
                  // It is in force all the same: the rule may come.
                  const auto why = AlertReach(*rules).problem(silence->matchers, rules->external_labels);
                  const auto id = all->put(std::move(*silence), now_ms);
                  if (!id) return am_error(status_of(id.error()), id.error().text);
                  std::string out;
                  Json j(out);
                  j.open('{');
                  j.text("silenceID", *id);
                  if (!why.empty()) j.list("warnings", std::vector{"nothing is silenced now: " + why});
                  j.close('}');
                  return json_response(200, std::move(out));
                });
}

Answer silence(const AgentView& agent, const Request& request) {
  const auto now_ms = agent.clock->wall_ns() / 1'000'000;
  const std::string id(part_of_path("/api/v2/silence/{id}", request.path));
  if (request.method == "DELETE")
    return change(agent, request, [all = agent.silences, id, now_ms](const Jobs::GivenUp&) {
      const auto done = all->expire(id, now_ms);
      return done ? json_response(200, "") : am_error(status_of(done.error()), done.error().text);
    });
  const auto marks = agent.silences->marks();
  const auto at = std::ranges::find(marks->silences, id, &Silence::id);
  if (at == marks->silences.end()) return am_error(404, fmt::format("no silence '{}'", id));
  std::string out;
  Json j(out);
  append_silence(j, *at, now_ms);
  return json_response(200, std::move(out));
}

constexpr std::string_view kReceiver = "vitald";  // whoever is told, to clients of an Alertmanager

// `show`: active, silenced and inhibited ones. `groups`: the same alerts as the one group that they are here, since
// nothing routes them.
struct AmAsk {
  Parameters given;
  std::array<bool, 3> show = {true, true, true};
  bool groups = false, gzip = false;
  std::int64_t now_ms = 0;
  std::string external_url;
};
Response am_alerts_of(const AmAsk& ask, std::vector<AlertRow> rows, promql::PatternBudget& budget) {
  std::optional<Response> problem;
  const auto wanted = filters_of(ask.given, problem, budget);
  if (problem) return std::move(*problem);
  bool ours = true;
  if (const auto receiver = first(ask.given, "receiver"); !receiver.empty()) {
    const auto pattern = alert_matcher("receiver", receiver, true, true, &budget);
    if (!pattern) return am_error(400, pattern.error().text);
    ours = pattern->matches(kReceiver);
  }
  std::string out;
  Json j(out);
  j.open('[');
  for (const auto& row : each_once(std::move(rows))) {
    const auto& a = *row.alert;
    const bool silenced = !row.muting.silenced_by.empty(), inhibited = !row.muting.inhibited_by.empty();
    if (!ours || a.state != AlertState::firing || !fits(wanted, row.sent) || (silenced && !ask.show[1]) ||
        (inhibited && !ask.show[2]) || (!silenced && !inhibited && !ask.show[0]))
      continue;
    j.open('{');
    j.map("annotations", a.annotations);
    j.text("endsAt", go_time(ask.now_ms + 300'000));  // as long as nobody says more
    j.text("fingerprint", fmt::format("{:016x}", a.fingerprint));
    j.key("receivers");
    j.raw(fmt::format(R"([{{"name":"{}"}}])", kReceiver));
    j.text("startsAt", go_time(row.begin.fired_at_ms));
    j.key("status");
    j.open('{');
    j.key("inhibitedBy");
    j.open('[');
    for (const auto f : row.muting.inhibited_by) j.text(fmt::format("{:016x}", f));
    j.close(']');
    j.list("silencedBy", row.muting.silenced_by);
    j.text("state", row.muting.muted() ? "suppressed" : "active");
    j.close('}');
    j.text("updatedAt", go_time(row.rule->last_evaluation_ms));
    j.text("generatorURL", ask.external_url);
    j.map("labels", row.sent);
    j.close('}');
  }
  j.close(']');
  if (ask.groups && out != "[]")
    out = fmt::format(R"([{{"alerts":{},"labels":{{}},"receiver":{{"name":"{}"}}}}])", out, kReceiver);
  return packed(json_response(200, std::move(out)), ask.gzip);
}

Answer am_alerts(const AgentView& agent, const Request& request, bool groups) {
  AmAsk ask;
  static constexpr std::string_view kNames[] = {"active", "silenced", "inhibited"};
  for (std::size_t i = 0; i < 3; ++i)
    if (const auto given = request.all(kNames[i]); !given.empty()) {
      const auto value = parse_api_bool(given[0]);
      if (!value) return am_error(400, fmt::format("{}: '{}', expected true or false", kNames[i], given[0]));
      ask.show[i] = *value;
    }
  ask.given = request.query;
  ask.groups = groups;
  ask.gzip = accepts_gzip(request.list("Accept-Encoding"));
  ask.now_ms = agent.clock->wall_ns() / 1'000'000;
  ask.external_url = agent.external_url;
  const auto view = rules_view_of(agent);
  auto rows = alert_rows(*view, *agent.silences, ask.now_ms, "");
  return agent.queries->run(
      request, may_have_patterns(ask.given, "filter") || !first(ask.given, "receiver").empty(),
      [ask, view, rows = std::move(rows)](promql::PatternBudget& budget) { return am_alerts_of(ask, rows, budget); });
}

}  // namespace

Handler silences_request(const AgentView& agent) {
  return [agent](const Request& request) { return silences(agent, request); };
}
Handler silence_request(const AgentView& agent) {
  return [agent](const Request& request) { return silence(agent, request); };
}
Handler am_alerts_page(const AgentView& agent) {
  return [agent](const Request& request) { return am_alerts(agent, request, false); };
}
Handler am_groups_page(const AgentView& agent) {
  return [agent](const Request& request) { return am_alerts(agent, request, true); };
}
Handler am_receivers_page(const AgentView&) {
  return [](const Request&) { return json_response(200, fmt::format(R"([{{"name":"{}"}}])", kReceiver)); };
}
Handler am_status_page(const AgentView&) {
  return [](const Request&) {
    return json_response(
        200, R"({"cluster":{"status":"disabled","peers":[]},"config":{"original":""},)"
             R"("uptime":"0001-01-01T00:00:00Z","versionInfo":{"version":"0.25.0","revision":"vitald )" VITALD_VERSION
             R"(","branch":"","buildUser":"","buildDate":"","goVersion":""}})");
  };
}

}  // namespace vitald
