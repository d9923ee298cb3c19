// SPDX-License-Identifier: Apache-2.0
// /api/v1/checks: what Rackscope's checks say of this host, and the metrics of its libraries.
#include "rules/checks.h"

#include <fmt/format.h>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/rules.h"
#include "agent/http/form.h"

namespace vitald {

namespace {

// What is asked for; empty: all.
struct Wanted {
  std::string id, kind, scope, state;
  [[nodiscard]] bool fits(const CheckView& c) const {
    return (id.empty() || c.id == id) && (kind.empty() || c.kind == kind) && (scope.empty() || c.scope == scope) &&
           (state.empty() || to_string(c.state) == state);
  }
};

void append(Json& j, const CheckView& c) {
  j.open('{');
  j.text("id", c.id);
  j.text("name", c.name);
  if (!c.kind.empty()) j.text("kind", c.kind);
  j.text("scope", c.scope);
  j.text("output", c.numeric ? "numeric" : "bool");
  j.text("state", to_string(c.state));
  if (c.for_s > 0) j.number("for_seconds", c.for_s);
  j.text("expr", c.expr);
  j.text("file", c.file);
  if (!c.error.empty()) j.text("error", c.error);
  j.key("objects");
  j.open('[');
  for (const auto& o : c.objects) {
    j.open('{');
    j.text("object", o.name);
    j.text("state", to_string(o.state));
    if (o.pending) j.text("pending", to_string(*o.pending));
    if (o.value) j.number("value", *o.value);
    j.text("since", go_time(o.since_ms));
    j.close('}');
  }
  j.close(']');
  j.close('}');
}

void append(Json& j, const ShownMetric& m) {
  j.open('{');
  j.text("id", m.id);
  j.text("name", m.name);
  j.text("description", m.description);
  j.text("expr", m.expr);
  j.text("unit", m.unit);
  j.text("chart_type", m.chart_type);
  if (!m.color.empty()) j.text("color", m.color);
  j.text("aggregation", m.aggregation);
  if (m.warn) j.number("warn", *m.warn);
  if (m.crit) j.number("crit", *m.crit);
  if (!m.category.empty()) j.text("category", m.category);
  j.list("tags", m.tags);
  j.close('}');
}

std::string checks_json(const ChecksView& view, const Wanted& wanted) {
  std::string out;
  Json j(out);
  auto worst = CheckState::ok;
  for (const auto& c : view.checks)
    if (wanted.fits(c) && is_worse(c.state, worst)) worst = c.state;
  j.open('{');
  j.text("state", to_string(worst));
  j.key("checks");
  j.open('[');
  for (const auto& c : view.checks)
    if (wanted.fits(c)) append(j, c);
  j.close(']');
  j.key("metrics");
  j.open('[');
  for (const auto& m : view.metrics) append(j, m);
  j.close(']');
  j.close('}');
  return success(out);
}

}  // namespace

Handler checks_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    Wanted wanted;
    for (const auto& [name, value] : parameters_of(request)) {
      auto* const to = name == "id"      ? &wanted.id
                       : name == "kind"  ? &wanted.kind
                       : name == "scope" ? &wanted.scope
                       : name == "state" ? &wanted.state
                                         : nullptr;
      if (!to)
        return api_error(ApiError::bad_data, fmt::format("there is no '{}', expected id, kind, scope or state", name));
      *to = value;
    }
    static const ChecksView kNone;
    const auto rules = rules_view_of(agent);
    return json_response(200, checks_json(rules->checks ? *rules->checks : kNone, wanted));
  };
}

}  // namespace vitald
