// SPDX-License-Identifier: Apache-2.0
// The body of /api/v1/rules in the shape of Prometheus' HTTP API.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/api/agent_view.h"
#include "agent/api/json.h"
#include "rules/engine.h"
#include "rules/query.h"

namespace vitald {

// Which rules are wanted; whatever is empty chooses none out.
struct RuleFilter {
  std::optional<bool> alerting = {};                             // ?type=alert, record
  std::vector<std::string> names = {}, groups = {}, files = {};  // rule_name[], rule_group[], file[]
  Selectors matchers = {};                                       // match[]: one of them fits the rule's labels
  bool alerts = true;                                            // not exclude_alerts
  [[nodiscard]] bool fits(const GroupView& group) const;
  [[nodiscard]] bool fits(const RuleView& rule) const;
};

std::string rules_json(const RulesView& view, const RuleFilter& filter = {});
// The members of an alert that Prometheus has.
void append_alert(Json& j, const Alert& a);
// Never null.
std::shared_ptr<const RulesView> rules_view_of(const AgentView& agent);

}  // namespace vitald
