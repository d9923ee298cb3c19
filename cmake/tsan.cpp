// SPDX-License-Identifier: Apache-2.0
// What GCC 12's ThreadSanitizer does not know of the C library (the preset `tsan` links this into every program). How
// std::timed_mutex waits by the steady clock is such a function: it saw only the unlock, called it one of an unlocked
// mutex, and what the mutex guards a race. It knows the one that waits by the wall clock, which does for a test.
#include <pthread.h>

#include <cstdint>
#include <ctime>

extern "C" int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* until) noexcept {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const auto ns = [](const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; };
  timespec now{}, wall{};
  if (const auto error = clock_gettime(clock, &now); error != 0) return error;
  clock_gettime(CLOCK_REALTIME, &wall);
  const auto end = ns(wall) + ns(*until) - ns(now);
  const timespec wall_until{end / kSecond, end % kSecond};
  return pthread_mutex_timedlock(mutex, &wall_until);
}
