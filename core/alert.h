// SPDX-License-Identifier: Apache-2.0
// What an alert is on its whole way: the rules make it, the API shows it, receivers are told of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace vitald {

using LabelMap = std::map<std::string, std::string>;

enum class AlertState : std::uint8_t { inactive, pending, firing };
std::string_view to_string(AlertState state);

struct Alert {
  LabelMap labels;  // with alertname
  LabelMap annotations;
  AlertState state = AlertState::inactive;
  std::int64_t active_at_ms = 0;    // first evaluation that gave it, epoch
  std::int64_t fired_at_ms = 0;     // 0: not yet
  std::int64_t resolved_at_ms = 0;  // 0: not yet
  double value = 0;
  std::uint64_t fingerprint = 0;  // of the labels
};

// What receivers are sent and everybody's matchers are compared with: the alert's own labels, and of `external`
// (`rules.external-label`) those that it has not. Only its own make it the alert that it is.
LabelMap sent_labels(LabelMap own, const LabelMap& external);
// One of them. Empty: there is none.
std::string_view sent_label(const LabelMap& own, const LabelMap& external, const std::string& name);

// Since when an alert fires, as it was told: of several rules that make it the times of the one that was first. With
// the fingerprint it is who the alert is.
struct AlertBegin {
  std::int64_t active_at_ms = 0, fired_at_ms = 0;
  bool operator==(const AlertBegin&) const = default;
};
using AlertBegins = std::map<std::uint64_t, AlertBegin>;  // by fingerprint

// A change worth telling: pending -> firing, firing -> resolved.
struct AlertTransition {
  Alert alert;
  bool firing = false;
  // Each has another one on this host, a later one a greater one; told again it is the same. 0: it has none yet.
  std::uint64_t number = 0;
};

}  // namespace vitald
