// SPDX-License-Identifier: Apache-2.0
// What follows a published snapshot: the rules judge it, receivers hear what changed. It runs after publish(), on that
// thread of the pipeline which leads, so no scrape waits for a rule; a snapshot carries what was found the last time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/pipeline/evidence.h"
#include "agent/pipeline/guard.h"
#include "agent/pipeline/keeper.h"
#include "core/event.h"
#include "core/mutex.h"
#include "core/snapshot.h"
#include "exporters/deliver/receiver.h"
#include "rules/engine.h"
#include "rules/silences.h"

namespace vitald {

class Judge {
 public:
  Judge();
  ~Judge();

  // These by one thread at a time: the pipeline's that leads, end() by who ends it (without threads, the caller's).
  // Alerts and history go over to the new rules; a receiver of the same name goes on with what waits; `state` is
  // where that is kept, if anywhere. The first rules go on with what the keeper has of an earlier run.
  void configure(std::unique_ptr<RuleEngine> rules, std::vector<ReceiverPtr> receivers,
                 std::shared_ptr<const StateDir> state = nullptr, std::shared_ptr<Keeper> keeper = nullptr,
                 std::shared_ptr<Silences> silences = nullptr);
  // Where changes of alerts are events, too.
  void set_events(EventLog* events) { events_ = events; }
  // What is written down before receivers are told; null: nothing.
  void set_evidence(std::shared_ptr<Evidence> evidence) { evidence_ = std::move(evidence); }
  // Evaluates what is due, and at once what reads numbers of collectors that have `news`; then tells the receivers. An
  // exception costs this round, not the agent.
  void judge(const Snapshot& published, std::span<const std::string_view> news = {});
  // No receiver is told anything any more; what waits for them is kept or told as lost.
  void end();
  // Whether a rule asks for one of these families by its full name.
  [[nodiscard]] bool reads_any(std::span<const MetricDesc> families) const {
    return rules_ && rules_->reads_any(families);
  }
  // No rules: nobody needs a timer.
  [[nodiscard]] bool idle() const { return !rules_ || rules_->empty(); }

  // These by any thread; they never wait for an evaluation.
  // The last round's results become part of `snapshot`.
  void add_results(Snapshot& snapshot) const;
  // Families that are the rules' alone: ALERTS, what they record. Null where there are no rules.
  [[nodiscard]] std::shared_ptr<const FamilyNames> families() const;
  // Of all series that were judged. Null before the first configure(); another one after a reload may follow.
  [[nodiscard]] std::shared_ptr<const History> history() const;
  // As of the end of the last round or of configure(). Null before the first configure().
  [[nodiscard]] std::shared_ptr<const RulesView> view() const;

 private:
  struct Instruments;

  void show(BatchPtr batch);
  void watch_history();
  void look_for_left_behind(const StateDir& state);
  void tell(std::vector<AlertTransition> every, const Snapshot& published);
  void gather_evidence(std::vector<AlertTransition>& transitions, const Snapshot& published);
  [[nodiscard]] std::vector<AlertTransition> as_one(std::vector<AlertTransition>& every);
  void as_begun(Alert& alert) const;
  // Whoever looks sees alerts as they were told.
  void show_begins();
  // Each once, however many rules make it.
  [[nodiscard]] std::vector<Alert> firing_now() const;
  [[nodiscard]] std::vector<Alert> told_now(const ReceiverSettings& receiver) const;
  // Whether its matchers, if it has any, fit.
  [[nodiscard]] bool hears(const ReceiverSettings& receiver, const Alert& alert) const;
  // Fingerprints of those of `alerts` that a silence or an inhibition applies to.
  [[nodiscard]] std::set<std::uint64_t> muted_of(const std::vector<Alert>& alerts, std::int64_t now_ms) const;
  std::vector<AlertTransition> without_muted(const std::vector<AlertTransition>& transitions, std::int64_t now_ms);
  void note_events(const std::vector<AlertTransition>& transitions, const std::vector<AlertTransition>& audible,
                   const Snapshot& published) const;
  void log_transitions(const std::vector<AlertTransition>& transitions);
  void failed(std::string what);

  EventLog* events_ = nullptr;
  std::shared_ptr<Keeper> keeper_;
  bool restored_ = false;          // from it
  std::uint64_t alerts_kept_ = 0;  // the version of the alerts that it has
  std::shared_ptr<Silences> silences_;
  std::shared_ptr<Evidence> evidence_;
  AlertBegins begins_;                               // of what fires
  bool begins_have_old_ = false;                     // of the run before, whose ends are not told yet
  std::shared_ptr<const AlertBegins> begins_shown_;  // the same, in the view
  std::set<std::uint64_t> withheld_;  // fingerprints of what fires and was muted, so that receivers do not know it
  std::unique_ptr<RuleEngine> rules_;
  std::vector<std::unique_ptr<Receiver>> receivers_;
  std::map<std::string, Matchers> matchers_;   // by receiver, where it has any
  std::map<std::string, std::string> claims_;  // by receiver: what it owns, or owned in the run before
  bool claims_loaded_ = false;
  std::unique_ptr<Instruments> instruments_;  // made with the first rules: without any there are no series of it
  std::string last_failure_;                  // of the last round; logged when it is another one
  std::uint64_t evicted_ = 0;                 // of the history, as counted so far
  bool short_history_said_ = false;           // since the last configure()
  std::set<std::string> left_behind_said_;

  mutable Mutex mutex_;
  // What they point to never changes.
  BatchPtr batch_ GUARDED_BY(mutex_);
  std::shared_ptr<const FamilyNames> families_ GUARDED_BY(mutex_);
  std::shared_ptr<const RulesView> view_ GUARDED_BY(mutex_);
  std::shared_ptr<const History> history_ GUARDED_BY(mutex_);
};

}  // namespace vitald
