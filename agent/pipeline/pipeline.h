// SPDX-License-Identifier: Apache-2.0
// Collect and publish, one cycle at a time; then judge. The pipeline's own threads (crew.h) run the cycles that the
// interval asks for and judge them; a scrape that needs a newer snapshot runs a cycle on its own thread, which spares
// two thread switches (60 of 190 us a scrape), and judges nothing. A collector that hangs costs the thread it hangs in,
// and nothing else: another thread goes on with the cycle (baton.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/pipeline/away.h"
#include "agent/pipeline/baton.h"
#include "agent/pipeline/callbacks.h"
#include "agent/pipeline/collectors.h"
#include "agent/pipeline/crew.h"
#include "agent/pipeline/guard.h"
#include "agent/pipeline/judge.h"
#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/snapshot.h"
#include "rules/history/exemplars.h"

namespace vitald {

// All that a reload replaces.
struct PipelineConfig {
  std::shared_ptr<const Options> options;
  std::unique_ptr<RuleEngine> rules;
  std::vector<ReceiverPtr> receivers;
  std::shared_ptr<const StateDir> state = {};  // where receivers keep what waits; null: nowhere
  std::shared_ptr<Keeper> keeper = {};         // of what the rules know; null: nothing is kept
  std::shared_ptr<Silences> silences = {};     // by which receivers are not told of some alerts; null: of none
  std::vector<InhibitRule> inhibit_rules = {};
  std::shared_ptr<Callbacks> callbacks = {};  // that are told of events; null: none can be registered
  std::shared_ptr<Evidence> evidence = {};    // of alerts that fire; null: none is gathered
  bool probes_later = false;                  // after the first numbers, but for those asked for by name
};

class Pipeline {
 public:
  // `on_publish` is called after every cycle by the thread that ran it; it must not block.
  Pipeline(const Host& host, std::span<const CollectorEntry> entries, Collectors::MakeWorker make_worker,
           SnapshotHub& hub, std::function<void()> on_publish = {});
  ~Pipeline();

  // Directly where there are no threads (tests): whoever hangs, hangs.
  void configure(PipelineConfig config);
  SnapshotPtr cycle(std::int64_t patience_ns = Collectors::kPatienceNs);
  void judge(const Snapshot& published) { judge_.judge(published); }
  // `snapshot` with what the judge found last, for those who cannot wait for the next cycle.
  void add_results(Snapshot& snapshot) const { judge_.add_results(snapshot); }

  // The first cycle follows at once; it waits so long for workers, which are only being started.
  Result<> start(PipelineConfig config, std::int64_t first_patience_ns = Collectors::kPatienceNs);
  // False when a thread hangs in a collector and cannot be joined: then only _exit() is left, after end_receivers().
  bool stop(std::int64_t patience_ns);
  // After stop(): what waits for receivers is kept or told as lost, and what they run is ended.
  void end_receivers(std::int64_t patience_ns);

  // From any thread.
  // Waits until the configuration is in force, and has been judged for the first time. False when that took too long:
  // it will be all the same.
  bool reload(PipelineConfig config, std::int64_t patience_ns);
  // Runs a cycle on the calling thread, unless the newest one began at `boot_ns` or later. False, at once,
  // when another thread is at it: a snapshot that is new enough follows from there. Where a collector hangs already,
  // the pipeline's own threads see to it; otherwise one may begin to hang, so the caller must be a thread that others
  // can do without.
  bool collect(std::int64_t boot_ns);
  // A cycle that begins at `boot_ns` or later, on a thread of the pipeline.
  void want(std::int64_t boot_ns);
  // Waits until so many configurations are in force and judged: 1 is that of start().
  bool wait_for_configurations(std::uint64_t n, std::int64_t patience_ns) const;
  [[nodiscard]] CollectorStatuses status() const;
  [[nodiscard]] std::shared_ptr<const RulesView> rules() const { return judge_.view(); }
  [[nodiscard]] std::shared_ptr<const History> history() const { return judge_.history(); }

