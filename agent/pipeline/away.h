// SPDX-License-Identifier: Apache-2.0
// Threads that are away with something of the pipeline's and cannot be called back: how many, and waiting for them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace vitald {

// Thread-safe.
class Away {
 public:
  void went() { add(1); }
  void came_back() { add(-1); }  // it may be counted before its went()
  [[nodiscard]] int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  bool wait_for_none(std::int64_t patience_ns) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::nanoseconds(patience_ns), [this] { return count_ == 0; });
  }

 private:
  void add(int n) {
    const std::lock_guard lock(mutex_);
    count_ += n;
    changed_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;  // guarded by mutex_
};

}  // namespace vitald
