// SPDX-License-Identifier: Apache-2.0
// The alerts as a file, and back: what a restart must not forget of them, or tell a second time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/alert.h"
#include "core/moment.h"
#include "core/result.h"
#include "core/text/sections.h"

namespace vitald {

struct SavedAlert {
  Alert alert;  // pending or firing
  std::int64_t active_boot_ms = 0;
  bool absent = false;              // firing on, though the expression gives it no more (keep_firing_for)
  std::int64_t absent_boot_ms = 0;  // since when
};

struct SavedAlerts {
  struct Rule {
    std::string file, group, name, query;
    LabelMap labels;  // as the rule has them, not expanded
    std::vector<SavedAlert> alerts;
  };
  std::vector<Rule> rules;              // those that have alerts
  std::vector<AlertTransition> untold;  // that receivers may not have heard of
  std::uint64_t last_number = 0;        // of a transition
  std::set<std::uint64_t> withheld;     // fingerprints of what fires and was muted, so that receivers do not know it
  AlertBegins begins;                   // of what fires, as it was told
  [[nodiscard]] bool empty() const { return rules.empty() && untold.empty(); }
};

// `last`: the last evaluation.
Result<> save(const SavedAlerts& alerts, const Moment& last, SectionWriter::Sink sink);

struct LoadedAlerts {
  Moment last;
  SavedAlerts alerts;
};
// With times as they were written.
Result<LoadedAlerts> load_alerts(SectionReader::Source source, std::size_t file_bytes);

}  // namespace vitald
