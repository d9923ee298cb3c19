// SPDX-License-Identifier: Apache-2.0
// How long to wait before trying again: twice as long each time, with a part by chance, so that a thousand hosts do
// not come back to a receiver in the same second.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

namespace vitald {

class Backoff {
 public:
  // A receiver that asks for more than an hour is not believed.
  static constexpr std::int64_t kMostWish = 3'600'000'000'000;

  Backoff(std::int64_t first_ns, std::int64_t most_ns, std::uint64_t seed)
      : first_ns_(first_ns), most_ns_(most_ns), next_ns_(first_ns), random_(seed) {}

  // Between a half and the whole of the wait; with a wish at least that and at most a tenth more.
  std::int64_t next(std::int64_t wish_ns = 0) {
    const auto wait = next_ns_;
    next_ns_ = std::min(most_ns_, next_ns_ > most_ns_ / 2 ? most_ns_ : next_ns_ * 2);
    if (wish_ns <= 0) return between(wait / 2, wait);
    const auto wish = std::min(wish_ns, kMostWish);
    return between(wish, wish + wish / 10);
  }
  void reset() { next_ns_ = first_ns_; }

 private:
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }

  std::int64_t first_ns_, most_ns_, next_ns_;
  std::minstd_rand random_;
};

}  // namespace vitald
