// SPDX-License-Identifier: Apache-2.0
// Joules that only grow, made of a raw counter that wraps, begins anew or is looked at too rarely.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace vitald {

// What became of a raw counter since it was last read.
enum class EnergyStep : std::uint8_t {
  first,    // the first reading: nothing is known of before
  grown,    // also through a wrap
  reset,    // it went back, or on, by more than can be: it began anew, and what was between is not known
  too_late  // it may have wrapped more than once meanwhile: what is counted is the least that it can have been
};

// Not thread-safe.
class EnergyCounter {
 public:
  // No processor, memory or board takes more for long. A raw counter that moved by more than this allows was not used
  // but set.
  static constexpr double kMostWatts = 1000;
  static constexpr double kMostPlatformWatts = 10'000;
  static constexpr double kMostGpuWatts = 2000;  // the largest boards of 2025 take 1400

  // `joules_per_unit` of the raw counter.
  explicit EnergyCounter(double joules_per_unit, double most_watts = kMostWatts)
      : joules_per_unit_(joules_per_unit), most_watts_(most_watts) {}

  struct Grown {
    EnergyStep step = EnergyStep::first;
    double joules = 0;  // since the reading before
  };
  // `range`: the counter goes from 0 to this and begins anew; 0 where that is not known, then it never wraps. `boot_ns`
  // by CLOCK_BOOTTIME: a suspended machine goes on using time.
  Grown feed(std::uint64_t raw, std::uint64_t range, std::int64_t boot_ns) {
    const auto before = std::exchange(before_, Reading{true, raw, boot_ns});
    if (!before.known) return {};
    const double seconds = std::max(0.0, static_cast<double>(boot_ns - before.boot_ns) / 1e9);
    // The hardware writes its counter once a millisecond or less often: what is read may be from a bit earlier.
    const double over_s = seconds + 0.1;
    const auto joules_of = [&](std::uint64_t units) { return static_cast<double>(units) * joules_per_unit_; };
    // By what it used last it would have come round in this time, maybe more than once. Since then it has counted at
    // least what it shows now, or what it shows more.
    if (range != 0 && watts_ * seconds > 0.8 * joules_of(range)) {
      const double least = joules_of(raw < before.raw ? raw : raw - before.raw);
      return least <= most_watts_ * over_s ? Grown{EnergyStep::too_late, least} : reset();
    }
    std::uint64_t units = raw - before.raw;
    double most_watts = most_watts_;
    if (raw < before.raw) {
      if (range == 0 || before.raw > range) return reset();
      units = range - before.raw + raw;
      // Is it a wrap, or did it begin anew? A wrap goes on about as fast as it went before.
      if (highest_watts_ > 0) most_watts = std::min(most_watts, 4 * highest_watts_ + 50);
    }
    const double joules = joules_of(units);
    if (joules > most_watts * over_s) return reset();
    if (seconds > 0) watts_ = joules / seconds;
    if (seconds >= 0.5) highest_watts_ = std::max(highest_watts_, watts_);
    return {EnergyStep::grown, joules};
  }
  // The next reading is the first one again.
  void forget() { before_ = {}, watts_ = 0; }

 private:
  Grown reset() {
    watts_ = 0;
    return {EnergyStep::reset, 0};
  }
  struct Reading {
    bool known = false;
    std::uint64_t raw = 0;
    std::int64_t boot_ns = 0;
  };
  double joules_per_unit_, most_watts_;
  Reading before_;
  double watts_ = 0;          // between the last two readings
  double highest_watts_ = 0;  // ever, over half a second or more
};

}  // namespace vitald
