// SPDX-License-Identifier: Apache-2.0
#include "agent/http/shortage.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "core/os/descriptors.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// So long there must have been descriptors again before files are kept open again.
constexpr std::int64_t kShortNs = 10 * kSecond;
constexpr int kNone = std::numeric_limits<int>::max();

}  // namespace

Shortage::Look Shortage::look(std::int64_t now, bool suspicious) {
  if (!stalled_ && !suspicious && now < look_again_boot_ns_) return Look::fine;
  look_again_boot_ns_ = now + kSecond;
  if (stalled_) return Look::lasts;
  if (next_descriptor() != kNone) {
    if (kept_below_ && now - short_boot_ns_ > kShortNs) keep_descriptors_again();
    return Look::fine;
  }
  short_boot_ns_ = now;
  if (!kept_below_) kept_below_ = descriptors_kept_below();
  keep_descriptors_below(0);
  return Look::begins;
}

bool Shortage::goes_on(bool stalled) { return stalled_ = stalled || next_descriptor() == kNone; }

void Shortage::keep_descriptors_again() {
  rlimit limit{};  // it may have been lowered
  const bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0;
  const auto two_thirds = known ? std::min<rlim_t>(limit.rlim_cur, 1 << 20) / 3 * 2 : 0;
  keep_descriptors_below(std::min(*kept_below_, static_cast<int>(two_thirds)));
  kept_below_.reset();
}

}  // namespace vitald
