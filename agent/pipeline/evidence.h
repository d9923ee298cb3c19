// SPDX-License-Identifier: Apache-2.0
// What an alert looked like from inside, kept for whoever is paged: when alerts fire, the series of their expressions,
// the busiest owners and what the machine is at are written to the state folder before anybody is told, and the
// message says where. And the last words of a host that may die: one line in the kernel's log for a critical alert.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "core/host.h"
#include "core/mutex.h"
#include "core/os/state_dir.h"
#include "core/snapshot.h"
#include "rules/engine.h"
#include "rules/history/store.h"

namespace vitald {

struct EvidenceSettings {
  std::size_t disk_bytes = std::size_t{64} << 20;  // of all bundles, the oldest go; 0: none is written
  std::int64_t span_ms = 600'000;                  // how far back the series go
  bool last_words = true;
  std::string kernel_log = "/dev/kmsg";
  promql::Language language = {};
};

class Evidence {
 public:
  // Of one bundle: of all alerts that fired in a round.
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20;
  static constexpr std::int64_t kPatienceNs = 1'000'000'000;
  // Lines in the kernel's log: of an alert one, of all so many.
  static constexpr std::size_t kMostWordsPerMinute = 10;
  static constexpr const char* kFolder = "evidence";

  // Without a state folder there are last words only.
  Evidence(std::shared_ptr<const StateDir> state, const Host& host);
  ~Evidence();
  Evidence(const Evidence&) = delete;
  Evidence& operator=(const Evidence&) = delete;

  // From any thread.
  void set(EvidenceSettings settings);

  // The judge's, before anybody is told. Waits for a bundle a second at most; what takes longer is told without.
  struct Round {
    std::vector<Alert> fires;
    std::set<std::uint64_t> muted = {};  // fingerprints of those that nobody is told of: no last words of them
    std::shared_ptr<const RulesView> rules;
    std::shared_ptr<HistoryView> history;
    Snapshot published;
  };
  void gather(Round round);
  // Adds the annotations `evidence` and `evidence_sha256` where there is a bundle of this alert: of this firing, not of
  // one before it.
  void refer(Alert& alert) const;
  // What had changed most when it fired, a text each: "rate of node_forks_total{...} 12 -> 3400".
  [[nodiscard]] std::vector<std::string> changes_of(const Alert& alert) const;
  void forget(std::uint64_t fingerprint);

  // The newest bundle of the alert of this uuid or fingerprint. absent: there is none. From any thread; waits for the
  // disk.
  [[nodiscard]] Result<std::string> of(std::string_view id) const;

  // Nothing is gathered, and all bundles are on disk. A thread that hangs in the disk uses the host that was given.
  [[nodiscard]] bool idle(std::int64_t patience_ns) const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // the gathering thread has it too: one that hangs outlives this
};

// For tests: the bundle as it would be written.
std::string evidence_json(const Evidence::Round& round, const Host& host, const EvidenceSettings& settings,
                          std::int64_t deadline_boot_ns);

}  // namespace vitald
