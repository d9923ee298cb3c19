// SPDX-License-Identifier: Apache-2.0
#include "agent/loading.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <system_error>
#include <thread>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/mutex.h"

namespace vitald {
namespace {

constexpr std::int64_t kStepNs = 5'000'000;  // between two looks for a signal; as much later is a start at most

std::int64_t now_ns() { return SystemClock::read(CLOCK_BOOTTIME); }

}  // namespace

struct WaitsFor::State {
  mutable Mutex mutex;
  CondVar changed;
  std::string what GUARDED_BY(mutex);
  bool done GUARDED_BY(mutex) = false;
  std::exception_ptr failure GUARDED_BY(mutex);
};

WaitsFor::WaitsFor() : state_(std::make_shared<State>()) {}

void WaitsFor::at(std::string what) {
  const MutexLock lock(state_->mutex);
  state_->what = std::move(what);
}

std::string WaitsFor::text() const {
  const MutexLock lock(state_->mutex);
  return state_->what;
}

struct Loading::Task {
  std::function<void(WaitsFor&)> work;
  WaitsFor waits;

  void run() {
    std::exception_ptr failure;
    try {
      work(waits);
    } catch (const std::exception&) {  // for wait()
      failure = std::current_exception();
    }
    work = nullptr;  // before anybody is told that it is over
    const MutexLock lock(waits.state_->mutex);
    waits.state_->failure = std::move(failure);
    waits.state_->done = true;
    waits.state_->changed.notify_all();
  }
};

Loading::Loading(const char* thread, std::function<void(WaitsFor&)> work) : begin_boot_ns_(now_ns()) {
  const auto task = std::make_shared<Task>(Task{std::move(work), waits_});
  try {
    std::thread([thread, task] {
      pthread_setname_np(pthread_self(), thread);
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, nullptr);
      task->run();
    }).detach();
  } catch (const std::system_error&) {  // ulimit -u, TasksMax=: then here, as long as it takes
    task->run();
  }
}

Loading::~Loading() = default;

std::string Loading::waits_for() const { return waits_.text(); }

bool Loading::wait_until(std::int64_t until) {
  auto& state = *waits_.state_;
  MutexLock lock(state.mutex);
  while (!state.done && now_ns() < until) state.changed.wait_for_ns(lock, std::max<std::int64_t>(0, until - now_ns()));
  if (state.failure) std::rethrow_exception(std::exchange(state.failure, nullptr));
  return state.done;
}

void Loading::say(std::int64_t now) {
  if (said_ || now - begin_boot_ns_ < kSayNs) return;
  said_ = true;
  if (const auto what = waits_for(); !what.empty())
    log::warn("waits for files that do not come, as where their server does not answer", {{"for", what}});
}

bool Loading::wait(std::int64_t patience_ns) {
  const auto from = now_ns();
  const auto until = patience_ns < std::numeric_limits<std::int64_t>::max() - from
                         ? from + patience_ns
                         : std::numeric_limits<std::int64_t>::max();
  // Not longer than a day at a time: what waits adds to the time of day.
  constexpr std::int64_t kDayNs = 86'400'000'000'000;
  for (;;) {
    const auto now = now_ns();
    const auto next = std::min(until, said_ ? now + kDayNs : std::max(now, begin_boot_ns_ + kSayNs));
    if (wait_until(next)) return true;
    say(now_ns());
    if (now_ns() >= until) return false;
  }
}

int Loading::wait_or_signal(const sigset_t& signals) {
  const timespec none{0, 0};
  for (;;) {
    if (wait_until(now_ns() + kStepNs)) return 0;
    if (const int number = sigtimedwait(&signals, nullptr, &none); number > 0) return number;
    say(now_ns());
  }
}

}  // namespace vitald