  // The newest events of all collectors.
  [[nodiscard]] const EventLog& events() const { return events_; }
  // The newest exemplars of all collectors.
  [[nodiscard]] const ExemplarLog& exemplars() const { return exemplars_; }

  static std::span<const MetricDesc> metrics();

 private:
  struct Instruments;
  // Many news of one collector in a row bring few cycles: a tenant may make a hundred processes die a second, and each
  // cycle is a sample of every series in history.
  struct NewsShare {
    double left = 0;
    bool heard = false;  // before its time: it is not listened to until then
    std::int64_t at_ns = -1'000'000'000'000;
    // How long until it may bring a cycle; 0: now. `most` in a row, then one each `each_ns`.
    std::int64_t wait_ns(std::int64_t now_ns, double most, std::int64_t each_ns);
  };

  void lead(bool taken_over);
  bool lead_once();
  bool handle_requests();
  bool serve_wanted();
  bool judge_newest();
  bool wait(std::optional<std::int64_t> until_ns);
  void wake() const;

  void configure_judge(PipelineConfig& config);

  // By the holder of the baton. Those that return a bool return false when it is with another thread now.
  void begin_configure(const PipelineConfig& config);
  void begin_cycle(std::int64_t patience_ns, bool may_make);
  [[nodiscard]] bool go_on();
  [[nodiscard]] bool steps();
  void publish();
  void show_status();
  // By the pipeline's threads. False when another one leads now.
  template <class F>
  [[nodiscard]] bool with_baton(F&& f);
  template <class F>
  [[nodiscard]] bool bring_to_end(bool taken_over, F&& f);
  [[nodiscard]] bool end_what_hangs();
  void given_up(const std::exception& e);

  const Host& host_;
  SnapshotHub& hub_;
  std::function<void()> on_publish_;
  Baton baton_;
  Away away_;
  // By whoever holds the baton: what follows up to instruments_.
  Collectors collectors_;
  BatchWriter writer_{"pipeline"};
  Guard guard_;
  EventLog events_;        // thread-safe
  ExemplarLog exemplars_;  // thread-safe
  bool configuring_ = false, retrying_ = false;
  std::shared_ptr<Snapshot> next_;  // that is being made
  bool round_begun_ = false;        // for it
  std::int64_t patience_ns_ = 0;
  std::uint64_t config_in_force_ = 0;
  std::uint64_t sequence_ = 0;
  std::int64_t last_begin_ns_ = -1;
  bool configured_ = false;
  std::int64_t last_retry_ns_ = 0;
  std::unique_ptr<Instruments> instruments_;

  // By the pipeline's leading thread; judge_ also by end_receivers(), which waits for judging_.
  std::timed_mutex judging_;  // held while it is configured or judges
  std::shared_ptr<Callbacks> callbacks_;
  Judge judge_;  // a scrape's cycle runs beside an evaluation
  std::int64_t interval_ns_ = 0, tick_ns_ = 0, first_patience_ns_ = 0;
  bool had_timer_ = false;
  std::vector<std::string_view> news_of_;  // collectors that have some
  std::map<std::string_view, NewsShare, std::less<>> news_shares_;
  std::uint64_t config_judged_ = 0, config_number_ = 0;

  // A collect() that came when another thread had the baton: the pipeline's threads see to it. 0: none.
  std::atomic<std::int64_t> wanted_boot_ns_{0};
  std::atomic<bool> retry_wanted_{false};
  std::atomic<bool> owes_probes_{false};  // collectors are left to be made between cycles
  Fd wake_;                               // eventfd
  mutable Mutex mutex_;
  mutable CondVar configured_now_;
  std::optional<PipelineConfig> next_config_ GUARDED_BY(mutex_);
  std::uint64_t asked_configs_ GUARDED_BY(mutex_) = 0, done_configs_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;
  CollectorStatuses status_ GUARDED_BY(mutex_);
  Crew crew_;  // last: its threads use all of it
};

}  // namespace vitald
