// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/kubernetes_answers.h"

#include <nlohmann/json.hpp>

#include "core/text/rfc3339.h"

namespace vitald {
namespace {

using nlohmann::json;

// Null unless it is an object and has it.
const json* member(const json* of, const char* name) {
  if (!of || !of->is_object()) return nullptr;
  const auto at = of->find(name);
  return at == of->end() ? nullptr : &*at;
}

std::string text(const json& of, const char* name) {
  const auto* at = member(&of, name);
  return at && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace

std::optional<std::map<std::string, NodeCondition>> conditions_in(std::string_view node) {
  const auto answer = json::parse(node, nullptr, false);
  if (answer.is_discarded()) return std::nullopt;
  std::map<std::string, NodeCondition> out;
  const auto* all = member(member(&answer, "status"), "conditions");
  if (!all || !all->is_array()) return out;
  for (const auto& c : *all) {
    const auto type = text(c, "type"), reason = text(c, "reason");
    if (!type.starts_with(kConditionPrefix) ||
        (reason != kAlertFires && reason != kAlertOver && reason != kAlertNotTold))
      continue;
    const auto since = parse_rfc3339(text(c, "lastTransitionTime"));
    out[type] = {text(c, "status") == "True", since.value_or(0), reason, text(c, "message")};
  }
  return out;
}

std::optional<bool> allowed_in(std::string_view review) {
  const auto answer = json::parse(review, nullptr, false);
  const auto* allowed = answer.is_discarded() ? nullptr : member(member(&answer, "status"), "allowed");
  if (!allowed || !allowed->is_boolean()) return std::nullopt;
  return allowed->get<bool>();
}

}  // namespace vitald
