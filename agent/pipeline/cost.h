// SPDX-License-Identifier: Apache-2.0
// How much CPU time a collector takes. Reading a thread's CPU time is a system call (680 ns on a virtual machine, 25
// times a read of the clock), so it is measured now and then and in between follows from the time that passed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/clock.h"

namespace vitald {

class Cost {
 public:
  // Before and after a run, on its thread. The first run is always measured.
  void begin(bool measure) {
    measures_ = measure || measured_wall_ns_ == 0;
    if (measures_) begin_cpu_ns_ = SystemClock::read(CLOCK_THREAD_CPUTIME_ID);
  }
  // What this run cost, in whole nanoseconds: their text is made in a fifth of the time.
  double end(double wall_ns) {
    if (measures_) {
      const auto cpu_ns = SystemClock::read(CLOCK_THREAD_CPUTIME_ID) - begin_cpu_ns_;
      measured_cpu_ns_ = 0.9 * measured_cpu_ns_ + static_cast<double>(cpu_ns);
      measured_wall_ns_ = 0.9 * measured_wall_ns_ + std::max(wall_ns, 1.0);
    }
    const auto cpu_ns = std::round(wall_ns * std::min(1.0, measured_cpu_ns_ / measured_wall_ns_));
    total_ns_ += cpu_ns;
    return cpu_ns;
  }
  // Of a run elsewhere, measured there.
  void add(double cpu_ns) { total_ns_ += cpu_ns; }
  [[nodiscard]] double total_ns() const { return total_ns_; }

 private:
  bool measures_ = false;
  std::int64_t begin_cpu_ns_ = 0;
  double total_ns_ = 0;
  // Of the rounds in which it was measured, the older ones fading out.
  double measured_cpu_ns_ = 0, measured_wall_ns_ = 0;
};

}  // namespace vitald
