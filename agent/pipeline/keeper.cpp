// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/keeper.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "core/instruments.h"
#include "core/log.h"
#include "core/moment.h"
#include "core/mutex.h"
#include "rules/engine.h"
#include "rules/history/store.h"
#include "rules/saved_alerts.h"
#include "rules/silences.h"

namespace vitald {
namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t kEndPatience = 2'000'000'000;

// One file and the thread that writes it: when it is asked to, and every so often.
class Lane {
 public:
  // `what` it is called in the log.
  Lane(const char* what, prometheus::Gauge& saved_at, prometheus::Counter& failures,
       std::function<Result<bool>(std::int64_t& wall_ms)> write)
      : what_(what), saved_at_(saved_at), failures_(failures), write_(std::move(write)) {}

  // `self`: what this is in.
  std::uint64_t ask(const std::shared_ptr<void>& self) {
    const MutexLock lock(mutex_);
    start(self);
    wake_.notify_all();
    return ++asked_;
  }
  bool wait(std::uint64_t number, std::int64_t patience_ns) {
    MutexLock lock(mutex_);
    const auto done = [&]() REQUIRES(mutex_) { return done_ >= number || ended_; };
    return done_now_.wait_for_ns(lock, patience_ns, done) && done_ >= number;
  }
  void set_interval(std::int64_t ns, const std::shared_ptr<void>& self) {
    const MutexLock lock(mutex_);
    if (std::exchange(interval_ns_, ns) == ns) return;
    if (ns > 0) start(self);
    wake_.notify_all();
  }
  void stop() {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  void wait_for_end(std::int64_t patience_ns) {
    MutexLock lock(mutex_);
    done_now_.wait_for_ns(lock, patience_ns, [this]() REQUIRES(mutex_) { return ended_; });
  }

 private:
  void start(const std::shared_ptr<void>& self) REQUIRES(mutex_) {
    if (!ended_ || stopping_) return;
    try {
      std::thread([this, self] {
        pthread_setname_np(pthread_self(), "keeper");
        sigset_t all;  // signals are the main thread's
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        for (;;) try {
            return run();
          } catch (const std::exception& e) {  // no memory for as little as a text
            log::error("saving was given up, it is tried again", {{"what", what_}, {"err", e.what()}});
            poll(nullptr, 0, 1000);
          }
      }).detach();
      ended_ = no_threads_ = false;
    } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
      if (!std::exchange(no_threads_, true))
        log::error(fmt::format("{}: no thread to be had, a restart would lose the newest", what_), {{"err", e.what()}});
    }
  }

  void run() {
    MutexLock lock(mutex_);
    auto last = std::chrono::steady_clock::now();
    while (true) {
      const auto due = last + nanoseconds(interval_ns_);
      const bool late = interval_ns_ > 0 && std::chrono::steady_clock::now() >= due;
      if (asked_ > done_ || late) {
        const auto upto = asked_;
        last = std::chrono::steady_clock::now();
        lock.unlock();
        write();
        lock.lock();
        done_ = upto;
        done_now_.notify_all();
      } else if (stopping_) {
        break;
      } else if (interval_ns_ > 0) {
        wake_.wait_for_ns(lock, nanoseconds(due - std::chrono::steady_clock::now()).count());
      } else {
        wake_.wait(lock);
      }
    }
    ended_ = true;
    done_now_.notify_all();
  }

  void write() {
    std::int64_t wall_ms = 0;
    Result<bool> written = false;
    try {
      written = write_(wall_ms);
    } catch (const std::exception& e) {  // no memory, most likely
      written = fail(Errc::io, fmt::format("exception '{}'", e.what()));
    }
    if (!written) {
      failures_.Increment();
      if (!std::exchange(failing_, true))
        log::warn(fmt::format("{}: not saved, a restart would lose the newest", what_),
                  {{"err", written.error().text}});
    } else if (*written) {
      saved_at_.Set(static_cast<double>(wall_ms) / 1e3);
      if (std::exchange(failing_, false)) log::info(fmt::format("{}: saved again", what_));
    }
  }

