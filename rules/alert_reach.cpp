// SPDX-License-Identifier: Apache-2.0
#include "rules/alert_reach.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "rules/engine.h"
#include "rules/promql/labels.h"
#include "rules/promql/walk.h"

namespace vitald {
namespace {

constexpr std::string_view kNameLabel = "alertname";
constexpr std::size_t kMostValues = 5;  // that are shown

// A call or an aggregation that makes labels of its own.
bool makes_labels(const promql::Expr& e) {
  if (e.kind == promql::Kind::call) {
    const auto& name = static_cast<const promql::Call&>(e).name;
    if (name.starts_with("label_") || name.starts_with("absent") || name == "info") return true;
  }
  if (e.kind == promql::Kind::aggregate &&
      static_cast<const promql::Aggregate&>(e).op == promql::AggregateOp::count_values)
    return true;
  bool found = false;
  promql::each_part(e, [&](const promql::Expr& part) { found = found || makes_labels(part); });
  return found;
}

std::string one(const promql::Matcher& matcher) {
  auto text = matchers_text({matcher});
  if (text.starts_with('{') && text.ends_with('}')) text = text.substr(1, text.size() - 2);
  return text;
}

}  // namespace

AlertReach::AlertReach(std::span<const RuleGroup> groups, std::span<const KnownFamily> families,
                       const LabelMap& series_labels) {
  std::map<std::string_view, std::vector<std::string_view>> labels_of;
  for (const auto& f : families)
    if (f.name.find('*') == f.name.npos && !f.name.starts_with("ALERTS")) labels_of[f.name].push_back(f.labels);
  const auto family_of = [&](std::string_view name) {
    auto at = labels_of.find(name);
    for (const std::string_view suffix : {"_bucket", "_sum", "_count"})
      if (at == labels_of.end() && name.ends_with(suffix))
        at = labels_of.find(name.substr(0, name.size() - suffix.size()));
    return at;
  };
  for (const auto& g : groups)
    for (const auto& r : g.rules) {
      if (!r.alert) continue;
      auto& alert = alerts_.emplace_back();
      alert.name = r.name;
      for (const auto& [name, text] : r.labels)
        alert.given[name] = text.plain() ? std::optional(text.text()) : std::nullopt;
      for (const auto& [name, value] : series_labels) alert.others.insert(name);
      alert.others.insert({"le", "quantile"});
      alert.any = !r.expr || makes_labels(*r.expr);
      if (alert.any) continue;
      promql::each_selector(*r.expr, [&](const promql::Selector& s) {
        auto known = labels_of.end();
        for (const auto& m : s.matchers)
          if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal && m.value.starts_with("ALERTS")) {
            alert.of_alerts = true;
            return;
          }
        for (const auto& m : s.matchers)
          if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal) known = family_of(m.value);
        if (known == labels_of.end()) {
          alert.any = true;
          return;
        }
        for (auto names : known->second)
          while (!names.empty()) alert.others.emplace(take_until(names, ','));
        if (alert.others.contains("*")) alert.any = true;  // a device says of itself what it likes
      });
    }
}

AlertReach::AlertReach(const RulesView& view) {
  for (const auto& g : view.groups)
    for (const auto& r : g.rules) {
      if (!r.declared->alerting) continue;
      auto& alert = alerts_.emplace_back();
      alert.name = r.declared->name;
      alert.any = true;
      for (const auto& [name, text] : r.declared->labels)
        alert.given[name] = text.find("{{") == std::string::npos ? std::optional(text) : std::nullopt;
    }
}

bool AlertReach::may_fit(const AlertShape& alert, const promql::Matcher& matcher, const LabelMap& external) const {
  if (matcher.name == kNameLabel) return matcher.matches(alert.name);
  const auto given = alert.given.find(matcher.name);
  if (given != alert.given.end()) {
    if (!given->second) return true;
    if (!given->second->empty()) return matcher.matches(*given->second);
  }
  if (alert.of_alerts && std::ranges::any_of(alerts_, [&](const auto& other) {
        return !other.of_alerts && may_fit(other, matcher, external);
      }))
    return true;
  const auto own = external.find(matcher.name);  // the alert's wins
  if (own != external.end()) return matcher.matches(own->second) || alert.any || alert.others.contains(matcher.name);
  if (given != alert.given.end()) return matcher.matches("");  // an empty one is none
  return alert.any || alert.others.contains(matcher.name) || matcher.matches("");
}

std::string AlertReach::problem(const Matchers& matchers, const LabelMap& external) const {
  const auto fits_one = [&](const promql::Matcher& m) {
    return std::ranges::any_of(alerts_, [&](const auto& alert) { return may_fit(alert, m, external); });
  };
  if (empty()) return "no rule alerts";
  if (std::ranges::any_of(alerts_, [&](const auto& alert) {
        return std::ranges::all_of(matchers, [&](const auto& m) { return may_fit(alert, m, external); });
      }))
    return {};
  for (const auto& m : matchers)
    if (!fits_one(m)) return fmt::format("no alert of any rule has {}{}", one(m), hint(m, external));
  return fmt::format("no alert of any rule has all of {}", matchers_text(matchers));
}

// What they have in its place.
std::string AlertReach::hint(const promql::Matcher& matcher, const LabelMap& external) const {
  std::set<std::string_view> values;
  if (const auto at = external.find(matcher.name); at != external.end()) values.insert(at->second);
  for (const auto& alert : alerts_) {
    if (matcher.name == kNameLabel) values.insert(alert.name);
    if (const auto at = alert.given.find(matcher.name); at != alert.given.end() && at->second)
      values.insert(*at->second);
  }
  const std::vector<std::string_view> all(values.begin(), values.end());
  if (all.empty()) return ": none has this label";
  if (matcher.op == promql::MatchOp::equal)
    if (const auto near = closest(matcher.value, all); !near.empty()) return fmt::format(", did you mean '{}'?", near);
  if (matcher.name == kNameLabel || all.size() > kMostValues) return {};
  return fmt::format(": there it is {}", fmt::join(all, " or "));
}

}  // namespace vitald
