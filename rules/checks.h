// SPDX-License-Identifier: Apache-2.0
// Rackscope's checks on this host: evaluated with the rules, each object OK, WARN, CRIT or UNKNOWN.
//
// An object is what the check's identity label names; without a result of a check of scope node this host is UNKNOWN.
// NaN is OK, as there: no comparison fits it, but !=. `for` holds a change to WARN or CRIT back as Prometheus holds an
// alert: until it has lasted so long the object keeps the state that it had.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/metric.h"
#include "rules/load/rackscope.h"
#include "rules/promql/eval.h"

namespace vitald {

// What the API shows: copies.
struct CheckObjectView {
  std::string name;
  CheckState state = CheckState::unknown;
  std::optional<CheckState> pending;  // what it will be when it lasts
  std::optional<double> value;        // of the worst series
  std::int64_t since_ms = 0;          // wall time
};
struct CheckView {
  std::string id, name, kind, scope, expr, file, error;
  bool numeric = false;
  double for_s = 0;
  CheckState state = CheckState::ok;  // the worst of its objects
  std::vector<CheckObjectView> objects;
};
struct ChecksView {
  std::vector<CheckView> checks;
  std::vector<ShownMetric> metrics;
};

// By one thread, the judge's.
class Checks {
 public:
  // The source must outlive it. `instance`: how this host is called.
  Checks(CheckLibrary library, std::string instance, promql::SeriesSource& source, promql::Dialect dialect);
  ~Checks();
  Checks(const Checks&) = delete;
  Checks& operator=(const Checks&) = delete;

  void evaluate(std::int64_t boot_ms, std::int64_t wall_ms);
  // Goes on with the states of the checks that stayed, after a reload.
  void adopt(const Checks& old);

  // vitald_check_state and vitald_check_value of all objects: visit(descriptor, labels in its order, value).
  using Visit = std::function<void(const MetricDesc& desc, std::span<const std::string_view> labels, double value)>;
  void each_series(const Visit& visit) const;
  [[nodiscard]] std::shared_ptr<const ChecksView> view() const;
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] static std::span<const MetricDesc> metrics();

 private:
  struct Running;
  std::vector<std::unique_ptr<Running>> running_;
  CheckLibrary library_;  // what running_ points into
  std::string instance_;
};

}  // namespace vitald
