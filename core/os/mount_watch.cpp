// SPDX-License-Identifier: Apache-2.0
#include "core/os/mount_watch.h"

#include <fcntl.h>
#include <poll.h>

#include <atomic>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/os/fd.h"

namespace vitald {
namespace {

class MountWatch {
 public:
  // Without a /proc of the kernel's there is nothing to listen to, and nothing is ever announced.
  MountWatch() : fd_(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {}

  std::uint64_t changes() {
    const auto now_ns = SystemClock::read(CLOCK_MONOTONIC_COARSE);
    if (looked_ns_.load(std::memory_order_relaxed) == now_ns) return changes_.load(std::memory_order_acquire);
    const MutexLock lock(mutex_);
    looked_ns_.store(now_ns, std::memory_order_relaxed);
    pollfd p{fd_.get(), POLLPRI, 0};  // mounts_poll, fs/proc_namespace.c
    if (fd_ && ::poll(&p, 1, 0) > 0) changes_.fetch_add(1, std::memory_order_release);
    return changes_.load(std::memory_order_acquire);
  }

 private:
  Mutex mutex_;  // of the poll, which answers each change once
  const Fd fd_;
  std::atomic<std::int64_t> looked_ns_{0};
  std::atomic<std::uint64_t> changes_{1};
};

}  // namespace

std::uint64_t mount_changes() {
  static MountWatch watch;
  return watch.changes();
}

}  // namespace vitald
