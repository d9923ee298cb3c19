// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/runner.h"

#include <fmt/format.h>
#include <pthread.h>

#include <exception>
#include <new>
#include <thread>
#include <utility>

namespace vitald {

Runner::Runner(std::string_view name, std::unique_ptr<Collector> collector, Make again, const Clock& clock,
               Baton& baton, Away& away)
    : name_(name),
      clock_(clock),
      baton_(baton),
      away_(away),
      collector_(std::move(collector)),
      make_again_(std::move(again)),
      writer_(name_),
      trouble_(name_) {}

Result<> Runner::collect() {
  if (!collector_) {
    auto made = make_again_();
    if (!made) return fail(std::move(made.error()));
    collector_ = std::move(*made);
  }
  std::unique_ptr<Collector> spoiled = std::move(collector_);  // until it comes back as it should
  auto result = spoiled->collect(writer_);
  collector_ = std::move(spoiled);
  return result;
}

void Runner::call(Outcome& outcome) noexcept {
  outcome.broken = true;
  try {
    try {
      outcome.result = collect();
      outcome.broken = false;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& e) {
      outcome.bug = true;
      outcome.result = fail(Errc::io, fmt::format("bug, please report: exception '{}'", e.what()));
    } catch (...) {
      outcome.bug = true;
      outcome.result = fail(Errc::io, "bug, please report: an exception of unknown type");
    }
  } catch (const std::bad_alloc&) {  // also of making these texts
    outcome.result = fail(Errc::io, "out of memory");
  }
}

std::optional<std::int64_t> Runner::run(const Begin& begin) {
  const auto begin_ns = begin.boot_ns;
  if (away_now_ && !take_back()) {
    if (!hanging_ && begin_ns - since_ns_ > kHangsNs) hangs();
    return begin_ns;
  }
  if (const auto end_ns = run_absent(begin)) return end_ns;
  if (doubtful_) {
    aside(begin);
    return begin_ns;
  }
  writer_.begin(begin_ns, begin_ns + begin.wall_offset_ns);
  Outcome outcome{{}, false, begin_ns, 0, 0};
  cost_.begin(begin.measure);
  const auto ticket = baton_.enter(begin_ns, kOverdueNs);
  call(outcome);
  outcome.end_ns = clock_.boot_ns();
  if (!baton_.leave(ticket)) {
    outcome_ = std::move(outcome);
    back_.store(true, std::memory_order_release);  // from here on this may be gone
    return std::nullopt;
  }
  const auto end_ns = outcome.end_ns;
  settle(outcome, cost_.end(static_cast<double>(end_ns - begin_ns)));
  return end_ns;
}

std::int64_t Runner::run_to_end(const Begin& begin) {
  if (const auto end_ns = run_absent(begin)) return *end_ns;
  writer_.begin(begin.boot_ns, begin.boot_ns + begin.wall_offset_ns);
  Outcome outcome{{}, false, begin.boot_ns, 0, 0};
  cost_.begin(begin.measure);
  call(outcome);
  outcome.end_ns = clock_.boot_ns();
  settle(outcome, cost_.end(static_cast<double>(outcome.end_ns - begin.boot_ns)));
  return outcome.end_ns;
}

// What had nothing to collect a moment ago is not asked again: one batch says so until it is.
std::optional<std::int64_t> Runner::run_absent(const Begin& begin) {
  if (!absent_ || begin.boot_ns >= retry_ns_) return std::nullopt;
  if (batch_->health.wall_ns != 0) {
    writer_.begin(begin.boot_ns, begin.boot_ns + begin.wall_offset_ns);
    batch_ = writer_.finish(fail(*absent_), 0, 0);
  }
  return begin.boot_ns;
}

// On a thread of its own, which lives for this one run.
void Runner::aside(const Begin& begin) {
  const auto begin_ns = begin.boot_ns;
  writer_.begin(begin_ns, begin_ns + begin.wall_offset_ns);
  outcome_ = {{}, false, begin_ns, 0, 0};
  since_ns_ = begin_ns;
  away_now_ = true;
  away_.went();
  try {
    std::thread([this] {
      pthread_setname_np(pthread_self(), "collector");
      auto& away = away_;
      const auto cpu_ns = SystemClock::read(CLOCK_THREAD_CPUTIME_ID);
      call(outcome_);
      outcome_.cpu_ns = static_cast<double>(SystemClock::read(CLOCK_THREAD_CPUTIME_ID) - cpu_ns);
      outcome_.end_ns = clock_.boot_ns();
      back_.store(true, std::memory_order_release);  // from here on this may be gone
      away.came_back();
    }).detach();
  } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
    away_now_ = false;
    away_.came_back();
    settle({fail(Errc::io, fmt::format("it was stuck, and there is no thread to try it on: {}", e.what())), false,
            begin_ns, begin_ns, 0},
           0);
  }
}

