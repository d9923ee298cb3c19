// SPDX-License-Identifier: Apache-2.0
#include "agent/http/lead.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <system_error>

#include "core/log.h"

namespace vitald {
namespace {

// A collection takes a fraction of a millisecond. One that takes this long may never end.
constexpr std::int64_t kOverdueNs = 250'000'000;

}  // namespace

Lead::Lead(std::function<void(int)> serve)
    : serve_(std::move(serve)),
      overdue_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      ending_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<> Lead::start() {
  if (!overdue_ || !ending_) return fail(from_errno("HTTP server: no descriptor for its timer; see ulimit -n", EMFILE));
  threads_.reserve(2);
  for (int me = 0; me < 2; ++me) try {
      {
        const MutexLock lock(mutex_);
        ++alive_;
      }
      threads_.emplace_back([this, me] { run(me); });
    } catch (const std::system_error& e) {
      const MutexLock lock(mutex_);
      --alive_;
      return fail(from_errno("HTTP server: thread", e.code().value()));
    }
  return {};
}

void Lead::end() {
  stopping_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = write(ending_.get(), &one, sizeof one);
}

bool Lead::join(std::int64_t patience_ns) {
  MutexLock lock(mutex_);
  if (!ended_.wait_for_ns(lock, patience_ns, [this]() REQUIRES(mutex_) { return alive_ == 0; })) return false;
  lock.unlock();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  return true;
}

void Lead::detach() {
  for (auto& thread : threads_) thread.detach();
  threads_.clear();
}

void Lead::alarm(std::int64_t after_ns) const {  // 0: none
  const itimerspec at{{0, 0}, {after_ns / 1'000'000'000, after_ns % 1'000'000'000}};
  timerfd_settime(overdue_.get(), 0, &at, nullptr);
}

std::optional<bool> Lead::try_work(int me, const std::function<bool()>& work) {
  {
    const MutexLock lock(mutex_);
    working_ = true;
    alarm(kOverdueNs);
  }
  bool done = false;
  try {
    done = work();
  } catch (const std::exception& e) {
    log::error("an exception ended a collection", {{"err", e.what()}});
  }
  const MutexLock lock(mutex_);
  if (leader_ != me) return std::nullopt;
  working_ = false;
  alarm(0);
  return done;
}

// Sleeps until the other thread has been working for too long; then this one leads.
void Lead::guard(int me) {
  pollfd fds[] = {{overdue_.get(), POLLIN, 0}, {ending_.get(), POLLIN, 0}};
  poll(fds, 2, -1);
  const MutexLock lock(mutex_);
  // Under the lock: the alarm may have been taken back, or set anew for the next collection, meanwhile.
  std::uint64_t n;
  if (stopping_ || !working_ || read(overdue_.get(), &n, sizeof n) < 0) return;
  log::warn("a scrape's collection takes long; the other thread of the server answers from now on");
  leader_ = me;
  working_ = false;  // this thread runs none
}

bool Lead::leads(int me) {
  const MutexLock lock(mutex_);
  return leader_ == me;
}

void Lead::run(int me) {
  pthread_setname_np(pthread_self(), me == 0 ? "http-0" : "http-1");
  while (!stopping_.load()) try {
      if (leads(me)) serve_(me);
      else guard(me);
    } catch (const std::exception& e) {  // out of memory, or a bug: the next round may do
      log::error("an exception ended a round of the HTTP server", {{"err", e.what()}});
      poll(nullptr, 0, 10);
    }
  const MutexLock lock(mutex_);
  --alive_;
  ended_.notify_all();
}

}  // namespace vitald
