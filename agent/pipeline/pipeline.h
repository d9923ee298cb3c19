// SPDX-License-Identifier: Apache-2.0
// Collect and publish, one cycle at a time; then judge. The pipeline's own thread runs the cycles that the interval
// asks for and judges them; a scrape that needs a newer snapshot runs a cycle on its own thread, which spares two
// thread switches (60 of 190 us a scrape), and judges nothing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/pipeline/collectors.h"
#include "agent/pipeline/guard.h"
#include "agent/pipeline/judge.h"
#include "core/os/fd.h"
#include "core/snapshot.h"

namespace vitald {

// All that a reload replaces.
struct PipelineConfig {
  std::shared_ptr<const Options> options;
  std::unique_ptr<RuleEngine> rules;
  std::vector<CommandHookSettings> hooks;
  std::shared_ptr<const StateDir> state = {};  // where hooks keep what waits; null: nowhere
};

class Pipeline {
 public:
  // `on_publish` is called after every cycle by the thread that ran it; it must not block.
  Pipeline(const Host& host, std::span<const CollectorEntry> entries, Collectors::MakeWorker make_worker,
           SnapshotHub& hub, std::function<void()> on_publish = {});
  ~Pipeline();

  // The thread's own part, callable directly where there is no thread (--once, tests).
  void configure(PipelineConfig config);
  SnapshotPtr cycle(std::int64_t patience_ns = Collectors::kPatienceNs);
  void judge(const Snapshot& published) { judge_.judge(published); }
  // `snapshot` with what the judge found last, for those who cannot wait for the next cycle.
  void add_results(Snapshot& snapshot) const { judge_.add_results(snapshot); }

  // The first cycle follows at once.
  void start(PipelineConfig config);
  // False when the thread hangs in a collector and cannot be joined: then only _exit() is left.
  bool stop(std::int64_t patience_ns);

  // From any thread.
  void reload(PipelineConfig config);
  // Runs a cycle on the calling thread, unless the newest one began at `boot_ns` or later. False, at once,
  // when another thread is at it: a snapshot that is new enough follows from there. Takes as long as the slowest
  // collector, so the caller must be a thread that others can do without.
  bool collect(std::int64_t boot_ns);
  [[nodiscard]] CollectorStatuses status() const;
  [[nodiscard]] std::shared_ptr<const RulesView> rules() const { return judge_.view(); }
  [[nodiscard]] std::shared_ptr<const History> history() const { return judge_.history(); }

  // The newest events of all collectors.
  [[nodiscard]] const EventLog& events() const { return events_; }

  static std::span<const MetricDesc> metrics();

 private:
  struct Instruments;

  void loop();
  bool handle_requests();
  bool cycle_for(std::int64_t boot_ns);
  void serve_wanted();
  void judge_newest();
  void wait(std::optional<std::int64_t> until_ns);
  void wake() const;

  const Host& host_;
  SnapshotHub& hub_;
  std::function<void()> on_publish_;
  // Held by whoever runs a cycle, configures or looks after workers: guards what follows up to wake_.
  std::mutex turn_;
  Collectors collectors_;
  BatchWriter writer_{"pipeline"};
  Guard guard_;
  EventLog events_;  // thread-safe
  std::int64_t interval_ns_ = 0;
  std::uint64_t sequence_ = 0;
  std::int64_t last_begin_ns_ = -1;
  bool configured_ = false;
  std::int64_t last_retry_ns_ = 0;
  std::unique_ptr<Instruments> instruments_;

  Judge judge_;  // not under turn_: a scrape's cycle runs beside an evaluation
  // A collect() that came when turn_ was taken: the pipeline's thread sees to it. 0: none.
  std::atomic<std::int64_t> wanted_boot_ns_{0};
  Fd wake_;  // eventfd
  std::thread thread_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  // Guarded by mutex_.
  bool stop_ = false, ended_ = false;
  std::optional<PipelineConfig> next_config_;
  CollectorStatuses status_;
};

}  // namespace vitald
