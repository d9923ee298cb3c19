// SPDX-License-Identifier: Apache-2.0
// Calls that may take seconds or never return (statfs of a dead NFS server, a sensor behind a wedged I2C
// bus), made on threads of their own so that the caller never waits longer than it wants to. The owner of a
// call makes no second one before the first has returned, so a hang costs one thread and nothing else.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace vitald {

class HelperPool {
 public:
  class Call {
   public:
    // After this is true, everything the call wrote may be read.
    [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }
    // Then: whether an exception ended it.
    [[nodiscard]] bool failed() const { return failed_; }

   private:
    friend class HelperPool;
    bool failed_ = false;
    std::atomic<bool> done_{false};
  };
  using CallPtr = std::shared_ptr<Call>;

  // Threads are made when they are needed; `keep` of them stay when they have nothing to do.
  explicit HelperPool(std::size_t keep);
  // Does not wait for calls that hang: what `work` uses must belong to it.
  ~HelperPool();
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;

  // `work` must not throw.
  CallPtr submit(std::function<void()> work);
  // Returns when all are done, or after budget_ns.
  void wait(std::span<const CallPtr> calls, std::int64_t budget_ns);
  [[nodiscard]] std::size_t threads() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace vitald
