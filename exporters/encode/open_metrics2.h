// SPDX-License-Identifier: Apache-2.0
// Snapshot -> OpenMetrics 2.0 (https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/): names as they are, a line a
// histogram or summary, native buckets beside the classic ones, the time since when it counts in the line, exemplars.
#pragma once

#include <memory>
#include <string>

#include "core/snapshot.h"

namespace vitald {

// Keeps the order and all that is no number; where series come or go only theirs is made or dropped. Not thread-safe.
class OpenMetrics2 {
 public:
  OpenMetrics2();
  ~OpenMetrics2();
  OpenMetrics2(OpenMetrics2&&) noexcept;
  OpenMetrics2& operator=(OpenMetrics2&&) noexcept;

  // Families by name, series by their label values, as in the other formats. What the format has no word for is left
  // out: a counter, sum or count of a summary that is NaN or below 0.
  void encode(const Snapshot& snapshot, std::string& out);

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace vitald
