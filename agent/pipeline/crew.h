// SPDX-License-Identifier: Apache-2.0
// The pipeline's threads. One leads: it runs the pipeline's loop. Another one stands by while the leader is busy, and
// leads from the moment the leader's step is overdue. One that comes back stands by from then on; none ends before
// stop(), because a worker process ends with the thread that started it.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

class Crew {
 public:
  // `lead(taken_over)` is the loop; it returns when stopping() is true or another thread leads. `take_over()` tries to
  // take from the leader what it is at; it must not block.
  Crew(std::function<void(bool taken_over)> lead, std::function<bool()> take_over);
  ~Crew();  // waits for all
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  Result<> start();
  // By the leader: from now on it may hang, or not.
  void set_busy(bool busy);
  [[nodiscard]] bool stopping() const;
  // False when a thread does not end in time; what wakes the leader is called between.
  bool stop(const std::function<void()>& wake, std::int64_t patience_ns);

 private:
  void run();
  bool hire() REQUIRES(mutex_);
  void end_lookout() REQUIRES(mutex_);

  const std::function<void(bool)> lead_;
  const std::function<bool()> take_over_;
  mutable Mutex mutex_;
  // Ticks while the leader is busy. A timer and not a condition: to start and to stop it wakes nobody, so that a step
  // that is not overdue, which is nearly each, costs no other thread its sleep.
  const Fd look_;
  CondVar ended_;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
  std::size_t alive_ GUARDED_BY(mutex_) = 0;
  std::size_t spare_ GUARDED_BY(mutex_) = 0;  // neither leads nor hangs
  bool leaderless_ GUARDED_BY(mutex_) = true;
  bool busy_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool told_ GUARDED_BY(mutex_) = false;
};

}  // namespace vitald
