// SPDX-License-Identifier: Apache-2.0
#include "rules/alerts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace vitald {

namespace {

// What cannot be expanded says so in its place, in Prometheus' words. The first such error is kept in `error`.
// An empty label is none; an annotation may be empty, as in Prometheus.
void expand(const TemplateMap& from, const char* what, const TemplateData& data, LabelMap& to, std::string& error,
            bool keep_empty) {
  for (const auto& [name, text] : from) {
    std::string value;
    if (text.plain()) {
      value = text.text();
    } else if (auto expanded = text.expand(data)) {
      value = std::move(*expanded);
    } else {
      value = fmt::format("<error expanding template: {}>", expanded.error().text);
      if (error.empty()) error = fmt::format("{} {}: {}", what, name, expanded.error().text);
    }
    if (keep_empty || !value.empty()) to[name] = std::move(value);
    else to.erase(name);
  }
}

promql::Labels as_labels(const LabelMap& map) { return promql::Labels({map.begin(), map.end()}); }

LabelMap as_map(const promql::Labels& labels) {
  LabelMap out;
  for (const auto& l : labels) out.emplace(l.name, l.value);
  return out;
}

// The labels that do not come from the rule (`names`), which tell one series of it from another.
LabelMap without(LabelMap labels, const std::set<std::string>& names) {
  std::erase_if(labels, [&](const auto& l) { return names.contains(l.first); });
  return labels;
}

std::set<std::string> label_names(const Rule& rule) {
  std::set<std::string> out{"alertname"};
  for (const auto& [name, text] : rule.labels) out.insert(name);
  return out;
}

// Where the wall clock was set back, an alert still ends after it began.
void resolve(ActiveAlert& a, AlertRule::Now now) {
  a.alert.state = AlertState::inactive;
  a.alert.resolved_at_ms = std::max({now.wall_ms, a.alert.active_at_ms, a.alert.fired_at_ms});
}

}  // namespace

Result<> AlertRule::update(const promql::Vector& result, Now now, std::size_t limit, TemplateData data,
                           const Measure& measure, std::vector<AlertTransition>& transitions) {
  if (is_quiet(result)) return {};
  template_error_.clear();
  data.name = rule_->name;

  std::vector<ActiveAlert> found;
  for (const auto& s : result.samples) {
    const auto data_labels = as_map(result.labels(s));
    data.labels = &data_labels;
    data.value = s.value;
    data.histogram = s.histogram > 0 && data.text_of_histogram ? data.text_of_histogram(s) : std::string();
    ActiveAlert a;
    a.alert.labels = data_labels;
    a.alert.labels.erase(std::string(promql::kMetricName));
    expand(rule_->labels, "label", data, a.alert.labels, template_error_, false);
    a.alert.labels["alertname"] = rule_->name;
    expand(rule_->annotations, "annotation", data, a.alert.annotations, template_error_, true);
    a.alert.state = AlertState::pending;
    a.alert.active_at_ms = now.wall_ms;
    a.active_boot_ms = now.boot_ms;
    a.alert.value = s.value;
    a.labels = as_labels(a.alert.labels);
    a.alert.fingerprint = a.labels.fingerprint();
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

  // Both sorted: which of the old ones each of the new ones was.
  constexpr auto kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> was(found.size(), kNone);
  std::vector<bool> goes_on(alerts_.size());
  for (std::size_t i = 0, o = 0; i < found.size() && o < alerts_.size();) {
    if (alerts_[o].labels == found[i].labels) goes_on[o] = true, was[i++] = o++;
    else if (alerts_[o].labels < found[i].labels) ++o;
    else ++i;
  }
  const auto is_held = [&](const ActiveAlert& a) {
    return a.alert.state != AlertState::inactive && now.boot_ms < a.hold_boot_ms;
  };
  const auto keeps = [&](const ActiveAlert& a) {
    if (is_held(a)) return true;
    return a.alert.state == AlertState::firing && rule_->keep_firing_for_ms > 0 &&
           now.boot_ms - (a.absent_boot_ms == ActiveAlert::kPresent ? now.boot_ms : a.absent_boot_ms) <
               rule_->keep_firing_for_ms;
  };

  // A limit is checked before anything changes.
  std::size_t active = found.size();
  for (std::size_t o = 0; o < alerts_.size(); ++o) active += !goes_on[o] && keeps(alerts_[o]);
  if (limit > 0 && active > limit)
    return fail(Errc::malformed,
                fmt::format("{} alerts, more than the group's limit of {}; they stay as they were", active, limit));

  if (!edited_.empty()) succeed(found, was, goes_on, now, transitions);

  std::vector<ActiveAlert> next;
  std::optional<std::vector<std::pair<LabelMap, const promql::Sample*>>> measured;
  const promql::Vector* values = nullptr;
  const auto take_new_value = [&](ActiveAlert& a) {
    const auto names = label_names(*rule_);
    if (!measured) {
      measured.emplace();
      if (measure) values = measure();
      if (values)
        for (const auto& s : values->samples) {
          auto labels = as_map(values->labels(s));
          labels.erase(std::string(promql::kMetricName));
          measured->emplace_back(without(std::move(labels), names), &s);
        }
    }
    const auto key = without(a.alert.labels, names);
    const promql::Sample* one = nullptr;
    for (const auto& [labels, s] : *measured)
      if (labels == key && std::exchange(one, s)) return;  // two: which one is not known
    if (!one) return;                                      // gone with its series: the last value stays
    a.alert.value = one->value;
    const auto data_labels = as_map(values->labels(*one));
    data.labels = &data_labels;
    data.value = one->value;
    data.histogram.clear();
    expand(rule_->annotations, "annotation", data, a.alert.annotations, template_error_, true);
  };
  const auto ended = [&](ActiveAlert& a) {
    if (is_held(a)) {
      next.push_back(std::move(a));
    } else if (a.alert.state == AlertState::firing) {
      if (a.absent_boot_ms == ActiveAlert::kPresent) a.absent_boot_ms = now.boot_ms;
      if (!keeps(a)) {
        resolve(a, now);
        a.absent_boot_ms = now.boot_ms;
        take_new_value(a);
        transitions.push_back({a.alert, false});
      }
      next.push_back(std::move(a));
    } else if (a.alert.state == AlertState::inactive && now.boot_ms - a.absent_boot_ms <= kResolvedRetentionMs) {
      next.push_back(std::move(a));
    }
  };
  std::size_t old = 0;
  const auto end_before = [&](const promql::Labels* labels) {
    for (; old < alerts_.size() && (!labels || alerts_[old].labels < *labels); ++old)
      if (!goes_on[old]) ended(alerts_[old]);
  };
  for (std::size_t i = 0; i < found.size(); ++i) {
    auto& a = found[i];
    end_before(&a.labels);
    if (was[i] != kNone && alerts_[was[i]].alert.state != AlertState::inactive) {
      auto& before = alerts_[was[i]];
      const auto value = a.alert.value;
      auto annotations = std::move(a.alert.annotations);
      a = std::move(before);
      a.alert.value = value;
      a.alert.annotations = std::move(annotations);
      a.absent_boot_ms = ActiveAlert::kPresent;
      a.hold_boot_ms = INT64_MIN;
    }
    if (a.alert.state == AlertState::pending && now.boot_ms - a.active_boot_ms >= rule_->for_ms) {
      a.alert.state = AlertState::firing;
      a.alert.fired_at_ms = std::max(now.wall_ms, a.alert.active_at_ms);
      transitions.push_back({a.alert, true});
    }
    next.push_back(std::move(a));
  }
  end_before(nullptr);
  alerts_ = std::move(next);
  return {};
}

// An alert whose labels the reload has changed is another one to whoever was told of it: that one is over. But the
// trouble is the same and as old, so the new one does not wait for `for` again.
void AlertRule::succeed(std::vector<ActiveAlert>& found, const std::vector<std::size_t>& was,
                        const std::vector<bool>& goes_on, Now now, std::vector<AlertTransition>& transitions) {
  std::map<LabelMap, std::pair<std::size_t, std::size_t>> old;  // how many, the last of them
  for (std::size_t o = 0; o < alerts_.size(); ++o)
    if (!goes_on[o] && alerts_[o].alert.state != AlertState::inactive) {
      auto& [count, at] = old[without(alerts_[o].alert.labels, edited_)];
      ++count, at = o;
    }
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (was[i] < alerts_.size()) continue;
    const auto at = old.find(without(found[i].alert.labels, edited_));
    if (at == old.end() || at->second.first != 1) continue;
    auto& before = alerts_[at->second.second];
    old.erase(at);
    auto& a = found[i];
    a.alert.active_at_ms = before.alert.active_at_ms;
    a.active_boot_ms = before.active_boot_ms;
    a.not_counted_ms = before.not_counted_ms;
    before.absent_boot_ms = now.boot_ms;
    if (before.alert.state != AlertState::firing) {
      before.alert.state = AlertState::inactive;
      continue;
    }
    before.alert.value = a.alert.value;
    resolve(before, now);
    transitions.push_back({before.alert, false});
    a.alert.state = AlertState::firing;
    a.alert.fired_at_ms = std::max(now.wall_ms, a.alert.active_at_ms);
    transitions.push_back({a.alert, true});
  }
  edited_.clear();
}

