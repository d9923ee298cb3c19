// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/crew.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <exception>
#include <utility>

#include "core/log.h"

namespace vitald {
namespace {

// How often somebody looks whether a busy leader is overdue.
constexpr timespec kLook{0, 50'000'000};

}  // namespace

Crew::Crew(std::function<void(bool)> lead, std::function<bool()> take_over)
    : lead_(std::move(lead)), take_over_(std::move(take_over)), look_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {}

Crew::~Crew() {
  {
    const MutexLock lock(mutex_);
    end_lookout();
  }
  for (auto& thread : threads_) thread.join();
}

Result<> Crew::start() {
  if (!look_) return fail(from_errno("timerfd_create", EMFILE));
  MutexLock lock(mutex_);
  if (!hire()) return fail(Errc::io, "no thread to collect with: TasksMax= of the unit or ulimit -u is too low");
  hire();  // without it everything works that does not hang
  return {};
}

bool Crew::hire() {
  if (stopping_) return false;
  try {
    threads_.emplace_back([this] { run(); });
    ++alive_, ++spare_;
    told_ = false;
  } catch (const std::exception& e) {
    if (!std::exchange(told_, true))
      log::warn("no thread stands by: the next collector that hangs holds up all others", {{"err", e.what()}});
    return false;
  }
  return true;
}

void Crew::run() {
  pthread_setname_np(pthread_self(), "pipeline");
  MutexLock lock(mutex_);
  while (!stopping_) {
    bool taken_over = false;
    if (!std::exchange(leaderless_, false)) {
      lock.unlock();
      std::uint64_t times;
      [[maybe_unused]] const auto n = read(look_.get(), &times, sizeof times);  // one of those who stand by has it
      lock.lock();
      if (stopping_ || !busy_ || !take_over_()) continue;
      taken_over = true;
    }
    --spare_;
    if (taken_over && spare_ == 0) hire();
    lock.unlock();
    lead_(taken_over);
    lock.lock();
    ++spare_;
  }
  --alive_;
  ended_.notify_all();
}

void Crew::set_busy(bool busy) {
  MutexLock lock(mutex_);
  busy_ = busy;
  if (busy && spare_ == 0) hire();
  if (stopping_) return;
  const itimerspec look{kLook, kLook}, never{};
  timerfd_settime(look_.get(), 0, busy ? &look : &never, nullptr);
}

// Each of those who stand by has one of its next ticks.
void Crew::end_lookout() {
  stopping_ = true;
  const itimerspec at_once{{0, 1'000'000}, {0, 1}};
  timerfd_settime(look_.get(), 0, &at_once, nullptr);
}

bool Crew::stopping() const {
  const MutexLock lock(mutex_);
  return stopping_;
}

bool Crew::stop(const std::function<void()>& wake, std::int64_t patience_ns) {
  MutexLock lock(mutex_);
  end_lookout();
  lock.unlock();
  wake();
  lock.lock();
  if (!ended_.wait_for_ns(lock, patience_ns, [this]() REQUIRES(mutex_) { return alive_ == 0; })) return false;
  auto threads = std::exchange(threads_, {});
  lock.unlock();
  for (auto& thread : threads) thread.join();
  return true;
}

}  // namespace vitald
