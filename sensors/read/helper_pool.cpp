// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/helper_pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>

namespace vitald {
namespace {

// A helper calls statfs or read and little else.
constexpr std::size_t kStackBytes = 64 * 1024;
// A call that waits this long for a thread gets a new one: those that exist are busy with slow calls. Not all
// at once: hundreds of quick calls may wait behind one that is slow.
constexpr auto kPatience = std::chrono::milliseconds(10);
constexpr std::size_t kMostAtOnce = 16;

}  // namespace

struct HelperPool::Shared {
  struct Job {
    CallPtr call;
    std::function<void()> work;
  };
  std::mutex mutex;  // guards all of this
  std::condition_variable work_came, call_done, thread_left;
  std::deque<Job> queue;
  std::size_t keep = 0, threads = 0, idle = 0;
  bool stop = false;

  // With `mutex` held. False when the kernel gives no thread: the job stays queued for the next try.
  static bool spawn(const std::shared_ptr<Shared>& self);
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
  std::unique_lock lock(self->mutex);
  for (;;) {
    if (self->queue.empty()) {
      if (self->stop || self->idle >= self->keep) break;
      ++self->idle;
      self->work_came.wait(lock, [&] { return self->stop || !self->queue.empty(); });
      --self->idle;
      continue;
    }
    Job job = std::move(self->queue.front());
    self->queue.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;
    job.call->done_.store(true, std::memory_order_release);
    lock.lock();
    self->call_done.notify_all();
  }
  --self->threads;
  self->thread_left.notify_all();
}

HelperPool::HelperPool(std::size_t keep) : shared_(std::make_shared<Shared>()) {
  shared_->keep = std::max<std::size_t>(keep, 1);
}

HelperPool::~HelperPool() {
  std::unique_lock lock(shared_->mutex);
  shared_->stop = true;
  shared_->queue.clear();
  shared_->work_came.notify_all();
  shared_->thread_left.wait(lock, [&] { return shared_->idle == 0; });
}

HelperPool::CallPtr HelperPool::submit(std::function<void()> work) {
  auto call = std::make_shared<Call>();
  const std::lock_guard lock(shared_->mutex);
  shared_->queue.push_back({call, std::move(work)});
  if (shared_->idle >= shared_->queue.size()) shared_->work_came.notify_one();
  else if (shared_->threads < shared_->keep) Shared::spawn(shared_);
  return call;
}

void HelperPool::wait(std::span<const CallPtr> calls, std::int64_t budget_ns) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(budget_ns);
  std::unique_lock lock(shared_->mutex);
  const auto finished = [&] { return std::ranges::all_of(calls, [](const auto& call) { return call->done(); }); };
  while (!finished()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) return;
    if (shared_->call_done.wait_until(lock, std::min(until, now + kPatience)) == std::cv_status::no_timeout) continue;
    for (auto n = std::min(shared_->queue.size(), shared_->idle + kMostAtOnce); n > shared_->idle; --n)
      if (!Shared::spawn(shared_)) break;
  }
}

std::size_t HelperPool::threads() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->threads;
}

}  // namespace vitald