void AlertRule::adopt(AlertRule& old) {
  alerts_ = std::exchange(old.alerts_, {});
  edited_ = std::exchange(old.edited_, {});
  const auto texts = [](const Rule& rule) {
    std::map<std::string, std::string> out;
    for (const auto& [name, text] : rule.labels) out[name] = text.text();
    return out;
  };
  const auto before = texts(*old.rule_), after = texts(*rule_);
  if (before == after) return;
  for (const auto* side : {&before, &after})
    for (const auto& [name, text] : *side) edited_.insert(name);
}

void AlertRule::set_alerts(std::vector<ActiveAlert> alerts) {
  alerts_ = std::move(alerts);
  std::ranges::sort(alerts_, {}, &ActiveAlert::labels);
  const auto same = [](const ActiveAlert& a, const ActiveAlert& b) { return a.labels == b.labels; };
  alerts_.erase(std::unique(alerts_.begin(), alerts_.end(), same), alerts_.end());
}

// As Prometheus does it with ALERTS_FOR_STATE: the time it was down does not count, and what is about to fire is given
// some time to be seen to be over. Other than there one with a short `for` does not begin again, and what fired fires
// on.
void AlertRule::restore(AlertRule& old, Now now, const Outage& outage) {
  adopt(old);
  for (auto& a : alerts_) {
    if (a.absent_boot_ms == ActiveAlert::kPresent) a.hold_boot_ms = now.boot_ms + outage.hold_ms;
    if (a.alert.state != AlertState::pending) continue;
    auto left_ms = rule_->for_ms - (outage.down_boot_ms - a.active_boot_ms);
    if (left_ms <= 0) continue;
    if (rule_->for_ms >= outage.grace_ms) left_ms = std::max(left_ms, outage.grace_ms);
    a.active_boot_ms = now.boot_ms + left_ms - rule_->for_ms;
    a.not_counted_ms = now.wall_ms + left_ms - rule_->for_ms - a.alert.active_at_ms;
  }
}

void AlertRule::clear(Now now, std::vector<AlertTransition>& transitions) {
  for (auto& a : alerts_) {
    if (a.alert.state != AlertState::firing) continue;
    resolve(a, now);
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
