// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/keeper.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "core/instruments.h"
#include "core/log.h"
#include "core/moment.h"
#include "rules/engine.h"
#include "rules/history/store.h"

namespace vitald {
namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t kEndPatience = 2'000'000'000;

}  // namespace

struct Keeper::Impl {
  Impl(std::shared_ptr<const StateDir> s, const Host& h) : state(std::move(s)), host(h), now(moment_of(h)) {}

  // This moment; the boot is the one it was when this began.
  [[nodiscard]] Moment moment() const {
    return {now.boot_id, host.clock().boot_ns() / 1'000'000, host.clock().wall_ns() / 1'000'000};
  }

  // --- with the lock

  void start(const std::shared_ptr<Impl>& self) {
    if (!ended || stopping) return;
    try {
      std::thread([self] {
        pthread_setname_np(pthread_self(), "keeper");
        sigset_t all;  // signals are the main thread's
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        self->run();
      }).detach();
      ended = no_threads = false;
    } catch (const std::system_error& e) {  // TasksMax=, ulimit -u
      if (!std::exchange(no_threads, true))
        log::error("history: no thread to be had, it is not saved", {{"err", e.what()}});
    }
  }

  // --- the thread

  void run() {
    std::unique_lock lock(mutex);
    auto last = std::chrono::steady_clock::now();
    while (true) {
      const auto due = last + nanoseconds(interval_ns);
      const bool asked = asked_saves > done_saves;
      const bool late = interval_ns > 0 && std::chrono::steady_clock::now() >= due;
      if (asked || late) {
        const auto upto = asked_saves;
        last = std::chrono::steady_clock::now();
        const auto what = history;
        const auto labels = series_labels;
        lock.unlock();
        if (what) write(*what, labels);
        lock.lock();
        done_saves = upto;
        done.notify_all();
      } else if (stopping) {
        break;
      } else if (interval_ns > 0) {
        wake.wait_until(lock, due);
      } else {
        wake.wait(lock);
      }
    }
    ended = true;
    done.notify_all();
  }

  void write(const History& what, const history::SeriesLabels& labels) {
    const auto at = moment();
    std::size_t bytes = 0;
    Result<> written;
    try {
      const auto view = what.view();
      if (!view->round().names) return;  // nothing was judged yet: what an earlier run left is still worth more
      written = state->write(kHistoryFile, [&](const StateDir::Append& append) {
        return history::save(view->round(), labels, at, [&](std::string_view piece) {
          bytes += piece.size();
          return append(piece);
        });
      });
    } catch (const std::exception& e) {  // no memory, most likely
      written = fail(Errc::io, fmt::format("exception '{}'", e.what()));
    }
    if (written) {
      saved_at.Set(static_cast<double>(at.wall_ms) / 1e3);
      saved_bytes.Set(static_cast<double>(bytes));
      if (std::exchange(failing, false)) log::info("history: it is saved again");
      return;
    }
    failures.Increment();
    if (!std::exchange(failing, true))
      log::warn("history: it is not saved, a restart would lose the newest of it", {{"err", written.error().text}});
  }

  const std::shared_ptr<const StateDir> state;
  const Host& host;
  const Moment now;
  prometheus::Gauge& saved_at = instruments().gauge(
      "vitald_history_saved_timestamp_seconds",
      "When the history was written to --state.directory, seconds since the epoch; 0: not in this run.");
  prometheus::Gauge& saved_bytes =
      instruments().gauge("vitald_history_saved_bytes", "Size of the history in --state.directory.");
  prometheus::Counter& failures =
      instruments().counter("vitald_history_save_failures_total", "Times that the history could not be written.");
  prometheus::Gauge& restored = instruments().gauge(
      "vitald_history_restored_samples", "Samples of earlier runs that were in --state.directory at the start.");
  bool failing = false;  // the thread's

  std::mutex mutex;
  std::condition_variable wake, done;
  // Guarded by mutex.
  std::shared_ptr<const History> history;
  history::SeriesLabels series_labels;  // its
  std::int64_t interval_ns = 0;
  std::uint64_t asked_saves = 0, done_saves = 0;
  bool stopping = false, ended = true, no_threads = false;
};

Keeper::Keeper(std::shared_ptr<const StateDir> state, const Host& host)
    : impl_(std::make_shared<Impl>(std::move(state), host)) {}

Keeper::~Keeper() {
  auto& k = *impl_;
  std::unique_lock lock(k.mutex);
  k.stopping = true;
  k.wake.notify_all();
  k.done.wait_for(lock, nanoseconds(kEndPatience), [&k] { return k.ended; });
}

void Keeper::restore(RuleEngine& rules) {
  auto& k = *impl_;
  auto found = k.state->open_to_read(kHistoryFile);
  if (!found) {
    log::warn("history: what an earlier run saved cannot be read, it begins anew", {{"err", found.error().text}});
    return;
  }
  if (!*found) return;
  const auto& file = **found;
  const auto path = k.state->at(kHistoryFile);
  const auto read = [&](std::size_t at, char* to, std::size_t count) {
    return read_at(file.file.get(), at, to, count, path);
  };
  auto& history = *rules.history();
  auto saved = history::load(read, file.bytes, k.moment(), history.settings().limit_bytes);
  if (!saved) {
    const auto aside = saved.error().kind == Errc::malformed ? k.state->set_aside(kHistoryFile)
                                                             : Result<std::string>(fail(saved.error()));
    log::warn("history: what an earlier run saved cannot be used, it begins anew",
              {{"file", path},
               {"err", saved.error().text},
               {"kept", aside ? std::string_view(*aside) : std::string_view("no")}});
    return;
  }
  const auto samples = saved->samples;
  const auto age_ms = k.moment().boot_ms - saved->at.boot_ms;
  if (saved->in_future > 0)
    log::warn("history: samples of a later time than now are left out, was the clock set back?",
              {{"samples", fmt::format("{}", saved->in_future)}});
  if (!rules.restore(std::move(*saved))) {
    log::info("history: it begins anew, since --rules.series-label was another one", {{"file", path}});
    return;
  }
  k.restored.Set(static_cast<double>(samples));
  log::info("history: it goes on where an earlier run ended", {{"samples", fmt::format("{}", samples)},
                                                               {"series", fmt::format("{}", history.size().series)},
                                                               {"seconds_ago", fmt::format("{}", age_ms / 1000)}});
}

void Keeper::keep(std::shared_ptr<const History> history) {
  auto& k = *impl_;
  const std::lock_guard lock(k.mutex);
  k.series_labels = history->settings().series_labels;
  k.history = std::move(history);
  k.start(impl_);
}

void Keeper::set_interval(std::int64_t ns) {
  auto& k = *impl_;
  const std::lock_guard lock(k.mutex);
  k.interval_ns = ns;
  k.wake.notify_all();
}

bool Keeper::save(std::int64_t patience_ns) {
  auto& k = *impl_;
  std::unique_lock lock(k.mutex);
  k.start(impl_);
  const auto mine = ++k.asked_saves;
  k.wake.notify_all();
  return k.done.wait_for(lock, nanoseconds(patience_ns), [&] { return k.done_saves >= mine; });
}

}  // namespace vitald
