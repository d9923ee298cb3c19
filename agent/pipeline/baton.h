// SPDX-License-Identifier: Apache-2.0
// Who does the pipeline's work just now: one thread at a time. It goes in steps that may hang (a collector's read); a
// step that has not come back in time costs its thread the baton, and another one goes on with the rest. The normal
// case pays two atomic writes a step for that.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "core/clock.h"
#include "core/mutex.h"

namespace vitald {

class Baton {
 public:
  // A thread that does not sleep is not stuck but has much to do or no CPU: it gets so many times as long.
  static constexpr std::int64_t kRunningFactor = 10;

  explicit Baton(const Clock& clock) : clock_(clock) {}

  // Neither waits. Whoever takes over brings to an end what the holder before was at, which finds out in leave().
  [[nodiscard]] bool try_take();
  [[nodiscard]] bool take_over();
  // Waits until it is given, or the holder's step is overdue. True when it was taken over.
  [[nodiscard]] bool take();
  void give();

  // By the holder, around what may hang: from `begin_ns` it may take `limit_ns`. In between only that step's own things
  // may be touched.
  using Ticket = std::uint64_t;
  Ticket enter(std::int64_t begin_ns, std::int64_t limit_ns);
  // False when it took so long that another thread is the holder now.
  [[nodiscard]] bool leave(Ticket ticket);

 private:
  const Clock& clock_;
  std::atomic<std::uint64_t> step_{0};  // odd: the holder is in it; whoever makes it even goes on as the holder
  std::atomic<std::int64_t> begin_ns_{0}, limit_ns_{0};
  std::atomic<pid_t> tid_{0};
  Mutex mutex_;
  CondVar given_;
  bool held_ GUARDED_BY(mutex_) = false;
};

}  // namespace vitald
