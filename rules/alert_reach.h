// SPDX-License-Identifier: Apache-2.0
// Matchers of alerts that can fit none: what receivers, inhibitions, silences and rules on ALERTS ask for is compared
// with what the rules' alerts are called and what labels they can have. Such matchers do nothing, and nobody would
// know.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "rules/known_family.h"
#include "rules/load/load.h"
#include "rules/silences.h"

namespace vitald {

struct RulesView;

class AlertReach {
 public:
  // `families`: which labels a rule's series can have; those that are not among them can have any.
  AlertReach(std::span<const RuleGroup> groups, std::span<const KnownFamily> families, const LabelMap& series_labels);
  // Of what the API shows, where expressions are text: any label may come from those.
  explicit AlertReach(const RulesView& view);

  // No rule alerts.
  [[nodiscard]] bool empty() const { return alerts_.empty(); }
  // Why no alert of any rule can fit all of them, in words; empty: one can. `external`: labels that all alerts get when
  // they leave.
  [[nodiscard]] std::string problem(const Matchers& matchers, const LabelMap& external = {}) const;

 private:
  struct AlertShape {
    std::string name;
    std::map<std::string, std::optional<std::string>> given;  // by the rule; nothing: a template's
    bool any = false;                                         // another label may be there
    bool of_alerts = false;                                   // or what other alerts have: it is a rule on ALERTS
    std::set<std::string, std::less<>> others;                // or one of these
  };
  [[nodiscard]] bool may_fit(const AlertShape& alert, const promql::Matcher& matcher, const LabelMap& external) const;
  [[nodiscard]] std::string hint(const promql::Matcher& matcher, const LabelMap& external) const;

  std::vector<AlertShape> alerts_;
};

}  // namespace vitald