  const char* const what_;
  prometheus::Gauge& saved_at_;
  prometheus::Counter& failures_;
  const std::function<Result<bool>(std::int64_t&)> write_;  // false: there is nothing to write
  bool failing_ = false;                                    // the thread's

  Mutex mutex_;
  CondVar wake_, done_now_;
  std::int64_t interval_ns_ GUARDED_BY(mutex_) = 0;
  std::uint64_t asked_ GUARDED_BY(mutex_) = 0, done_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false, ended_ GUARDED_BY(mutex_) = true;
  bool no_threads_ GUARDED_BY(mutex_) = false;
};

prometheus::Gauge& gauge(const char* name, const char* help) { return instruments().gauge(name, help); }
prometheus::Counter& counter(const char* name, const char* help) { return instruments().counter(name, help); }

// Small, and not to be lost: on a full disk it may have the reserve.
Result<> write_at_any_rate(const StateDir& state, const char* name,
                           const std::function<Result<>(const StateDir::Append&)>& fill) {
  auto written = state.write(name, fill);
  if (!written && StateDir::is_full(written.error()) && state.make_room()) written = state.write(name, fill);
  return written;
}

}  // namespace

struct Keeper::Impl {
  Impl(std::shared_ptr<const StateDir> s, const Host& h) : state(std::move(s)), host(h), begin(moment_of(h)) {}

  // This moment; the boot is the one it was when this began.
  [[nodiscard]] Moment now() const {
    return {begin.boot_id, host.clock().boot_ns() / 1'000'000, host.clock().wall_ns() / 1'000'000};
  }
  [[nodiscard]] Moment of(const Snapshot& s) const {
    return {begin.boot_id, s.boot_ns / 1'000'000, s.wall_ns / 1'000'000};
  }

  Result<bool> write_history(std::int64_t& wall_ms) {
    std::shared_ptr<const History> what;
    history::SeriesLabels labels;
    {
      const MutexLock lock(mutex);
      what = history;
      labels = series_labels;
    }
    if (!what) return false;
    const auto view = what->view();
    if (!view->round().names) return false;  // nothing was judged yet: what an earlier run left is still worth more
    const auto at = now();
    std::size_t bytes = 0;
    const auto written = state->write(kHistoryFile, [&](const StateDir::Append& append) {
      return history::save(view->round(), labels, at, [&](std::string_view piece) {
        bytes += piece.size();
        return append(piece);
      });
    });
    if (!written) return fail(written.error());
    saved_bytes.Set(static_cast<double>(bytes));
    wall_ms = at.wall_ms;
    return true;
  }

  Result<bool> write_alerts(std::int64_t& wall_ms) {
    std::shared_ptr<const SavedAlerts> what;
    Moment last;
    {
      const MutexLock lock(mutex);
      what = alerts;
      last = judged;
    }
    if (!what) return false;
    const auto written = write_at_any_rate(
        *state, kAlertsFile, [&](const StateDir::Append& append) { return vitald::save(*what, last, append); });
    if (!written) return fail(written.error());
    state->reserve();
    wall_ms = last.wall_ms;
    return true;
  }

  Result<bool> write_claims(std::int64_t& wall_ms) {
    std::optional<std::string> what;
    {
      const MutexLock lock(mutex);
      what = claims;
    }
    if (!what) return false;
    const auto written =
        write_at_any_rate(*state, kClaimsFile, [&](const StateDir::Append& append) { return append(*what); });
    if (!written) return fail(written.error());
    const MutexLock lock(mutex);
    if (claims == what) claims.reset();
    wall_ms = now().wall_ms;
    return true;
  }

  // Nothing: there is none, or none that is of use.
  template <class Load>
  [[nodiscard]] auto load(const char* name, const char* what, Load load)
      -> std::optional<typename decltype(load(SectionReader::Source(), std::size_t{}))::value_type> {
    const auto path = state->at(name);
    const auto found = state->open_to_read(name);
    if (found && !*found) return {};
    Error error;
    if (found) {
      const auto& file = **found;
      const auto read = [&](std::size_t at, char* to, std::size_t count) {
        return read_at(file.file.get(), at, to, count, path);
      };
      if (auto loaded = load(read, file.bytes)) return std::move(*loaded);
      else error = loaded.error();
    } else {
      error = found.error();
    }
    std::string kept = "no";
    if (error.kind == Errc::malformed)
      if (const auto aside = state->set_aside(name)) kept = *aside;
    log::warn(fmt::format("{}: what an earlier run saved cannot be used, it begins anew", what),
              {{"file", path}, {"err", error.text}, {"kept", kept}});
    return {};
  }

