// SPDX-License-Identifier: Apache-2.0
// The life of the alerts of one rule: inactive -> pending -> firing -> (keep_firing_for) -> resolved.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "rules/engine.h"
#include "rules/load/load.h"
#include "rules/promql/eval.h"

namespace vitald {

struct ActiveAlert {
  Alert alert;
  promql::Labels labels;             // the same as alert.labels, as the series have them
  std::int64_t active_boot_ms = 0;   // durations are measured on CLOCK_BOOTTIME
  std::int64_t absent_boot_ms = -1;  // firing, but the expression gives it no more; -1: it does
};

class AlertRule {
 public:
  // A resolved alert is shown (as inactive) and remembered for as long as Prometheus does.
  static constexpr std::int64_t kResolvedRetentionMs = 15 * 60'000;

  struct Now {
    std::int64_t boot_ms = 0, wall_ms = 0;
  };
  explicit AlertRule(const Rule& rule) : rule_(&rule) {}

  // One evaluation's result. An error when two results make one alert, or there are more than `limit`.
  Result<> update(const promql::Vector& result, Now now, std::size_t limit, const LabelMap& external_labels,
                  std::vector<AlertTransition>& transitions);
  // The rule failed or its alerts are too many: all are gone, the firing ones as resolved.
  void clear(Now now, std::vector<AlertTransition>& transitions);
  void adopt(AlertRule& old) { alerts_ = std::move(old.alerts_); }

  // Sorted by labels; those that are resolved too, as inactive.
  [[nodiscard]] const std::vector<ActiveAlert>& alerts() const { return alerts_; }
  [[nodiscard]] AlertState state() const;

 private:
  const Rule* rule_;
  std::vector<ActiveAlert> alerts_;
};

}  // namespace vitald
