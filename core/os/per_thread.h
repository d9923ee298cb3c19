// SPDX-License-Identifier: Apache-2.0
// One T for each thread that asks. As `thread_local T`, but for want of memory: to have a destructor run at a thread's
// end glibc needs some, and aborts where there is none.
#pragma once

#include <pthread.h>

#include <memory>
#include <new>

#include "core/check.h"

namespace vitald {

// To be a static variable: it is never taken away.
template <class T>
class PerThread {
 public:
  PerThread() {
    const auto end = [](void* mine) { delete static_cast<T*>(mine); };
    check(pthread_key_create(&key_, end) == 0, "there are 1024 keys for what threads have of their own");
  }
  // Throws std::bad_alloc.
  T& mine() const {
    if (auto* had = pthread_getspecific(key_)) return *static_cast<T*>(had);
    auto made = std::make_unique<T>();
    if (pthread_setspecific(key_, made.get()) != 0) throw std::bad_alloc();
    return *made.release();
  }

 private:
  pthread_key_t key_;
};

}  // namespace vitald
