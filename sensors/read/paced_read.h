// SPDX-License-Identifier: Apache-2.0
// A device that is read as a whole and may be slow or hang. Quick ones are read in place, every time. One
// that took longer than 50 ms is read by a helper and only every 10 s, one that took more than a second
// every 60 s; in between its last values stand. One that has not answered for 60 s has none any more. Nothing is known
// about a new one, so a helper reads it first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "sensors/read/helper_pool.h"

namespace vitald {

inline constexpr std::int64_t kMillisecond = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000'000'000;

constexpr std::int64_t pause_after_ns(std::int64_t read_ns) {
  if (read_ns <= 50 * kMillisecond) return 0;
  return read_ns <= kSecond ? 10 * kSecond : 60 * kSecond;
}

// Where the device paces attributes of its own that are slow, its Values tell by a member `paced_ns` what these took:
// they do not make the device a slow one, but it is left to helpers. One thread owns it; `read` runs on that thread or,
// between start() and settle(), on a helper.
template <class Values>
class PacedRead {
 public:
  using Read = std::function<void(Values&)>;
  using Now = std::int64_t (*)();
  // What was read before a read that does not return for so long is no value of now.
  static constexpr std::int64_t kGiveUpNs = 60 * kSecond;
  static std::int64_t boot_ns() { return SystemClock::read(CLOCK_BOOTTIME); }

  // `read` is called with the values of an earlier call or with a new Values. What it uses must belong to it.
  explicit PacedRead(Read read, Now now = boot_ns) : shared_(std::make_shared<Shared>()) {
    shared_->read = std::move(read);
    shared_->now = now;
  }

  // Reads if it is time: in place, or by a helper. Then pending() is what to wait for.
  void start(HelperPool& helpers, std::int64_t now_ns) {
    if (call_ || now_ns < due_ns_) return;
    started_ns_ = now_ns;
    if (quick_) {
      run(*shared_);
      take(now_ns);
    } else {
      call_ = helpers.submit([shared = shared_] { run(*shared); });
    }
  }
  [[nodiscard]] const HelperPool::CallPtr& pending() const { return call_; }
  void settle(std::int64_t now_ns) {
    if (call_ && call_->done()) take(now_ns);
  }

  // Of the last read that returned; null before there was one, and while one hangs.
  [[nodiscard]] const Values* values(std::int64_t now_ns) const {
    return have_ && !gave_up(now_ns) ? &values_ : nullptr;
  }
  [[nodiscard]] bool gave_up(std::int64_t now_ns) const { return waiting_ns(now_ns) > kGiveUpNs; }
  [[nodiscard]] std::int64_t read_ns() const { return read_ns_; }
  // How long the read in progress has been going on; 0 when there is none.
  [[nodiscard]] std::int64_t waiting_ns(std::int64_t now_ns) const { return call_ ? now_ns - started_ns_ : 0; }

 private:
  struct Shared {
    Read read;
    Now now = nullptr;
    Values fresh{};
    std::int64_t read_ns = 0;
  };
  static void run(Shared& shared) {
    const auto before = shared.now();
    shared.read(shared.fresh);
    shared.read_ns = shared.now() - before;
  }
  void take(std::int64_t now_ns) {
    call_.reset();
    std::swap(values_, shared_->fresh);
    have_ = true;
    read_ns_ = shared_->read_ns;
    std::int64_t paced_ns = 0;
    if constexpr (requires { values_.paced_ns; }) paced_ns = values_.paced_ns;
    // One that has a slow attribute is left to helpers, who wait for it when it is its time.
    has_slow_ = has_slow_ || paced_ns > 0;
    const auto pause_ns = pause_after_ns(read_ns_ - paced_ns);
    quick_ = pause_ns == 0 && !has_slow_;
    due_ns_ = now_ns + pause_ns;
  }

  std::shared_ptr<Shared> shared_;
  HelperPool::CallPtr call_;
  Values values_{};
  bool have_ = false, quick_ = false, has_slow_ = false;
  std::int64_t read_ns_ = 0, due_ns_ = 0, started_ns_ = 0;
};

// One collection: start() every device, wait() once, then look at the values.
class PacedRound {
 public:
  // Below the half second that the agent waits for a worker: what is not there by then comes next time.
  static constexpr std::int64_t kWaitNs = 300 * kMillisecond;
  // Longer ago than this, a read "does not return".
  static constexpr std::int64_t kPatienceNs = 3 * kSecond;

  PacedRound(HelperPool& helpers, std::int64_t now_ns) : helpers_(helpers), now_ns_(now_ns) {}

  template <class Values>
  void start(PacedRead<Values>& read) {
    read.settle(now_ns_);
    if (read.pending()) return;  // from an earlier round: it has been waited for
    read.start(helpers_, now_ns_);
    if (!read.pending()) return;
    calls_.push_back(read.pending());
  }
  void wait() {
    if (!calls_.empty()) helpers_.wait(calls_, kWaitNs);
  }

 private:
  HelperPool& helpers_;
  std::int64_t now_ns_;
  std::vector<HelperPool::CallPtr> calls_;
};

}  // namespace vitald
