// SPDX-License-Identifier: Apache-2.0
// When numbers are too old to be shown as today's: by then no collection has ended for several intervals, however often
// somebody asked for one.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "core/snapshot.h"

namespace vitald {

class Freshness {
 public:
  // Of the agent's start: so long there need not be any numbers yet.
  explicit Freshness(std::int64_t since_boot_ns = 0) : since_boot_ns_(since_boot_ns) {}

  static constexpr std::int64_t kLeastNs = 30'000'000'000, kIntervals = 5;
  void set_interval(std::int64_t ns) { limit_ns_ = ns > kLeastNs / kIntervals ? ns * kIntervals : kLeastNs; }
  [[nodiscard]] std::int64_t limit_ns() const { return limit_ns_; }

  // How old the newest numbers are; none: since the start.
  [[nodiscard]] std::int64_t age_ns(const SnapshotPtr& latest, std::int64_t now_boot_ns) const {
    return now_boot_ns - (latest ? latest->boot_ns : since_boot_ns_);
  }
  [[nodiscard]] bool too_old(const SnapshotPtr& latest, std::int64_t now_boot_ns) const {
    return age_ns(latest, now_boot_ns) > limit_ns_;
  }
  // For a response: why there is nothing better.
  [[nodiscard]] std::string why(const SnapshotPtr& latest, std::int64_t now_boot_ns) const;

 private:
  std::int64_t since_boot_ns_;
  std::atomic<std::int64_t> limit_ns_{kLeastNs};
};

}  // namespace vitald
