// SPDX-License-Identifier: Apache-2.0
// Kahan's summation as Neumaier improved it: a sum of many small and few large numbers keeps its small part.
#pragma once

#include <cmath>

namespace vitald::promql {

struct ExactSum {
  double sum = 0, rest = 0;
  void add(double v) {
    const double t = sum + v;
    if (std::isinf(t)) rest = 0;
    else if (std::abs(sum) >= std::abs(v)) rest += (sum - t) + v;
    else rest += (v - t) + sum;
    sum = t;
  }
  [[nodiscard]] double value() const { return sum + rest; }
};

}  // namespace vitald::promql
