// SPDX-License-Identifier: Apache-2.0
// The series of one destination with the numbers that it is sent: the last ones, or of gauges the average or the
// highest of all snapshots since the last push.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "exporters/encode/series_table.h"
#include "exporters/push/push.h"

namespace vitald {

// Not thread-safe.
class PushTable {
 public:
  PushTable(SeriesTable::Settings settings, PushAggregate aggregate);

  // A snapshot between two pushes; only where something is made of all of them.
  void observe(const Snapshot& snapshot);
  // The one that is pushed.
  void look(const Snapshot& snapshot);
  [[nodiscard]] const SeriesTable& series() const { return table_; }
  // Beside series().rows().
  [[nodiscard]] std::span<const double> values() const { return values_; }
  // That were in the last push or since, and are not there now.
  [[nodiscard]] std::span<const GoneSeries> gone() const { return gone_; }

 private:
  struct Sum {
    double value = 0;  // of the numbers so far, or the highest
    std::uint32_t count = 0;
  };
  void update(const Snapshot& snapshot);
  void add(std::size_t row, Sum& sum) const;

  SeriesTable table_;
  const PushAggregate aggregate_;
  std::vector<double> values_;
  std::vector<Sum> sums_;  // beside the rows
  std::vector<GoneSeries> gone_;
  bool looked_ = false;  // the last snapshot was one that was pushed
};

}  // namespace vitald