  const std::shared_ptr<const StateDir> state;
  const Host& host;
  const Moment begin;
  prometheus::Gauge& saved_bytes = gauge("vitald_history_saved_bytes", "Size of the history in --state.directory.");
  prometheus::Gauge& restored_samples =
      gauge("vitald_history_restored_samples", "Samples of earlier runs that were in --state.directory at the start.");
  prometheus::Gauge& restored_alerts =
      gauge("vitald_alerts_restored",
            "Pending and firing alerts of an earlier run that were in --state.directory at the start.");

  Mutex mutex;
  std::shared_ptr<const History> history GUARDED_BY(mutex);
  history::SeriesLabels series_labels GUARDED_BY(mutex);  // its
  std::shared_ptr<const SavedAlerts> alerts GUARDED_BY(mutex);
  Moment judged GUARDED_BY(mutex);                      // the last round
  std::optional<std::string> claims GUARDED_BY(mutex);  // that are not on disk yet

  std::uint64_t hung_at = 0;  // the judge's: it waited for this writing of alerts in vain

  Lane history_lane{"history",
                    gauge("vitald_history_saved_timestamp_seconds",
                          "When the history was written to --state.directory, seconds since the epoch; 0: not in this "
                          "run."),
                    counter("vitald_history_save_failures_total", "Times that the history could not be written."),
                    [this](std::int64_t& wall_ms) { return write_history(wall_ms); }};
  Lane alerts_lane{
      "alerts",
      gauge("vitald_alerts_saved_timestamp_seconds",
            "Of which round the alerts in --state.directory are, seconds since the epoch; 0: of none of this "
            "run."),
      counter("vitald_alerts_save_failures_total", "Times that the alerts could not be written."),
      [this](std::int64_t& wall_ms) { return write_alerts(wall_ms); }};
  Lane claims_lane{"what receivers have to end after a restart",
                   gauge("vitald_claims_saved_timestamp_seconds",
                         "When what receivers own (Kubernetes' conditions) was written to --state.directory, seconds "
                         "since the epoch; 0: not in this run, since it did not change."),
                   counter("vitald_claims_save_failures_total", "Times that what receivers own could not be written."),
                   [this](std::int64_t& wall_ms) { return write_claims(wall_ms); }};
};

Keeper::Keeper(std::shared_ptr<const StateDir> state, const Host& host)
    : impl_(std::make_shared<Impl>(std::move(state), host)) {}

Keeper::~Keeper() {
  for (auto* lane : {&impl_->history_lane, &impl_->alerts_lane, &impl_->claims_lane}) lane->stop();
  for (auto* lane : {&impl_->history_lane, &impl_->alerts_lane, &impl_->claims_lane}) lane->wait_for_end(kEndPatience);
}

