// SPDX-License-Identifier: Apache-2.0
// Bodies of /api/v1/rules and /api/v1/alerts in the shape of Prometheus' HTTP API.
#pragma once

#include <string>

#include "rules/engine.h"

namespace vitald {

enum class RuleFilter : std::uint8_t { all, alert, record };  // ?type=

std::string rules_json(const RulesView& view, RuleFilter filter = RuleFilter::all);
std::string alerts_json(const RulesView& view);

}  // namespace vitald
