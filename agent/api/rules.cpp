// SPDX-License-Identifier: Apache-2.0
#include "agent/api/rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/api/alerts.h"
#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"

namespace vitald {

void append_alert(Json& j, const Alert& a) {
  j.map("labels", a.labels);
  j.map("annotations", a.annotations);
  j.text("state", to_string(a.state));
  j.text("activeAt", go_time(a.active_at_ms));
  j.text("value", exponent_text(a.value));
}

std::shared_ptr<const RulesView> rules_view_of(const AgentView& agent) {
  static const auto kNone = std::make_shared<const RulesView>();
  auto view = agent.rules();
  return view ? view : kNone;
}

namespace {

void rule(Json& j, const RuleView& r, bool with_alerts) {
  const auto& is = *r.declared;
  j.open('{');
  if (is.alerting) j.text("state", to_string(r.state));
  j.text("name", is.name);
  j.text("query", is.query);
  if (is.alerting) {
    j.number("duration", is.duration_s);
    j.number("keepFiringFor", is.keep_firing_for_s);
  }
  if (is.alerting || !is.labels.empty()) j.map("labels", is.labels);
  if (is.alerting) {
    j.map("annotations", is.annotations);
    j.key("alerts");
    j.open('[');
    if (with_alerts)
      for (const auto& a : r.alerts) j.open('{'), append_alert(j, a), j.close('}');
    j.close(']');
  }
  j.text("health", r.health);
  if (!r.last_error.empty()) j.text("lastError", r.last_error);
  if (!r.warning.empty()) j.text("warning", r.warning);
  j.number("evaluationTime", r.evaluation_s);
  j.text("lastEvaluation", go_time(r.last_evaluation_ms));
  j.text("type", is.alerting ? "alerting" : "recording");
  j.close('}');
}

// {"status":"success","data":{KEY:[what `items` writes]}}
template <class Items>
std::string answer(std::string_view key, Items&& items) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("status", "success");
  j.key("data");
  j.open('{');
  j.key(key);
  j.open('[');
  items(j);
  j.close(']');
  j.close('}');
  j.close('}');
  return out;
}

}  // namespace

bool RuleFilter::fits(const GroupView& group) const {
  const auto any = [](const std::vector<std::string>& wanted, const std::string& is) {
    return wanted.empty() || std::ranges::find(wanted, is) != wanted.end();
  };
  if (!any(groups, group.name) || !any(files, group.file)) return false;
  // A group of which nothing is left is left out where a rule was asked for by name.
  return (names.empty() && matchers.empty()) ||
         std::ranges::any_of(group.rules, [this](const RuleView& r) { return fits(r); });
}

bool RuleFilter::fits(const RuleView& r) const {
  const auto& is = *r.declared;
  if (alerting && is.alerting != *alerting) return false;
  if (!names.empty() && std::ranges::find(names, is.name) == names.end()) return false;
  const auto label = [&is](const std::string& name) {
    const auto at = is.labels.find(name);
    return at == is.labels.end() ? std::string_view() : std::string_view(at->second);
  };
  return matchers.empty() || std::ranges::any_of(matchers, [&](const auto& selector) {
           return std::ranges::all_of(selector->matchers,
                                      [&](const promql::Matcher& m) { return m.matches(label(m.name)); });
         });
}

std::string rules_json(const RulesView& view, const RuleFilter& filter) {
  return answer("groups", [&](Json& j) {
    for (const auto& g : view.groups) {
      if (!filter.fits(g)) continue;
      j.open('{');
      j.text("name", g.name);
      j.text("file", g.file);
      j.key("rules");
      j.open('[');
      for (const auto& r : g.rules)
        if (filter.fits(r)) rule(j, r, filter.alerts);
      j.close(']');
      j.number("interval", g.interval_s);
      j.number("limit", static_cast<double>(g.limit));
      j.number("evaluationTime", g.evaluation_s);
      j.text("lastEvaluation", go_time(g.last_evaluation_ms));
      j.close('}');
    }
  });
}

namespace {

std::optional<Response> read(const Parameters& p, RuleFilter& filter, promql::PatternBudget& budget) {
  std::optional<Response> problem;
  if (const auto type = first(p, "type"); !type.empty()) {
    if (type != "alert" && type != "record")
      return invalid_parameter("type", fmt::format("not supported value \"{}\", expected alert or record", type));
    filter.alerting = type == "alert";
  }
  const auto texts = [&p](std::string_view name) {
    const auto found = all(p, name);
    return std::vector<std::string>(found.begin(), found.end());
  };
  filter.names = texts("rule_name[]");
  filter.groups = texts("rule_group[]");
  filter.files = texts("file[]");
  filter.matchers = matchers_of(p, false, problem, budget);
  if (const auto text = first(p, "exclude_alerts"); !text.empty()) {
    const auto without = parse_api_bool(text);
    if (!without) return invalid_parameter("exclude_alerts", fmt::format("'{}', expected true or false", text));
    filter.alerts = !*without;
  }
  return problem;
}

Answer rules_answer(const AgentView& agent, const Request& request) {
  const auto p = parameters_of(request);
  return agent.queries->run(request, may_have_patterns(p, "match[]"),
                            [p, view = rules_view_of(agent),
                             gzip = accepts_gzip(request.list("Accept-Encoding"))](promql::PatternBudget& budget) {
                              RuleFilter filter;
                              if (auto problem = read(p, filter, budget)) return std::move(*problem);
                              return packed(json_response(200, rules_json(*view, filter)), gzip);
                            });
}

}  // namespace

Handler rules_page(const AgentView& agent) {
  return [agent](const Request& request) { return rules_answer(agent, request); };
}

}  // namespace vitald
