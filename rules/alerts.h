// SPDX-License-Identifier: Apache-2.0
// The life of the alerts of one rule: inactive -> pending -> firing -> (keep_firing_for) -> resolved.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "rules/engine.h"
#include "rules/load/load.h"
#include "rules/promql/eval.h"

namespace vitald {

struct ActiveAlert {
  Alert alert;
  promql::Labels labels;                   // the same as alert.labels, as the series have them
  std::int64_t active_boot_ms = 0;         // durations are measured on CLOCK_BOOTTIME
  std::int64_t absent_boot_ms = kPresent;  // firing, but the expression gives it no more
  // After a restart the expression may give nothing because samples are missing: until then that ends nothing.
  std::int64_t hold_boot_ms = INT64_MIN;
  // Of what it waited before: the time of outages, in which nobody looked. Its begin, by which people know it, stays.
  std::int64_t not_counted_ms = 0;
  // As in ALERTS_FOR_STATE: since when it has been there without these.
  [[nodiscard]] std::int64_t for_state_ms() const { return alert.active_at_ms + not_counted_ms; }
  static constexpr std::int64_t kPresent = INT64_MIN;
};

// What a restart cost, and what it must not cost.
struct Outage {
  std::int64_t down_boot_ms = 0;  // the last evaluation before it
  std::int64_t grace_ms = 0;      // a pending alert with a `for` of this or more fires so long after it at the earliest
  std::int64_t hold_ms = 0;       // how long the expression may give nothing yet
};

class AlertRule {
 public:
  // A resolved alert is shown (as inactive) and remembered for as long as Prometheus does.
  static constexpr std::int64_t kResolvedRetentionMs = 15 * 60'000;

  struct Now {
    std::int64_t boot_ms = 0, wall_ms = 0;
  };
  explicit AlertRule(const Rule& rule) : rule_(&rule) {}

  // What the expression looks at, without its condition (measured.h); null: not known. Asked at most once in an
  // update, and only when an alert is over.
  using Measure = std::function<const promql::Vector*()>;

  // One evaluation's result. An error when two results make one alert, or when there are more than `limit` (0: any
  // number): then no alert changes and nothing is told.
  // `data`: what templates are expanded with, apart from labels, value and name.
  Result<> update(const promql::Vector& result, Now now, std::size_t limit, TemplateData data, const Measure& measure,
                  std::vector<AlertTransition>& transitions);
  // What most rules are nearly always: nothing is wrong and nothing was, so there is no need of an update().
  bool is_quiet(const promql::Vector& result) {
    if (!result.samples.empty() || !alerts_.empty()) return false;
    template_error_.clear();
    return true;
  }
  // The rule is gone: its alerts are, the firing ones as resolved.
  void clear(Now now, std::vector<AlertTransition>& transitions);
  // Goes on with the alerts of the rule that this one was before a reload.
  void adopt(AlertRule& old);

  // After a restart: goes on with the alerts of the rule that this one was in the run before, whose times are of this
  // boot already. What is pending has waited as long as before the outage.
  void restore(AlertRule& old, Now now, const Outage& outage);
  void set_alerts(std::vector<ActiveAlert> alerts);  // in any order

  // Sorted by labels; those that are resolved too, as inactive.
  [[nodiscard]] const std::vector<ActiveAlert>& alerts() const { return alerts_; }
  [[nodiscard]] AlertState state() const;
  // A label or annotation that could not be expanded in the last update; empty: none.
  [[nodiscard]] const std::string& template_error() const { return template_error_; }

 private:
  void succeed(std::vector<ActiveAlert>& found, const std::vector<std::size_t>& was, const std::vector<bool>& goes_on,
               Now now, std::vector<AlertTransition>& transitions);

  const Rule* rule_;
  std::vector<ActiveAlert> alerts_;
  // Labels that a reload has changed: the first update finds the alerts again by the other ones.
  std::set<std::string> edited_;
  std::string template_error_;
};

}  // namespace vitald
