// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/pushers.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "core/log.h"
#include "exporters/deliver/journal.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000, kSecond = 1'000 * kMs;
// A snapshot that comes so much too early is taken: that spares a collection.
constexpr std::int64_t kMostEarly = kSecond;
// So long it is waited for one that comes by itself: where rules have the same interval, theirs does.
constexpr std::int64_t kGrace = 50 * kMs;
constexpr std::int64_t kAskAgain = kSecond;
constexpr std::int64_t kKeepLeftBehindMs = std::int64_t{7} * 24 * 3600 * 1000;

}  // namespace

Pushers::Pushers(Source source, const Clock& clock) : source_(std::move(source)), clock_(clock) {}
Pushers::~Pushers() { stop(0); }

void Pushers::configure(PushConfig config) {
  const MutexLock lock(mutex_);
  if (stopping_ || (config.destinations.empty() && !thread_.joinable())) return;
  next_ = std::make_unique<PushConfig>(std::move(config));
  news_ = true;
  wake_.notify_all();
  if (thread_.joinable()) return;
  try {
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "push");
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, nullptr);
      run();
    });
  } catch (const std::exception& e) {  // TasksMax=, no memory
    log::error("push: no thread to be had, nothing is pushed until a reload", {{"err", e.what()}});
  }
}

void Pushers::published() {
  if (!any_.load(std::memory_order_relaxed)) return;
  const MutexLock lock(mutex_);
  news_ = true;
  wake_.notify_all();
}

