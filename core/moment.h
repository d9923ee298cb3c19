// SPDX-License-Identifier: Apache-2.0
// A point in time that another run of vitald, maybe after a reboot, can make sense of.
#pragma once

#include <cstdint>
#include <string>

#include "core/host.h"

namespace vitald {

struct Moment {
  std::string boot_id;  // the kernel's, new with each boot; empty: not known
  std::int64_t boot_ms = 0, wall_ms = 0;

  // What to add to boot times of `then` to make them ours. Within one boot they are the same, however the wall clock
  // was set meanwhile; of an earlier one only wall time says how long ago something was.
  [[nodiscard]] std::int64_t shift_from(const Moment& then) const {
    return same_boot(then) ? 0 : (then.wall_ms - then.boot_ms) - (wall_ms - boot_ms);
  }
  [[nodiscard]] bool same_boot(const Moment& then) const { return !boot_id.empty() && boot_id == then.boot_id; }
};

Moment moment_of(const Host& host);

// Of a number in a file: far from where sums overflow, and exact as a double.
inline bool is_time_ms(std::int64_t ms) {
  constexpr std::int64_t kMost = std::int64_t{1} << 52;
  return ms > -kMost && ms < kMost;
}

}  // namespace vitald
