// SPDX-License-Identifier: Apache-2.0
// Threads that are away with something of the pipeline's and cannot be called back: how many, and waiting for them.
#pragma once

#include <cstdint>

#include "core/mutex.h"

namespace vitald {

// Thread-safe.
class Away {
 public:
  void went() { add(1); }
  void came_back() { add(-1); }  // it may be counted before its went()
  [[nodiscard]] int count() const {
    const MutexLock lock(mutex_);
    return count_;
  }
  bool wait_for_none(std::int64_t patience_ns) {
    MutexLock lock(mutex_);
    return changed_.wait_for_ns(lock, patience_ns, [this]() REQUIRES(mutex_) { return count_ == 0; });
  }

 private:
  void add(int n) {
    const MutexLock lock(mutex_);
    count_ += n;
    changed_.notify_all();
  }
  mutable Mutex mutex_;
  CondVar changed_;
  int count_ GUARDED_BY(mutex_) = 0;
};

}  // namespace vitald
