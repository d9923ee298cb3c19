// SPDX-License-Identifier: Apache-2.0
// One collector that runs in the agent. Usually on the thread of the round; one that was stuck runs on a thread of its
// own until it is quick again. While it is away with a thread its last numbers are shown, with their age.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/pipeline/away.h"
#include "agent/pipeline/baton.h"
#include "agent/pipeline/cost.h"
#include "agent/pipeline/trouble.h"
#include "core/collector.h"

namespace vitald {

// All calls by whoever holds the baton.
class Runner {
 public:
  // A collection takes a fraction of a millisecond. One that sleeps for this long may never end.
  static constexpr std::int64_t kOverdueNs = 200'000'000;
  // On a thread of its own nobody waits for it, so it hangs only after longer.
  static constexpr std::int64_t kHangsNs = 1'000'000'000;
  // So quick it may run on the round's thread again.
  static constexpr std::int64_t kQuickNs = 50'000'000;
  // Age at which its last numbers are no longer shown.
  static constexpr std::int64_t kDropNs = 30'000'000'000;
  // How often something that this machine did not have is looked for again.
  static constexpr std::int64_t kRetryNs = 60'000'000'000;

  // `again` makes another one like the collector: nobody knows what one that an exception has left had taken for done.
  using Make = std::function<Result<std::unique_ptr<Collector>>()>;
  Runner(std::string_view name, std::unique_ptr<Collector> collector, Make again, const Clock& clock, Baton& baton,
         Away& away);

  // When a run begins; from boot time to wall time; see Cost.
  struct Begin {
    std::int64_t boot_ns = 0, wall_offset_ns = 0;
    bool measure = false;
  };
  // Begins where the one before ended; returns its own end. Nothing when it took so long that the baton is with another
  // thread: the caller must not touch anything any more.
  std::optional<std::int64_t> run(const Begin& begin);
  // One that reads nothing outside the cycle, and must not stay behind with what it reads: nobody takes over from it.
  std::int64_t run_to_end(const Begin& begin);
  // The holder before was in run() and is away with it.
  void hangs();
  // It is away with a thread: this must outlive that.
  [[nodiscard]] bool away() { return away_now_ && !take_back(); }

  // Null before the first.
  [[nodiscard]] BatchPtr batch(std::int64_t now_ns);
  [[nodiscard]] bool ok() const { return !hanging_ && batch_ && batch_->health.ok; }
  [[nodiscard]] double age_s(std::int64_t now_ns) const;
  [[nodiscard]] const Cost& cost() const { return cost_; }
  [[nodiscard]] const Trouble& trouble() const { return trouble_; }
  [[nodiscard]] std::string status();
  [[nodiscard]] int news_fd() const { return away_now_ || !collector_ ? -1 : collector_->news_fd(); }
  // Whether status() says something else than at the last call of this.
  [[nodiscard]] bool take_changed() { return std::exchange(changed_, false); }

 private:
  struct Outcome {
    Result<> result;
    bool bug = false;
    std::int64_t begin_ns = 0, end_ns = 0;
    double cpu_ns = 0;    // of one that was away
    bool broken = false;  // by an exception
  };
  void call(Outcome& outcome) noexcept;
  Result<> collect();
  std::optional<std::int64_t> run_absent(const Begin& begin);
  void aside(const Begin& begin);
  bool take_back();
  void settle(const Outcome& outcome, double cpu_ns);

  const std::string name_;
  const Clock& clock_;
  Baton& baton_;
  Away& away_;
  std::unique_ptr<Collector> collector_;  // null: it is to be made again
  const Make make_again_;
  BatchWriter writer_;
  Trouble trouble_;
  Cost cost_;
  BatchPtr batch_, stale_;
  std::optional<Error> absent_;  // nothing to collect here; looked for again at retry_ns_
  std::int64_t retry_ns_ = 0;
  std::string status_;
  bool changed_ = false;

  // While away_now_, the collector, the writer and outcome_ are the other thread's, until it says so in back_.
  bool away_now_ = false;
  std::int64_t since_ns_ = 0;
  bool hanging_ = false;
  bool doubtful_ = false;  // it was stuck and has not been quick since
  Outcome outcome_;
  std::atomic<bool> back_{false};
};

}  // namespace vitald
