// SPDX-License-Identifier: Apache-2.0
// The numbers of events as clients see them. The log numbers from 1 in each run; to them is added when this run began,
// in microseconds, so that who comes back with a number of an earlier run gets all that this one has, and not what
// happens to lie behind the same number.
#pragma once

#include <cstdint>

#include "core/event.h"

namespace vitald {

class EventNumbers {
 public:
  EventNumbers() = default;
  // Below 2^53 until the year 2255, which is all that JSON's readers are sure to take.
  explicit EventNumbers(std::int64_t begin_wall_ns)
      : before_first_(begin_wall_ns > 0 ? static_cast<std::uint64_t>(begin_wall_ns) / 1000 : 0) {}

  [[nodiscard]] std::uint64_t shown(std::uint64_t sequence) const { return before_first_ + sequence; }
  // What in the log comes after the event that a client saw last. A number from the future is one of a run whose clock
  // was ahead.
  [[nodiscard]] std::uint64_t after(std::uint64_t seen, std::uint64_t newest) const {
    return seen <= before_first_ || seen - before_first_ > newest ? 0 : seen - before_first_;
  }

 private:
  std::uint64_t before_first_ = 0;
};

}  // namespace vitald