bool Runner::take_back() {
  if (!back_.load(std::memory_order_acquire)) return false;
  back_.store(false, std::memory_order_relaxed);
  away_now_ = false;
  const auto outcome = std::exchange(outcome_, {});
  doubtful_ = outcome.end_ns - outcome.begin_ns > kQuickNs;
  hanging_ = false;
  stale_.reset();
  cost_.add(outcome.cpu_ns);
  settle(outcome, outcome.cpu_ns);
  changed_ = true;
  return true;
}

void Runner::hangs() {
  away_now_ = true;
  if (hanging_) return;
  hanging_ = true;
  Error error{Errc::timeout, 0,
              "it hangs in the agent: the kernel or a driver does not answer, or it has far too much to read; its last "
              "numbers stay for a while, all others go on without it"};
  if (batch_) {
    auto copy = std::make_shared<Batch>(*batch_);
    copy->health.ok = false;
    copy->health.error = error;
    stale_ = std::move(copy);
  }
  trouble_.failed(error, {}, false);
  changed_ = true;
}

void Runner::settle(const Outcome& outcome, double cpu_ns) {
  absent_.reset();
  auto result = outcome.result;
  try {
    if (outcome.broken) {  // also in the midst of a series
      writer_ = BatchWriter(name_);
      writer_.begin(outcome.begin_ns);
    }
    batch_ = writer_.finish(result, outcome.end_ns - outcome.begin_ns, static_cast<std::int64_t>(cpu_ns));
    if (!result && result.error().kind == Errc::absent) {
      if (batch_->values.empty()) {
        absent_ = result.error();
        retry_ns_ = outcome.begin_ns + kRetryNs;
      } else {  // what has numbers is there, whatever else is not: it is asked again, and what failed is told
        result.error().kind = Errc::io;
        auto copy = std::make_shared<Batch>(*batch_);
        copy->health.error = result.error();
        batch_ = std::move(copy);
      }
    }
  } catch (const std::bad_alloc&) {
    writer_ = BatchWriter(name_);
    batch_.reset();
    changed_ |= trouble_.failed({Errc::io, 0, "out of memory"}, {}, false);
    return;
  }
  if (!result) changed_ |= trouble_.failed(result.error(), batch_->health.problems, outcome.bug);
  else if (trouble_.any() || !batch_->health.problems.empty()) changed_ |= trouble_.worked(batch_->health.problems);
}

BatchPtr Runner::batch(std::int64_t now_ns) {
  if (!hanging_) return batch_;
  if (stale_ && now_ns - stale_->collected_boot_ns > kDropNs) {
    BatchWriter writer(name_);
    writer.begin(stale_->collected_boot_ns);
    batch_ = writer.finish(fail(*stale_->health.error), 0, 0);
    stale_.reset();
  }
  return stale_ ? stale_ : batch_;
}

double Runner::age_s(std::int64_t now_ns) const {
  return away_now_ && batch_ ? static_cast<double>(now_ns - batch_->collected_boot_ns) / 1e9 : 0;
}

std::string Runner::status() {
  if (!away_now_ && collector_) status_ = collector_->status();
  return status_;
}

}  // namespace vitald
