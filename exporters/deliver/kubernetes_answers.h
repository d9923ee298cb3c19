// SPDX-License-Identifier: Apache-2.0
// What a Kubernetes API server says, as far as we ask: the conditions of a node that are ours, and whether we may do
// something. Text in, values out; what others wrote there may be anything.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace vitald {

// Of the types and reasons of our conditions.
constexpr std::string_view kConditionPrefix = "Vitald";
constexpr std::string_view kAlertFires = "AlertFires", kAlertOver = "AlertIsOver", kAlertNotTold = "AlertIsNotTold";

struct NodeCondition {
  bool is_true = false;
  std::int64_t since_ms = 0;
  std::string reason, words;
};

// By type. Nothing: the answer is no JSON.
std::optional<std::map<std::string, NodeCondition>> conditions_in(std::string_view node);

// Of a SelfSubjectAccessReview. Nothing: it does not say.
std::optional<bool> allowed_in(std::string_view review);

}  // namespace vitald
