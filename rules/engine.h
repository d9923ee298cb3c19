// SPDX-License-Identifier: Apache-2.0
// The rules' one face to the agent: load files, evaluate per cycle, tell what changed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "core/result.h"
#include "core/snapshot.h"
#include "rules/known_family.h"
#include "rules/promql/check.h"
#include "rules/promql/functions.h"

namespace vitald {

class AlertReach;
class History;
struct ChecksView;
struct LoadedAlerts;
struct Moment;
struct SavedAlerts;
namespace history {
struct Saved;
}

// What the API shows of a rule and no evaluation changes: made when the rules are loaded, shared by all views.
struct DeclaredRule {
  bool alerting = false;
  std::string name, query, file;
  std::string metric = {}, op = {};      // of an alert: what is compared and how, where that can be told (measured.h)
  std::optional<double> threshold = {};  // with what
  double duration_s = 0, keep_firing_for_s = 0;
  LabelMap labels = {}, annotations = {};
};
// And what an evaluation changes: a copy, so that nobody who looks at it waits for one.
struct RuleView {
  std::shared_ptr<const DeclaredRule> declared;  // never null in a view that an engine gave
  std::string_view health = "unknown";           // ok | err | unknown
  std::string last_error;
  std::string warning;  // of what does not make it fail: history that is shorter than what it looks back at
  AlertState state = AlertState::inactive;
  std::vector<Alert> alerts;
  double evaluation_s = 0;
  std::int64_t last_evaluation_ms = 0;
};
struct GroupView {
  std::string name, file;
  double interval_s = 0;
  std::size_t limit = 0;
  std::vector<RuleView> rules;
  double evaluation_s = 0;
  std::int64_t last_evaluation_ms = 0;
};
struct RulesView {
  std::vector<GroupView> groups;
  std::shared_ptr<const ChecksView> checks;        // rules/checks.h; null where there are none
  std::shared_ptr<const AlertBegins> begins = {};  // of what fires, as it was told; null: as each rule has it
  LabelMap external_labels = {};                   // see sent_labels() in core/alert.h
};

struct RuleSettings {
  std::vector<std::string> files = {};        // paths or globs
  std::vector<std::string> check_files = {};  // Rackscope's libraries: paths, globs or folders
  std::int64_t interval_ms = 5000;            // of groups that set none: the pipeline's
  promql::Language language = {};
  promql::Dialect dialect = promql::Dialect::v3;
  LabelMap external_labels = {};  // $externalLabels; added to what leaves the host, not to the series
  std::string external_url = {};  // $externalURL, externalURL, pathPrefix
  // What a server would add to scraped series (job, instance), for rules that ask for it (job="node"). Selectors,
  // results and alerts have them; the exposition has not, since there the server adds its own.
  LabelMap series_labels = {};
  // All families that can be made here: selectors of others get a warning. Empty: not known.
  std::vector<KnownFamily> families = {};
  std::function<std::vector<std::string>()> names_here = {};  // see NamesHere in rules/reach.h
  bool without_rules = false;                                 // a history is wanted where there are no rules, too
  std::int64_t history_retention_ms = 3'600'000;
  std::size_t history_limit_bytes = std::size_t{16} << 20;
  std::vector<std::string> history_keep = {};    // see parse_keep() in rules/keep.h
  std::int64_t outage_tolerance_ms = 3'600'000;  // after a longer one alerts begin anew
  std::int64_t outage_grace_ms = 600'000;        // see Outage in rules/alerts.h
};

// By one thread (the pipeline's): what others may look at is handed out as view().
class RuleEngine {
 public:
  // All problems of all files, each "file:line:column: what, expected what". On error nothing is made.
  static std::unique_ptr<RuleEngine> load(const RuleSettings& settings, std::vector<std::string>& problems);
  virtual ~RuleEngine();
  // What makes rules worse and not useless, as templates that cannot be parsed; each with its place.
  [[nodiscard]] const std::vector<std::string>& warnings() const;

  // What alerts get when they leave.
  [[nodiscard]] const LabelMap& external_labels() const;
  // Which alerts its rules can make.
  [[nodiscard]] AlertReach alert_reach(std::span<const KnownFamily> families) const;

  // Takes over alert state and history of the rules that stayed the same (after a reload).
  void adopt(RuleEngine& old);

  // The history that an earlier run saved, before the first evaluation. False: it is of other series_labels.
  bool restore(history::Saved saved);

  // The alerts of an earlier run, before the first evaluation. What receivers may not have heard of is told (again).
  // After an outage of more than the tolerance everything begins anew: what fired is told as resolved.
  void restore(LoadedAlerts saved, const Moment& now);
  // The alerts as they are, for another run. `untold`: what receivers hear of only now.
  [[nodiscard]] SavedAlerts alerts_to_save(std::vector<AlertTransition> untold) const;
  // Another number when there is something else to save.
  [[nodiscard]] std::uint64_t alerts_version() const;

  // Takes the snapshot into the history and evaluates the groups that are due at its time, rule by rule: what
  // a rule records, the next one sees. Returns ALERTS, ALERTS_FOR_STATE and recorded series as batch "rules".
  virtual BatchPtr evaluate(const Snapshot& snapshot);
  // The kernel has told these collectors of something: the next evaluate() also runs the groups that read a family of
  // theirs, or what such a group records, whenever those are due. Their schedule stays.
  void announce(std::span<const std::string_view> collectors);
  // Whether a group asks for one of these families by its full name.
  [[nodiscard]] bool reads_any(std::span<const MetricDesc> families) const;
  // The families that evaluate() returns series of, now or later: those of alerts, what rules record, checks. Empty
  // where there are neither rules nor checks.
  [[nodiscard]] std::set<std::string, std::less<>> own_families() const;
  // What changed since the last call, oldest first, each with its number.
  std::vector<AlertTransition> take_transitions();
  // With a number, for one that is told at another time than it happened.
  AlertTransition numbered(AlertTransition transition);

  [[nodiscard]] std::shared_ptr<const RulesView> view(std::shared_ptr<const AlertBegins> begins = nullptr) const;
  [[nodiscard]] std::size_t rule_count() const;
  [[nodiscard]] std::size_t check_count() const;
  // How often evaluate() has to be called for every group to keep its interval: the shortest there is.
  [[nodiscard]] std::int64_t interval_ms() const;
  // Of all series, for readers on any thread (History::view). The rules after a reload go on with it.
  [[nodiscard]] const std::shared_ptr<History>& history() const;
  // Nothing to evaluate: the agent then runs no timer.
  [[nodiscard]] virtual bool empty() const;

  static std::span<const MetricDesc> metrics();

 protected:
  RuleEngine();  // without rules; for tests that stand in for it

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vitald
