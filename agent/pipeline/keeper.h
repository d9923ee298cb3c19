// SPDX-License-Identifier: Apache-2.0
// What the rules know goes to the state folder, so that a restart forgets nothing: read before the first round; the
// history written at the end and every --history.save-interval, alerts and claims when they change. Threads of its own
// write: a disk that hangs holds up nobody.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "core/alert.h"
#include "core/host.h"
#include "core/os/state_dir.h"
#include "core/snapshot.h"

namespace vitald {

class History;
class RuleEngine;
class Silences;
struct SavedAlerts;

class Keeper {
 public:
  // The names of its files in the state folder.
  static constexpr const char* kHistoryFile = "history";
  static constexpr const char* kAlertsFile = "alerts";
  static constexpr const char* kMarksFile = "silences";
  static constexpr const char* kClaimsFile = "claims";
  // So often the file of alerts says that they were still there: what a crash may take from a pending one's time.
  static constexpr std::int64_t kAlertsIntervalNs = 15'000'000'000;

  Keeper(std::shared_ptr<const StateDir> state, const Host& host);
  // Waits for what is being written, two seconds at most.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // By the judge's thread.
  // Of an earlier run's alerts what is not a rule's: which of those that fire receivers were not told of
  // (fingerprints), and since when they fire as it was told.
  struct Restored {
    std::set<std::uint64_t> withheld;
    AlertBegins begins;
  };
  // What an earlier run left goes to rules that have judged nothing. A file that cannot be read is set aside, with a
  // warning.
  Restored restore(RuleEngine& rules);
  // From here on this history is written.
  void keep(std::shared_ptr<const History> history);
  // These are the alerts of the round of `judged`. Waits until they are on disk, so long at most, and not again for a
  // disk that has not answered since.
  void keep(SavedAlerts alerts, const Snapshot& judged, std::int64_t patience_ns);
  // What receivers own, as the judge writes it; waits for nothing.
  void keep_claims(std::string text);
  // They are the same as after the round before.
  void still(const Snapshot& judged);

  // What people said about alerts in earlier runs; from here on a change waits until it is on disk.
  [[nodiscard]] std::shared_ptr<Silences> silences() const;

  // From any thread.
  // So often the history is written; 0: only by save().
  void set_interval(std::int64_t ns);
  // All of it now. False when that takes longer; it goes on then.
  bool save(std::int64_t patience_ns);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // its threads have it too: one that hangs in the kernel outlives this
};

}  // namespace vitald
