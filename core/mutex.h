// SPDX-License-Identifier: Apache-2.0
// The lock of this program, in words that clang's thread-safety analysis reads: a member that is GUARDED_BY a mutex and
// touched without it does not compile in build/fuzz-check, which ./dev test builds. GCC sees std::mutex and no more.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#ifdef __clang__
#define VITALD_LOCKS(x) __attribute__((x))
#else
#define VITALD_LOCKS(x)
#endif
#define GUARDED_BY(mutex) VITALD_LOCKS(guarded_by(mutex))
#define REQUIRES(...) VITALD_LOCKS(requires_capability(__VA_ARGS__))  // the caller holds it; of lambdas, too
#define EXCLUDES(...) VITALD_LOCKS(locks_excluded(__VA_ARGS__))       // the caller must not hold it
#define ACQUIRE(...) VITALD_LOCKS(acquire_capability(__VA_ARGS__))
#define RELEASE(...) VITALD_LOCKS(release_capability(__VA_ARGS__))
#define UNCHECKED_LOCKS VITALD_LOCKS(no_thread_safety_analysis)  // with a reason beside it

namespace vitald {

class VITALD_LOCKS(capability("mutex")) Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  bool try_lock() VITALD_LOCKS(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// From here to the end of the block; between, unlock() and lock() as one likes.
class VITALD_LOCKS(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  // After a try_lock() that got it.
  MutexLock(Mutex& mutex, std::adopt_lock_t) REQUIRES(mutex) : lock_(mutex.mutex_, std::adopt_lock) {}
  ~MutexLock() RELEASE() {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() ACQUIRE() { lock_.lock(); }
  void unlock() RELEASE() { lock_.unlock(); }

 private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

// The other way round: where one is called with the lock, and does something long without it.
class VITALD_LOCKS(scoped_lockable) MutexUnlock {
 public:
  explicit MutexUnlock(Mutex& mutex) RELEASE(mutex) : mutex_(mutex) { mutex.unlock(); }
  ~MutexUnlock() RELEASE() UNCHECKED_LOCKS { mutex_.lock(); }  // "release" of the absence of the lock
  MutexUnlock(const MutexUnlock&) = delete;
  MutexUnlock& operator=(const MutexUnlock&) = delete;

 private:
  Mutex& mutex_;
};

// Conditions are lambdas that say REQUIRES(the mutex): they are called with it held, which the analysis cannot follow
// through std.
class CondVar {
 public:
  void wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  template <class Done>
  void wait(MutexLock& lock, Done done) UNCHECKED_LOCKS {
    condition_.wait(lock.lock_, done);
  }
  // False: the time is over.
  bool wait_for_ns(MutexLock& lock, std::int64_t ns) {
    return condition_.wait_for(lock.lock_, std::chrono::nanoseconds(ns)) == std::cv_status::no_timeout;
  }
  // False: the time is over, and it is not done.
  template <class Done>
  bool wait_for_ns(MutexLock& lock, std::int64_t ns, Done done) UNCHECKED_LOCKS {
    return condition_.wait_for(lock.lock_, std::chrono::nanoseconds(ns), done);
  }
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace vitald
