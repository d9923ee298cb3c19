// SPDX-License-Identifier: Apache-2.0
#include "rules/alerts.h"

#include <fmt/format.h>

#include <algorithm>

namespace vitald {

namespace {

void expand(const TemplateMap& from, const TemplateData& data, LabelMap& to) {
  for (const auto& [name, text] : from) {
    auto value = text.plain() ? text.text() : text.expand(data);
    if (!value.empty()) to[name] = std::move(value);
    else to.erase(name);
  }
}

promql::Labels as_labels(const LabelMap& map) { return promql::Labels({map.begin(), map.end()}); }

}  // namespace

Result<> AlertRule::update(const promql::Vector& result, Now now, std::size_t limit, const LabelMap& external_labels,
                           std::vector<AlertTransition>& transitions) {
  if (result.samples.empty() && alerts_.empty()) return {};

  std::vector<ActiveAlert> found;
  for (const auto& s : result.samples) {
    LabelMap data_labels;
    for (const auto& l : result.labels(s)) data_labels.emplace(l.name, l.value);
    const TemplateData data{&data_labels, &external_labels, s.value};
    ActiveAlert a;
    a.alert.labels = data_labels;
    a.alert.labels.erase(std::string(promql::kMetricName));
    expand(rule_->labels, data, a.alert.labels);
    a.alert.labels["alertname"] = rule_->name;
    expand(rule_->annotations, data, a.alert.annotations);
    a.alert.state = AlertState::pending;
    a.alert.active_at_ms = now.wall_ms;
    a.active_boot_ms = now.boot_ms;
    a.alert.value = s.value;
    a.labels = as_labels(a.alert.labels);
    a.alert.fingerprint = promql::Labels::Hash{}(a.labels);
    found.push_back(std::move(a));
  }
  std::ranges::sort(found, {}, &ActiveAlert::labels);
  const auto twin = std::ranges::adjacent_find(found, {}, &ActiveAlert::labels);
  if (twin != found.end()) {
    return fail(Errc::malformed,
                fmt::format("two results make the same alert {}: the rule's labels or its expression hide "
                            "what tells them apart",
                            twin->labels.text()));
  }

  // Both sorted: what is in both goes on, what is only old has ended.
  std::vector<ActiveAlert> next;
  auto old = alerts_.begin();
  const auto ended = [&](ActiveAlert& a) {
    if (a.alert.state == AlertState::firing) {
      if (a.absent_boot_ms < 0) a.absent_boot_ms = now.boot_ms;
      if (rule_->keep_firing_for_ms > 0 && now.boot_ms - a.absent_boot_ms < rule_->keep_firing_for_ms) {
        next.push_back(std::move(a));
        return;
      }
      a.alert.state = AlertState::inactive;
      a.alert.resolved_at_ms = now.wall_ms;
      a.absent_boot_ms = now.boot_ms;
      transitions.push_back({a.alert, false});
      next.push_back(std::move(a));
    } else if (a.alert.state == AlertState::inactive && now.boot_ms - a.absent_boot_ms <= kResolvedRetentionMs) {
      next.push_back(std::move(a));
    }
  };
  for (auto& a : found) {
    while (old != alerts_.end() && old->labels < a.labels) ended(*old++);
    if (old != alerts_.end() && old->labels == a.labels) {
      if (old->alert.state != AlertState::inactive) {
        const auto value = a.alert.value;
        auto annotations = std::move(a.alert.annotations);
        a = std::move(*old);
        a.alert.value = value;
        a.alert.annotations = std::move(annotations);
        a.absent_boot_ms = -1;
      }
      ++old;
    }
    if (a.alert.state == AlertState::pending && now.boot_ms - a.active_boot_ms >= rule_->for_ms) {
      a.alert.state = AlertState::firing;
      a.alert.fired_at_ms = now.wall_ms;
      transitions.push_back({a.alert, true});
    }
    next.push_back(std::move(a));
  }
  while (old != alerts_.end()) ended(*old++);
  alerts_ = std::move(next);

  const auto active = static_cast<std::size_t>(
      std::ranges::count_if(alerts_, [](const ActiveAlert& a) { return a.alert.state != AlertState::inactive; }));
  if (limit > 0 && active > limit) {
    clear(now, transitions);
    return fail(Errc::malformed, fmt::format("{} alerts, more than the group's limit of {}", active, limit));
  }
  return {};
}

void AlertRule::clear(Now now, std::vector<AlertTransition>& transitions) {
  for (auto& a : alerts_) {
    if (a.alert.state != AlertState::firing) continue;
    a.alert.state = AlertState::inactive;
    a.alert.resolved_at_ms = now.wall_ms;
    transitions.push_back({a.alert, false});
  }
  alerts_.clear();
}

AlertState AlertRule::state() const {
  AlertState s = AlertState::inactive;
  for (const auto& a : alerts_) s = std::max(s, a.alert.state);
  return s;
}

}  // namespace vitald
