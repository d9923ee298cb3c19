// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/helper_pool.h"

#include <pthread.h>

#include <algorithm>
#include <climits>
#include <csignal>
#include <deque>
#include <exception>

#include "core/clock.h"
#include "core/log.h"
#include "core/mutex.h"

namespace vitald {
namespace {

// A helper calls statfs or read and little else.
constexpr std::size_t kStackBytes = 64 * 1024;
// A call that waits this long for a thread gets a new one: those that exist are busy with slow calls. Not all
// at once: hundreds of quick calls may wait behind one that is slow.
constexpr std::int64_t kPatienceNs = 10'000'000;
constexpr std::size_t kMostAtOnce = 16;

}  // namespace

struct HelperPool::Shared {
  struct Job {
    CallPtr call;
    std::function<void()> work;
  };
  explicit Shared(std::size_t k) : keep(k) {}

  const std::size_t keep;
  Mutex mutex;
  CondVar work_came, call_done, thread_left;
  std::deque<Job> queue GUARDED_BY(mutex);
  std::size_t threads GUARDED_BY(mutex) = 0, idle GUARDED_BY(mutex) = 0;
  bool stop GUARDED_BY(mutex) = false;

  // False when the kernel gives no thread: the job stays queued for the next try.
  static bool spawn(const std::shared_ptr<Shared>& self) REQUIRES(self->mutex);
  static void run(const std::shared_ptr<Shared>& self);
};

bool HelperPool::Shared::spawn(const std::shared_ptr<Shared>& self) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes,
                            std::max<std::size_t>(kStackBytes, static_cast<std::size_t>(PTHREAD_STACK_MIN)));
  // Detached: a thread in an uninterruptible call cannot be joined.
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
  auto* argument = new std::shared_ptr<Shared>(self);
  pthread_t thread;
  const int err = pthread_create(
      &thread, &attributes,
      [](void* p) -> void* {
        const std::unique_ptr<std::shared_ptr<Shared>> shared(static_cast<std::shared_ptr<Shared>*>(p));
        pthread_setname_np(pthread_self(), "helper");
        run(*shared);
        return nullptr;
      },
      argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (err != 0) {
    delete argument;
    return false;
  }
  ++self->threads;
  return true;
}

void HelperPool::Shared::run(const std::shared_ptr<Shared>& self) {
  MutexLock lock(self->mutex);
  for (;;) {
    if (self->queue.empty()) {
      if (self->stop || self->idle >= self->keep) break;
      ++self->idle;
      self->work_came.wait(lock, [&]() REQUIRES(self->mutex) { return self->stop || !self->queue.empty(); });
      --self->idle;
      continue;
    }
    Job job = std::move(self->queue.front());
    self->queue.pop_front();
    lock.unlock();
    try {
      job.work();
    } catch (const std::exception& e) {
      job.call->failed_ = true;
      log::error("a helper gave up a call", {{"err", e.what()}});
    }
    job.work = nullptr;
    job.call->done_.store(true, std::memory_order_release);
    lock.lock();
    self->call_done.notify_all();
  }
  --self->threads;
  self->thread_left.notify_all();
}

HelperPool::HelperPool(std::size_t keep) : shared_(std::make_shared<Shared>(std::max<std::size_t>(keep, 1))) {}

HelperPool::~HelperPool() {
  auto& s = *shared_;
  MutexLock lock(s.mutex);
  s.stop = true;
  s.queue.clear();
  s.work_came.notify_all();
  s.thread_left.wait(lock, [&]() REQUIRES(s.mutex) { return s.idle == 0; });
}

HelperPool::CallPtr HelperPool::submit(std::function<void()> work) {
  auto call = std::make_shared<Call>();
  const MutexLock lock(shared_->mutex);
  shared_->queue.push_back({call, std::move(work)});
  if (shared_->idle >= shared_->queue.size()) shared_->work_came.notify_one();
  else if (shared_->threads < shared_->keep) Shared::spawn(shared_);
  return call;
}

void HelperPool::wait(std::span<const CallPtr> calls, std::int64_t budget_ns) {
  const auto until_ns = SystemClock::read(CLOCK_MONOTONIC) + budget_ns;
  MutexLock lock(shared_->mutex);
  const auto finished = [&] { return std::ranges::all_of(calls, [](const auto& call) { return call->done(); }); };
  while (!finished()) {
    const auto left_ns = until_ns - SystemClock::read(CLOCK_MONOTONIC);
    if (left_ns <= 0) return;
    if (shared_->call_done.wait_for_ns(lock, std::min(left_ns, kPatienceNs))) continue;
    for (auto n = std::min(shared_->queue.size(), shared_->idle + kMostAtOnce); n > shared_->idle; --n)
      if (!Shared::spawn(shared_)) break;
  }
}

std::size_t HelperPool::threads() const {
  const MutexLock lock(shared_->mutex);
  return shared_->threads;
}

}  // namespace vitald
