// SPDX-License-Identifier: Apache-2.0
// What all probes may cost together, held: host.shared<ProbeBudget>(). Each tells what its programs have taken, and is
// told whether it is to be on. Beyond the limit those that are least important go first; when there is room again they
// come back, later each time they did not fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/host.h"
#include "core/mutex.h"

namespace vitald {

// Any thread.
class ProbeBudget {
 public:
  explicit ProbeBudget(const Host&) {}

  // Of one CPU, 1 is all of it; 0: no limit. Another one than before gives those that are off another chance.
  void set_limit(double cpus);

  // A program that is in several probes has one key.
  struct Program {
    const void* key;
    double seconds;  // that it has taken since the probe began
  };
  // What a probe's programs have taken by now; true when it is to be on. `rank`: the highest goes first.
  bool look(std::string_view probe, std::uint8_t rank, std::span<const Program> programs, std::int64_t now_ns);
  void forget(std::string_view probe);

 private:
  struct Probe {
    std::uint8_t rank = 0;
    bool on = true;
    std::vector<const void*> programs;
    std::int64_t since_ns = 0;  // when it was turned on or off
    std::int64_t wait_ns = 0;   // how long it stays off
  };
  struct Cost {
    std::string teller;                      // the one of its probes that counts
    double seconds = 0, before = 0;          // now; when the window began
    std::int64_t told_ns = 0, began_ns = 0;  // when that was
    double rate = 0, peak = 0;               // of the last whole window; of the one that goes on
    std::ptrdiff_t users = 0;                // probes that are on and have it
  };
  using Rate = double Cost::*;
  [[nodiscard]] Cost& cost_of(const void* key) REQUIRES(mutex_);  // made when there is none
  static bool tell(Cost& cost, double seconds, std::int64_t now_ns);
  void count_users() REQUIRES(mutex_);
  void forget_unused() REQUIRES(mutex_);  // programs that no probe has
  void judge(std::int64_t now_ns) REQUIRES(mutex_);
  bool shed(Rate rate, std::int64_t now_ns) REQUIRES(mutex_);
  bool bring_back(std::int64_t now_ns) REQUIRES(mutex_);
  [[nodiscard]] double all(Rate rate) const REQUIRES(mutex_);
  // Its programs, and its part of those that it shares with others that are on.
  [[nodiscard]] double part_of(const Probe& probe, Rate rate) const REQUIRES(mutex_);

  Mutex mutex_;
  double limit_ GUARDED_BY(mutex_) = 0;
  bool changed_ GUARDED_BY(mutex_) = false;
  std::int64_t decided_ns_ GUARDED_BY(mutex_) = 0;
  // Few, and every probe has all of them added up in every collection: side by side, not a node here and there.
  std::vector<std::pair<std::string, Probe>> probes_ GUARDED_BY(mutex_);  // sorted by name
  std::vector<std::pair<const void*, Cost>> costs_ GUARDED_BY(mutex_);
};

}  // namespace vitald
