// SPDX-License-Identifier: Apache-2.0
// The newest exemplars of each bucket: which observation it was, and whose. They lie beside the history, in memory
// only, since nobody asks a rule about them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/batch.h"
#include "core/mutex.h"
#include "core/snapshot.h"
#include "rules/promql/ast.h"
#include "rules/promql/labels.h"

namespace vitald {

// Thread-safe.
class ExemplarLog {
 public:
  static constexpr std::size_t kMostOfOne = 4;     // of a bucket: the newest
  static constexpr std::size_t kMostSeries = 512;  // then the one whose newest is the oldest goes

  // Those of batches that were not in a snapshot before. By one caller at a time, in order of time.
  void append(const Snapshot& snapshot);

  struct Series {
    promql::Labels labels;            // of the bucket, with `series_labels`
    std::vector<Exemplar> exemplars;  // oldest first
  };
  // Of series that all matchers of one of `selectors` fit, within [start, end] of wall time; ordered by labels.
  // `series_labels` are those that every series has in history.
  [[nodiscard]] std::vector<Series> find(const promql::Expr& selectors,
                                         const std::map<std::string, std::string>& series_labels, std::int64_t start_ms,
                                         std::int64_t end_ms) const;
  [[nodiscard]] std::size_t size() const;  // exemplars

 private:
  struct Kept {
    std::vector<std::pair<std::string, std::string>> labels;  // as the target says them, with the name
    std::deque<Exemplar> newest;
  };
  void make_room() REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, std::int64_t, std::less<>> seen_boot_ns_ GUARDED_BY(mutex_);  // by collector: of its last batch
  std::map<std::string, Kept, std::less<>> kept_ GUARDED_BY(mutex_);                  // by the series as text
};

}  // namespace vitald
