// SPDX-License-Identifier: Apache-2.0
// The keys of a rule file: what may be in it, and what docs/config.md says of it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace vitald {

struct RuleKey {
  std::string_view key, type, fallback, allowed, help;
};
inline constexpr std::string_view kMustBeGiven = "must be given";
inline constexpr std::string_view kDurationKey = "duration", kNotNegative = "0 to 292y";
inline constexpr std::string_view kTextsKey = "map of texts";

inline constexpr std::string_view kThresholdOps[] = {">", ">=", "<", "<=", "==", "!="};
// thresholds: [{metric: node_load1, op: ">", value: 10, severity: warning, for: 1m}]
inline constexpr RuleKey kThresholdKeys[] = {
    {"metric", "text", kMustBeGiven, "a metric's name", "The family whose series are compared."},
    {"op", "text", kMustBeGiven, "one of: `>` `>=` `<` `<=` `==` `!=`",
     "How a series' value is compared with `value`."},
    {"value", "number", kMustBeGiven, "any number, also `Inf`",
     "The bound. Its unit is the metric's: bytes, seconds, ratio."},
    {"severity", "text", "", "", "The label `severity` of the alert; may be a template."},
    {"for", kDurationKey, "0s", kNotNegative,
     "How long it has to be so before the alert fires; until then it is pending."},
    {"keep_firing_for", kDurationKey, "0s", kNotNegative,
     "How long the alert goes on firing after it is no longer so."},
    {"name", "text", "the metric's name", "", "The label `alertname`."},
    {"match", kTextsKey, "", "labels to values; a value begins with `=` (also meant without), `!=`, `=~` or `!~`",
     "Only series with these labels: `{device: sda, fstype: \"!~tmpfs|ramfs\"}`."},
    {"summary", "text", "metric, value, op and bound", "", "The annotation `summary`; may be a template."},
    {"description", "text", "", "", "The annotation `description`; may be a template."},
    {"labels", kTextsKey, "", "1000 at most", "More labels of the alert; may be templates."},
    {"annotations", kTextsKey, "", "1000 at most", "More annotations of the alert; may be templates."},
};

// groups: [{name: disks, rules: [...]}], as Prometheus has them.
inline constexpr RuleKey kGroupKeys[] = {
    {"name", "text", kMustBeGiven, "another one than other groups of the file",
     "How it is called in the API and in metrics."},
    {"interval", kDurationKey, "`pipeline.interval`", kNotNegative,
     "How often it is evaluated. Where it is less than "
     "`pipeline.interval` all collections are as often, but at most every 100 ms."},
    {"limit", "number", "0", "0 or more", "Most alerts or series of one rule; beyond it the rule fails. 0: no limit."},
    {"query_offset", kDurationKey, "0s", kNotNegative, "So much older are the samples that the rules see."},
    {"labels", kTextsKey, "", "1000 at most", "Labels for all that its rules make."},
    {"rules", "list", "", "", "Its rules, in the order in which they are evaluated."},
};
inline constexpr RuleKey kRuleKeys[] = {
    {"alert", "text", "this or `record`", "", "The name of an alert."},
    {"record", "text", "this or `alert`", "any name",
     "The name of a series that the rule makes; in /metrics other characters than those of metrics' names are `_`."},
    {"expr", "text", kMustBeGiven, "PromQL that gives a vector or a scalar",
     "What is evaluated; of an alert, each series of it is one."},
    {"for", kDurationKey, "0s", kNotNegative, "As in a threshold. Alerts only."},
    {"keep_firing_for", kDurationKey, "0s", kNotNegative, "As in a threshold. Alerts only."},
    {"labels", kTextsKey, "", "1000 at most", "Labels of the alert, where they may be templates, or of the series."},
    {"annotations", kTextsKey, "", "1000 at most", "Texts of the alert; may be templates. Alerts only."},
};
inline constexpr RuleKey kTopKeys[] = {
    {"groups", "list", "", "", "Rules in Prometheus' form."},
    {"thresholds", "list", "", "", "Alerts in the short form: each becomes a rule of the group `thresholds`."},
};

template <std::size_t N>
constexpr std::array<std::string_view, N> names_of(const RuleKey (&keys)[N]) {
  std::array<std::string_view, N> names;
  for (std::size_t i = 0; i < N; ++i) names[i] = keys[i].key;
  return names;
}

}  // namespace vitald