void Pushers::stop(std::int64_t patience_ns) {
  std::thread thread;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    stop_patience_ns_ = patience_ns;
    wake_.notify_all();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

void Pushers::run() {
  for (;;) {
    std::unique_ptr<PushConfig> config;
    {
      const MutexLock lock(mutex_);
      if (stopping_) break;
      config = std::move(next_);
      news_ = false;
    }
    std::int64_t next_ns = INT64_MAX;
    try {
      if (config) apply(std::move(*config));
      const auto latest = source_.latest();
      for (auto& due : all_) next_ns = std::min(next_ns, serve(due, latest, clock_.boot_ns()));
    } catch (const std::exception& e) {  // no memory
      log::error("push: goes on after an exception", {{"err", e.what()}});
      next_ns = clock_.boot_ns() + kSecond;
    }
    MutexLock lock(mutex_);
    while (!stopping_ && !news_) {
      const auto left_ns = next_ns == INT64_MAX ? INT64_MAX : next_ns - clock_.boot_ns();
      if (left_ns <= 0) break;
      if (left_ns == INT64_MAX) wake_.wait(lock);
      else wake_.wait_for_ns(lock, left_ns);
    }
  }
  finish();
}

void Pushers::apply(PushConfig config) {
  std::vector<Due> before = std::exchange(all_, {});
  interval_ns_ = config.interval_ns;
  std::vector<PushPtr> fresh;
  for (auto& settings : config.destinations) {
    const auto same =
        std::ranges::find_if(before, [&](const Due& d) { return d.push && d.push->settings().name == settings->name; });
    if (same != before.end() && same->push->settings().same(*settings)) {
      all_.push_back(std::move(*same));
      same->push = nullptr;
    } else {
      fresh.push_back(settings);
    }
  }
  const auto wall_ms = clock_.wall_ns() / kMs;
  std::erase_if(before, [](const Due& d) { return !d.push; });
  for (auto& due : before) due.push->finish(wall_ms);
  drain(before, kSecond);
  for (auto& due : before)
    if (std::ranges::none_of(fresh, [&](const PushPtr& p) { return p->name == due.push->settings().name; }))
      due.push->stop();
  for (auto& settings : fresh) {
    const auto old =
        std::ranges::find_if(before, [&](const Due& d) { return d.push && d.push->settings().name == settings->name; });
    Due due;
    due.push = std::make_unique<Push>(settings, config.state, old == before.end() ? nullptr : std::move(old->push));
    all_.push_back(std::move(due));
  }
  any_ = !all_.empty();
  before.clear();
  if (config.state) look_for_left_behind(*config.state);
}

// The interval is kept on a grid, so that it does not drift; a snapshot that somebody else had made near to it is
// taken, and the grid begins there anew.
std::int64_t Pushers::serve(Due& due, const SnapshotPtr& latest, std::int64_t now_ns) {
  const auto interval_ns = due.push->settings().interval_ns;
  if (latest && latest->sequence != due.sequence && !latest->batches.empty()) {
    if (due.at_ns == INT64_MIN && now_ns - latest->boot_ns > std::min(interval_ns, kSecond)) {
      due.at_ns = now_ns;  // of some time ago: a new one is made
    } else if (due.at_ns == INT64_MIN) {
      due.at_ns = latest->boot_ns + interval_ns;
      push(due, *latest);
    } else if (due.push->settings().every_snapshot() ||
               latest->boot_ns >= due.at_ns - std::min(kMostEarly, interval_ns / 10)) {
      const bool asked = due.asked_ns >= due.at_ns - kGrace && latest->boot_ns >= due.asked_ns;
      due.at_ns = asked ? due.at_ns + interval_ns : latest->boot_ns + interval_ns;
      if (due.at_ns <= now_ns) due.at_ns = latest->boot_ns + interval_ns;  // what was missed is not caught up
      push(due, *latest);
    } else if (due.push->settings().aggregated() != PushAggregate::last) {
      due.sequence = latest->sequence;
      due.push->observe(*latest);
    }
    due.seen_ns = latest->boot_ns;
  }
  if (due.at_ns == INT64_MIN) return INT64_MAX;  // the first snapshot comes by itself
  auto wanted_ns = due.at_ns;
  if (due.push->settings().aggregated() != PushAggregate::last)
    wanted_ns = std::min(wanted_ns, due.seen_ns + interval_ns_);
  const auto ask_ns =
      std::max(wanted_ns + std::min(kGrace, interval_ns / 10), due.asked_ns + std::min(kAskAgain, interval_ns_));
  if (now_ns < ask_ns) return ask_ns;
  due.asked_ns = now_ns;
  source_.want(wanted_ns);
  return now_ns + kAskAgain;
}

// One that cannot be made costs this one, not the others.
void Pushers::push(Due& due, const Snapshot& snapshot) {
  due.sequence = snapshot.sequence;
  const auto& name = due.push->settings().name;
  try {
    due.push->push(snapshot);
    due.push->measure();
    failures_said_.erase(name);
  } catch (const std::exception& e) {
    if (failures_said_.insert(name).second)
      log::error("push: nothing could be made of a snapshot", {{"destination", name}, {"err", e.what()}});
  }
}

void Pushers::look_for_left_behind(const StateDir& state) {
  std::vector<std::string> names;
  for (const auto& due : all_) names.push_back(due.push->settings().name);
  for (const auto& left : left_behind(state, names, clock_.wall_ns() / kMs, kKeepLeftBehindMs, "push")) {
    if (left.items == 0 || (!left.removed && !left_behind_said_.insert(left.path).second)) continue;
    log::warn(left.removed ? "what waited for a destination that is not configured any more was too old and is gone"
                           : "numbers wait for a destination that is not configured any more; a week after the newest "
                             "of them they go",
              {{"folder", left.path}, {"items", fmt::format("{}", left.items)}});
  }
}

// Whoever is there has it within milliseconds. Who is away gets it later, from the disk.
void Pushers::drain(std::span<const Due> dues, std::int64_t patience_ns) const {
  const auto until_ns = clock_.boot_ns() + patience_ns;
  const auto waits = [](const Due& due) { return !due.push->idle() && !due.push->failing(); };
  while (clock_.boot_ns() < until_ns && std::ranges::any_of(dues, waits))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void Pushers::finish() {
  const auto patience_ns = [this] {
    const MutexLock lock(mutex_);
    return stop_patience_ns_;
  }();
  try {
    const auto wall_ms = clock_.wall_ns() / kMs;
    for (auto& due : all_) due.push->finish(wall_ms);
    drain(all_, patience_ns);
  } catch (const std::exception& e) {
    log::error("push: series are not told to be over", {{"err", e.what()}});
  }
  for (auto& due : all_) due.push->stop();
  all_.clear();
  any_ = false;
}

}  // namespace vitald
