// SPDX-License-Identifier: Apache-2.0
// Collect, judge, publish: one cycle at a time. The pipeline's own thread runs those that the interval asks
// for; a scrape that needs a newer snapshot runs one on its own thread, which spares two thread switches (60
// of 190 us a scrape).
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
#include "core/os/fd.h"
#include "core/snapshot.h"
#include "exporters/deliver/command.h"
#include "rules/engine.h"

namespace vitald {

// All that a reload replaces.
struct PipelineConfig {
  std::shared_ptr<const Options> options;
  std::unique_ptr<RuleEngine> rules;
  std::vector<CommandHookSettings> hooks;
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
  [[nodiscard]] std::shared_ptr<const RulesView> rules() const;

  static std::span<const MetricDesc> metrics();

 private:
  struct Instruments;

  void loop();
  bool handle_requests();
  void wait(std::optional<std::int64_t> until_ns);
  void wake() const;

  const Host& host_;
  SnapshotHub& hub_;
  std::function<void()> on_publish_;
  // Held by whoever runs a cycle, configures or looks after workers: guards what follows up to wake_.
  std::mutex turn_;
  Collectors collectors_;
  BatchWriter writer_{"pipeline"};
  std::shared_ptr<RuleEngine> rules_;  // changed under mutex_ by the pipeline's thread only
  std::vector<std::unique_ptr<CommandHook>> hooks_;
  std::int64_t interval_ns_ = 0;
  std::uint64_t sequence_ = 0;
  std::int64_t last_begin_ns_ = -1;
  bool configured_ = false;
  std::int64_t last_retry_ns_ = 0;
  std::unique_ptr<Instruments> instruments_;

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
