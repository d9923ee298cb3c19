// SPDX-License-Identifier: Apache-2.0
#include "agent/api/jobs.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "agent/api/json.h"
#include "core/log.h"
#include "core/mutex.h"

namespace vitald {

namespace {

constexpr std::int64_t kEndPatience = 2'000'000'000;
// How much later than its deadline a job is answered for, so that it can say itself that it was too slow.
constexpr std::int64_t kLastWords = 2'000'000'000;

struct Job {
  Jobs::Work work;
  std::int64_t deadline_ns = 0;
  std::atomic<bool> gone{false};  // whoever asked
  Response response;
  std::atomic<bool> done{false};  // after `response`
};

class Asked final : public Pending {
 public:
  explicit Asked(std::shared_ptr<Job> job) : job_(std::move(job)) {}
  ~Asked() override { job_->gone = true; }

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    if (job_->done) return job_->response;
    if (now_boot_ns < deadline_boot_ns()) return std::nullopt;
    return api_error(ApiError::timeout, "query timed out");
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return job_->deadline_ns + kLastWords; }

 private:
  std::shared_ptr<Job> job_;
};

}  // namespace

struct Jobs::State {
  State(Settings s, std::shared_ptr<const Wake> w, const Clock& c) : settings(s), wake(std::move(w)), clock(c) {}

  void run(const std::shared_ptr<State>& self) {
    pthread_setname_np(pthread_self(), settings.thread);
    if (settings.nice != 0) setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), settings.nice);
    MutexLock lock(mutex);
    while (!ended) {
      if (jobs.empty()) {
        ++idle;
        const bool some =
            changed.wait_for_ns(lock, settings.idle_ns, [this]() REQUIRES(mutex) { return ended || !jobs.empty(); });
        --idle;
        if (!some) break;
        continue;
      }
      auto job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      if (!job->gone) {
        job->response = answer(*job, self);
        job->done = true;
        wake->signal();
      }
      job.reset();
      lock.lock();
    }
    --threads;
    changed.notify_all();
  }

  static Response answer(Job& job, const std::shared_ptr<State>& self) {
    try {
      return job.work([&job, &self] { return job.gone || self->ending || self->clock.boot_ns() >= job.deadline_ns; });
    } catch (const std::bad_alloc&) {
      return api_error(ApiError::unavailable, "out of memory");
    } catch (const std::exception& e) {
      log::error("bug, please report: an exception in a request", {{"err", e.what()}});
      return api_error(ApiError::internal, e.what());
    }
  }

  Settings settings;
  const std::shared_ptr<const Wake> wake;
  const Clock& clock;  // lives as long as the program
  std::atomic<bool> ending{false};
  Mutex mutex;
  CondVar changed;
  std::deque<std::shared_ptr<Job>> jobs GUARDED_BY(mutex);
  std::size_t most_threads GUARDED_BY(mutex) = 1, threads GUARDED_BY(mutex) = 0, idle GUARDED_BY(mutex) = 0;
  bool ended GUARDED_BY(mutex) = false;
};

Jobs::Jobs(Settings settings, std::shared_ptr<const Wake> wake, const Clock& clock)
    : state_(std::make_shared<State>(settings, std::move(wake), clock)) {
  set_threads(settings.threads);
}

Jobs::~Jobs() { end(kEndPatience); }

bool Jobs::end(std::int64_t most_ns) {
  auto& s = *state_;
  s.ending = true;
  MutexLock lock(s.mutex);
  s.ended = true;
  s.jobs.clear();
  s.changed.notify_all();
  return s.changed.wait_for_ns(lock, most_ns, [&s]() REQUIRES(s.mutex) { return s.threads == 0; });
}

void Jobs::set_threads(std::size_t threads) {
  const MutexLock lock(state_->mutex);
  state_->most_threads = threads;
}

std::unique_ptr<Pending> Jobs::run(Work work, std::int64_t deadline_boot_ns) {
  auto& s = *state_;
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->deadline_ns = deadline_boot_ns;
  const MutexLock lock(s.mutex);
  if (s.ended || s.jobs.size() >= s.settings.waiting) return nullptr;
  if (s.idle <= s.jobs.size() && s.threads < s.most_threads) {
    // Signals are the main thread's; a new thread has the mask of the one that made it.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([self = state_] { self->run(self); }).detach();
      ++s.threads;
    } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
      if (s.threads == 0) {
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        log::error("no thread to be had for a request", {{"thread", s.settings.thread}, {"err", e.what()}});
        return nullptr;
      }
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  s.jobs.push_back(job);
  s.changed.notify_one();
  return std::make_unique<Asked>(std::move(job));
}

}  // namespace vitald
