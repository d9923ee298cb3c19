// SPDX-License-Identifier: Apache-2.0
// Alerts with what people said about them, for whoever shows or changes that.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/api/agent_view.h"
#include "agent/http/form.h"

namespace vitald {

struct AlertRow {
  const Alert* alert = nullptr;
  const RuleView* rule = nullptr;
  AlertBegin begin;  // as it was told, whichever of several rules made it first
  std::string uuid;
  std::optional<Acknowledgement> acknowledgement;
  Muting muting;
  LabelMap sent;                          // its labels as receivers get them: what filters are for
  LabelMap evidence = {};                 // the annotations that say where it is
  std::vector<std::string> changes = {};  // what had changed most when it fired
};
// Of all alerts that are pending or fire, of each rule that makes them; of one that several make the uuid and the times
// are the same. They point into `view`.
std::vector<AlertRow> alert_rows(const RulesView& view, const Silences& silences, std::int64_t now_ms,
                                 std::string_view machine);

// Of those that fire each once: as the rule has it that fired first.
std::vector<AlertRow> each_once(std::vector<AlertRow> rows);

// Which ones /api/v1/alerts?... asks for.
struct AlertFilter {
  std::optional<std::string> severity, name, state;
  std::optional<bool> acknowledged, silenced, inhibited;
  std::vector<Matchers> any_of;  // match[]: one of them fits, as in Prometheus
  Matchers all_of;               // filter: each fits, as in Alertmanager
  // Nothing: `problem` says what is wrong.
  static std::optional<AlertFilter> read(const Parameters& p, std::string& problem, promql::PatternBudget& budget);
  static bool may_have_patterns(const Parameters& p);  // if so not on the server's loop
  [[nodiscard]] bool fits(const AlertRow& row) const;
};

std::string alerts_json(const std::vector<AlertRow>& rows, const AlertFilter& filter, std::string_view machine);

// "true", "1", ...; nothing: it is none.
std::optional<bool> parse_api_bool(std::string_view text);

}  // namespace vitald
