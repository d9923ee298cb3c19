// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/crew.h"

#include <fmt/format.h>
#include <pthread.h>

#include <exception>
#include <utility>

#include "core/log.h"

namespace vitald {
namespace {

// How often somebody looks whether a busy leader is overdue.
constexpr std::int64_t kLookNs = 50'000'000;

}  // namespace

Crew::Crew(std::function<void(bool)> lead, std::function<bool()> take_over)
    : lead_(std::move(lead)), take_over_(std::move(take_over)) {}

Crew::~Crew() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (auto& thread : threads_) thread.join();
}

Result<> Crew::start() {
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
      if (busy_) changed_.wait_for_ns(lock, kLookNs);
      else changed_.wait(lock);
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
  if (busy) changed_.notify_one();
}

bool Crew::stopping() const {
  const MutexLock lock(mutex_);
  return stopping_;
}

bool Crew::stop(const std::function<void()>& wake, std::int64_t patience_ns) {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
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
