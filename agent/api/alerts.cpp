// SPDX-License-Identifier: Apache-2.0
// /api/v1/alerts, and who has one of them in hand.
#include "agent/api/alerts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "agent/api/body.h"
#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/api/rules.h"
#include "core/os/machine_id.h"

namespace vitald {

namespace {

constexpr std::int64_t kPatienceNs = 5'000'000'000;  // for the disk

std::string_view label_of(const LabelMap& labels, const char* name) {
  const auto at = labels.find(name);
  return at == labels.end() ? std::string_view() : std::string_view(at->second);
}

void append_row(Json& j, const AlertRow& row, std::string_view machine) {
  const auto& a = *row.alert;
  j.open('{');
  append_alert(j, a);
  j.text("uuid", row.uuid);
  j.text("fingerprint", fmt::format("{:016x}", a.fingerprint));
  j.text("provider_uuid", machine);
  j.text("metric", row.rule->declared->metric);
  j.text("operator", row.rule->declared->op);
  j.key("threshold");
  const auto& threshold = row.rule->declared->threshold;
  j.raw(threshold && std::isfinite(*threshold) ? fmt::format("{}", *threshold) : "null");
  j.key("current_value");
  j.raw(std::isfinite(a.value) ? fmt::format("{}", a.value) : "null");
  j.text("severity", label_of(row.sent, "severity"));
  j.text("created_at", go_time(row.begin.active_at_ms));
  if (row.begin.fired_at_ms != 0) j.text("firedAt", go_time(row.begin.fired_at_ms));
  j.flag("acknowledged", row.acknowledgement.has_value());
  if (row.acknowledgement) {
    j.key("acknowledgement");
    j.open('{');
    j.text("by", row.acknowledgement->by);
    j.text("comment", row.acknowledgement->comment);
    j.text("at", go_time(row.acknowledgement->at_ms));
    if (row.acknowledgement->until_ms != 0) j.text("until", go_time(row.acknowledgement->until_ms));
    j.close('}');
  }
  if (const auto path = row.evidence.find("evidence"); path != row.evidence.end()) {
    j.key("evidence");
    j.open('{');
    j.text("path", path->second);
    j.text("sha256", row.evidence.at("evidence_sha256"));
    j.close('}');
  }
  if (!row.changes.empty()) j.list("changed", row.changes);
  j.list("silencedBy", row.muting.silenced_by);
  j.key("inhibitedBy");
  j.open('[');
  for (const auto fingerprint : row.muting.inhibited_by) j.text(fmt::format("{:016x}", fingerprint));
  j.close(']');
  j.close('}');
}

std::string machine() {
  static const auto kUuid = machine_uuid();
  return kUuid;
}

// Who it is, and no more.
Alert as_told(const AlertRow& row) {
  Alert out;
  out.fingerprint = row.alert->fingerprint;
  out.active_at_ms = row.begin.active_at_ms;  // it tells one firing from another
  return out;
}

Answer acknowledge(const AgentView& agent, const Request& request) {
  const std::string id(part_of_path("/api/v1/alerts/{id}/acknowledgement", request.path));
  const auto now_ms = agent.clock->wall_ns() / 1'000'000;
  const auto view = rules_view_of(agent);
  std::optional<Alert> alert;
  for (const auto& row : alert_rows(*view, *agent.silences, now_ms, machine()))
    if (row.uuid == id || fmt::format("{:016x}", row.alert->fingerprint) == id) {
      alert = *row.alert;
      alert->active_at_ms = row.begin.active_at_ms;
    }
  if (!alert)
    return api_error(ApiError::not_found,
                     fmt::format("no pending or firing alert has the uuid or fingerprint '{}'", id));
  auto work = [silences = agent.silences, alert = *alert, now_ms](auto change) {
    return [silences, alert, now_ms, change](const Jobs::GivenUp&) {
      const Result<> done = change(*silences, alert, now_ms);
      if (done) return json_response(200, success("{}"));
      const auto type = done.error().kind == Errc::malformed ? ApiError::bad_data
                        : done.error().kind == Errc::absent  ? ApiError::not_found
                                                             : ApiError::internal;
      return api_error(type, done.error().text);
    };
  };
  Jobs::Work job;
  if (request.method == "DELETE") {
    job = work([](Silences& s, const Alert& a, std::int64_t now) { return s.withdraw(a, now); });
  } else {
    auto body = body_of(request);
    if (!body) return api_error(ApiError::bad_data, body.error().text);
    Acknowledgement ack;
    ack.by = !request.user.empty() ? request.user : std::string(first(*body, "by"));
    ack.comment = first(*body, "comment");
    if (ack.by.empty()) return api_error(ApiError::bad_data, "no 'by', expected who has it in hand");
    if (const auto until = first(*body, "until"); !until.empty()) {
      const auto ms = parse_api_time(until);
      if (!ms) return invalid_parameter("until", fmt::format("cannot parse \"{}\" to a valid timestamp", until));
      ack.until_ms = *ms;
    } else if (const auto duration = first(*body, "duration"); !duration.empty()) {
      const auto ms = parse_api_duration(duration);
      if (!ms || *ms <= 0) return invalid_parameter("duration", no_duration(duration));
      ack.until_ms = now_ms + *ms;
    }
    job = work([ack](Silences& s, const Alert& a, std::int64_t now) { return s.acknowledge(a, ack, now); });
  }
  if (auto pending = agent.changes->run(std::move(job), request.arrived_boot_ns + kPatienceNs)) return pending;
  return api_error(ApiError::unavailable, "too many changes wait already; try again later");
}

}  // namespace

std::optional<bool> parse_api_bool(std::string_view text) {
  constexpr std::string_view kTrue[] = {"1", "t", "T", "TRUE", "true", "True"},
                             kFalse[] = {"0", "f", "F", "FALSE", "false", "False"};
  if (std::ranges::find(kTrue, text) != std::end(kTrue)) return true;
  if (std::ranges::find(kFalse, text) != std::end(kFalse)) return false;
  return {};
}

std::vector<AlertRow> alert_rows(const RulesView& view, const Silences& silences, std::int64_t now_ms,
                                 std::string_view machine) {
  std::vector<AlertRow> rows;
  std::vector<const Alert*> firing;
  for (const auto& g : view.groups)
    for (const auto& r : g.rules)
      for (const auto& a : r.alerts) {
        auto sent = sent_labels(a.labels, view.external_labels);
        AlertRow row{&a, &r, {a.active_at_ms, a.fired_at_ms}, {}, {}, {}, std::move(sent), {}, {}};
        if (view.begins && a.state == AlertState::firing)
          if (const auto told = view.begins->find(a.fingerprint); told != view.begins->end()) row.begin = told->second;
        row.uuid = alert_uuid(as_told(row), machine);
        rows.push_back(std::move(row));
        if (a.state == AlertState::firing) firing.push_back(&a);
      }
  const auto marks = silences.marks();
  const auto mutes = silences.mutes(view.external_labels, firing, now_ms);
  for (auto& row : rows) {
    if (const auto* ack = marks->acknowledgement(as_told(row), now_ms)) row.acknowledgement = *ack;
    row.muting = mutes.of(row.alert->labels);
  }
  return rows;
}

std::vector<AlertRow> each_once(std::vector<AlertRow> rows) {
  std::map<std::uint64_t, std::int64_t> first;
  for (const auto& row : rows)
    if (row.alert->state == AlertState::firing) {
      const auto at = first.try_emplace(row.alert->fingerprint, row.alert->fired_at_ms).first;
      at->second = std::min(at->second, row.alert->fired_at_ms);
    }
  std::erase_if(rows, [&](const AlertRow& row) {
    if (row.alert->state != AlertState::firing) return false;
    const auto at = first.find(row.alert->fingerprint);
    if (at == first.end() || at->second != row.alert->fired_at_ms) return true;
    first.erase(at);
    return false;
  });
  return rows;
}

bool AlertFilter::may_have_patterns(const Parameters& p) {
  return vitald::may_have_patterns(p, "match[]") || vitald::may_have_patterns(p, "filter");
}

std::optional<AlertFilter> AlertFilter::read(const Parameters& p, std::string& problem, promql::PatternBudget& budget) {
  AlertFilter out;
  const auto text = [&p](std::string_view key, std::optional<std::string>& to) {
    if (const auto value = first(p, key); !value.empty()) to = value;
  };
  text("severity", out.severity);
  text("alertname", out.name);
  text("state", out.state);
  if (out.state && *out.state != "pending" && *out.state != "firing")
    problem = fmt::format("state: '{}', expected pending or firing", *out.state);
  const auto flag = [&](std::string_view key, std::optional<bool>& to) {
    const auto value = first(p, key);
    if (value.empty()) return;
    to = parse_api_bool(value);
    if (!to) problem = fmt::format("{}: '{}', expected true or false", key, value);
  };
  flag("acknowledged", out.acknowledged);
  flag("silenced", out.silenced);
  flag("inhibited", out.inhibited);
  for (const auto* name : {"match[]", "filter"})
    for (const auto value : all(p, name)) {
      if (!problem.empty()) return {};
      auto matchers = parse_alert_matchers(value, &budget);
      if (!matchers) problem = fmt::format("{}: {}", name, matchers.error().text);
      else if (name == std::string_view("filter")) std::ranges::move(*matchers, std::back_inserter(out.all_of));
      else out.any_of.push_back(std::move(*matchers));
    }
  if (!problem.empty()) return {};
  return out;
}

bool AlertFilter::fits(const AlertRow& row) const {
  const auto& a = *row.alert;
  return (!severity || label_of(row.sent, "severity") == *severity) &&
         (!name || label_of(row.sent, "alertname") == *name) && (!state || to_string(a.state) == *state) &&
         (!acknowledged || row.acknowledgement.has_value() == *acknowledged) &&
         (!silenced || !row.muting.silenced_by.empty() == *silenced) &&
         (!inhibited || !row.muting.inhibited_by.empty() == *inhibited) && vitald::fits(all_of, row.sent) &&
         (any_of.empty() || std::ranges::any_of(any_of, [&](const Matchers& m) { return vitald::fits(m, row.sent); }));
}

std::string alerts_json(const std::vector<AlertRow>& rows, const AlertFilter& filter, std::string_view machine) {
  std::string out;
  Json j(out);
  j.open('{');
  j.key("alerts");
  j.open('[');
  for (const auto& row : rows)
    if (filter.fits(row)) append_row(j, row, machine);
  j.close(']');
  j.close('}');
  return success(out);
}

Handler alerts_page(const AgentView& agent) {
  return [agent](const Request& request) {
    const auto view = rules_view_of(agent);
    auto rows = alert_rows(*view, *agent.silences, agent.clock->wall_ns() / 1'000'000, machine());
    for (auto& row : rows) {
      auto a = as_told(row);
      if (agent.evidence) agent.evidence->refer(a);
      if (agent.evidence) row.changes = agent.evidence->changes_of(a);
      row.evidence = std::move(a.annotations);
    }
    const auto p = parameters_of(request);
    return agent.queries->run(request, AlertFilter::may_have_patterns(p),
                              [p, view, rows = std::move(rows),
                               gzip = accepts_gzip(request.list("Accept-Encoding"))](promql::PatternBudget& budget) {
                                std::string problem;
                                const auto filter = AlertFilter::read(p, problem, budget);
                                if (!filter) return api_error(ApiError::bad_data, problem);
                                return packed(json_response(200, alerts_json(rows, *filter, machine())), gzip);
                              });
  };
}

Handler acknowledge_request(const AgentView& agent) {
  return [agent](const Request& request) { return acknowledge(agent, request); };
}

}  // namespace vitald