Keeper::Restored Keeper::restore(RuleEngine& rules) {
  auto& k = *impl_;
  const auto now = k.now();
  const auto& settings = rules.history()->settings();
  auto saved = k.load(kHistoryFile, "history", [&](auto source, std::size_t bytes) {
    return history::load(std::move(source), bytes, now, settings.limit_bytes);
  });
  if (saved) {
    const auto samples = saved->samples;
    const auto age_ms = now.boot_ms - saved->at.boot_ms;
    if (saved->in_future > 0)
      log::warn("history: samples of a later time than now are left out, was the clock set back?",
                {{"samples", fmt::format("{}", saved->in_future)}});
    if (rules.restore(std::move(*saved))) {
      k.restored_samples.Set(static_cast<double>(samples));
      log::info("history: it goes on where an earlier run ended",
                {{"samples", fmt::format("{}", samples)}, {"seconds_ago", fmt::format("{}", age_ms / 1000)}});
    } else {
      log::info("history: it begins anew, since --rules.series-label was another one");
    }
  }
  auto alerts = k.load(kAlertsFile, "alerts",
                       [](auto source, std::size_t bytes) { return load_alerts(std::move(source), bytes); });
  if (!alerts) return {};
  std::size_t count = 0;
  for (const auto& r : alerts->alerts.rules) count += r.alerts.size();
  k.restored_alerts.Set(static_cast<double>(count));
  const auto down_ms = now.boot_ms - alerts->last.boot_ms - now.shift_from(alerts->last);
  if (count > 0 || !alerts->alerts.untold.empty())
    log::info("alerts: they go on where an earlier run ended",
              {{"alerts", fmt::format("{}", count)},
               {"told_again", fmt::format("{}", alerts->alerts.untold.size())},
               {"seconds_ago", fmt::format("{}", down_ms / 1000)}});
  Restored out{std::move(alerts->alerts.withheld), std::move(alerts->alerts.begins)};
  rules.restore(std::move(*alerts), now);
  return out;
}

std::shared_ptr<Silences> Keeper::silences() const {
  auto loaded = impl_->load(kMarksFile, "silences and acknowledgements",
                            [](auto source, std::size_t bytes) { return load_marks(std::move(source), bytes); });
  const auto store = [state = impl_->state](const Marks& marks) {
    return write_at_any_rate(*state, kMarksFile,
                             [&](const StateDir::Append& append) { return vitald::save(marks, append); });
  };
  return std::make_shared<Silences>(store, loaded ? std::move(*loaded) : Marks{});
}

void Keeper::keep(std::shared_ptr<const History> history) {
  auto& k = *impl_;
  const MutexLock lock(k.mutex);
  k.series_labels = history->settings().series_labels;
  k.history = std::move(history);
}

void Keeper::keep(SavedAlerts alerts, const Snapshot& judged, std::int64_t patience_ns) {
  auto& k = *impl_;
  const bool some = !alerts.empty();
  {
    const MutexLock lock(k.mutex);
    k.alerts = std::make_shared<const SavedAlerts>(std::move(alerts));
    k.judged = k.of(judged);
  }
  k.alerts_lane.set_interval(some ? kAlertsIntervalNs : 0, impl_);
  const auto mine = k.alerts_lane.ask(impl_);
  if (patience_ns == 0) return;
  if (k.hung_at != 0 && !k.alerts_lane.wait(k.hung_at, 0)) return;
  k.hung_at = k.alerts_lane.wait(mine, patience_ns) ? 0 : mine;
  if (k.hung_at != 0) log::warn("alerts: the disk takes longer than a second; nobody waits for it until it answers");
}

void Keeper::keep_claims(std::string text) {
  auto& k = *impl_;
  {
    const MutexLock lock(k.mutex);
    k.claims = std::move(text);
  }
  k.claims_lane.ask(impl_);
}

void Keeper::still(const Snapshot& judged) {
  auto& k = *impl_;
  const MutexLock lock(k.mutex);
  k.judged = k.of(judged);
}

void Keeper::set_interval(std::int64_t ns) { impl_->history_lane.set_interval(ns, impl_); }

bool Keeper::save(std::int64_t patience_ns) {
  const auto until = std::chrono::steady_clock::now() + nanoseconds(patience_ns);
  const auto alerts = impl_->alerts_lane.ask(impl_), history = impl_->history_lane.ask(impl_);
  bool owe_claims = false;
  {
    const MutexLock lock(impl_->mutex);
    owe_claims = impl_->claims.has_value();
  }
  const auto claims = owe_claims ? impl_->claims_lane.ask(impl_) : 0;
  const auto left = [&] { return (until - std::chrono::steady_clock::now()) / nanoseconds(1); };
  bool kept = impl_->alerts_lane.wait(alerts, left());
  if (owe_claims) kept = impl_->claims_lane.wait(claims, left()) && kept;
  return impl_->history_lane.wait(history, left()) && kept;
}

}  // namespace vitald
