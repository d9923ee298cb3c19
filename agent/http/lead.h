// SPDX-License-Identifier: Apache-2.0
// Two threads for one loop. The one that leads runs the loop, and work in it that may never end; should that take too
// long, the other one leads from then on, and the first finds out when it comes back.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

class Lead {
 public:
  // `serve` is the loop: it returns when stopping() is true or when try_work() says that another thread leads.
  explicit Lead(std::function<void(int me)> serve);
  Lead(const Lead&) = delete;
  Lead& operator=(const Lead&) = delete;

  Result<> start();
  void end();  // stopping() is true from now on; the loop is to be woken after it
  // After end(). False when a thread hangs and cannot be joined; everything it may touch must then outlive it.
  bool join(std::int64_t patience_ns);
  void detach();
  [[nodiscard]] bool stopping() const { return stopping_.load(); }

  // On the leading thread `me`. Nothing when `work` took so long that the other thread leads now: this one must not
  // touch anything of the loop any more.
  std::optional<bool> try_work(int me, const std::function<bool()>& work);

 private:
  void run(int me);
  bool leads(int me);
  void guard(int me);
  void alarm(std::int64_t after_ns) const;

  std::function<void(int)> serve_;
  Fd overdue_;  // timerfd
  Fd ending_;   // eventfd; stays readable
  Mutex mutex_;
  int leader_ GUARDED_BY(mutex_) = 0;        // which of the two runs the loop
  bool working_ GUARDED_BY(mutex_) = false;  // it is inside try_work()
  std::size_t alive_ GUARDED_BY(mutex_) = 0;
  CondVar ended_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace vitald
