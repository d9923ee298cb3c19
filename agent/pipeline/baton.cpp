// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/baton.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "core/check.h"
#include "core/os/kernel_file.h"

namespace vitald {
namespace {

constexpr std::int64_t kLookNs = 20'000'000;

// "12 (http-0) S 1 ...": S and D wait for something, R would go on if it had a CPU. The agent's own /proc, wherever
// the collectors look.
bool runs(pid_t tid) {
  const auto stat = read_kernel_file(fmt::format("/proc/self/task/{}/stat", tid));
  if (!stat) return false;
  const auto name_end = stat->rfind(") ");
  return name_end != std::string::npos && stat->size() > name_end + 2 && (*stat)[name_end + 2] == 'R';
}

}  // namespace

bool Baton::try_take() {
  const MutexLock lock(mutex_);
  return !std::exchange(held_, true);
}

bool Baton::take() {
  for (;;) {
    if (try_take()) return false;
    if (take_over()) return true;
    MutexLock lock(mutex_);
    if (held_) given_.wait_for_ns(lock, kLookNs);
  }
}

void Baton::give() {
  const MutexLock lock(mutex_);
  check(held_ && step_.load(std::memory_order_relaxed) % 2 == 0, "the baton is given by who holds it, between steps");
  held_ = false;
  given_.notify_one();
}

Baton::Ticket Baton::enter(std::int64_t begin_ns, std::int64_t limit_ns) {
  static thread_local const pid_t tid = gettid();
  begin_ns_.store(begin_ns, std::memory_order_relaxed);
  limit_ns_.store(limit_ns, std::memory_order_relaxed);
  tid_.store(tid, std::memory_order_relaxed);
  const auto ticket = step_.load(std::memory_order_relaxed) + 1;
  step_.store(ticket, std::memory_order_release);
  return ticket;
}

bool Baton::leave(Ticket ticket) {
  return step_.compare_exchange_strong(ticket, ticket + 1, std::memory_order_acq_rel);
}

bool Baton::take_over() {
  auto step = step_.load(std::memory_order_acquire);
  if (step % 2 == 0) return false;
  const auto limit_ns = limit_ns_.load(std::memory_order_relaxed);
  const auto waited_ns = clock_.boot_ns() - begin_ns_.load(std::memory_order_relaxed);
  if (waited_ns < limit_ns) return false;
  if (waited_ns < kRunningFactor * limit_ns && runs(tid_.load(std::memory_order_relaxed))) return false;
  // Fails when that step ended meanwhile, also when the next one has begun.
  return step_.compare_exchange_strong(step, step + 1, std::memory_order_acq_rel);
}

}  // namespace vitald
