// SPDX-License-Identifier: Apache-2.0
// What changed: every series of the history, ranked by how much it is another one in a window than in a baseline
// before it. Nobody says what to look for, so that the cause shows that nobody thought of.
//
// How different two windows are is the distance of Kolmogorov and Smirnov between their values (0 to 1: the largest
// difference between the two distributions), times the size of the change (0 to 1, on a logarithmic scale up to twenty
// times: against how much the series moved before, and a twentieth of what the series of its family are). The distance
// alone is 1 for a disk that fills by a byte a minute; the size alone is large for what twitches once. Counters are
// looked at as rates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rules/query.h"

namespace vitald {

struct ExplainAsk {
  std::int64_t start_ms = 0, end_ms = 0;                    // of the window; wall time
  std::int64_t baseline_start_ms = 0, baseline_end_ms = 0;  // ends at or before the window begins
  std::size_t limit = 20;                                   // of the answer
  bool each_series = false;                                 // else of a family the series that changed most
  bool self = false;                                        // vitald's numbers about itself, too
  Selectors match;                                          // one of them fits; none: all series
};

struct Change {
  promql::Labels labels;
  bool rate = false;              // before and now are per second
  double before = 0, now = 0;     // means
  double distance = 0, size = 0;  // 0 to 1
  double score = 0;               // their product
  std::size_t others = 0;         // series of the family that changed at least half as much
  // A counter that was not there counts from 0; of a gauge that was not `before` is NaN.
  bool appeared = false, gone = false;
};
struct Explanation {
  std::vector<Change> changes;  // the greatest first
  std::size_t series = 0;       // looked at
  std::size_t too_short = 0;    // with too few samples in one of the two, and nothing that tells why
};

// Least samples of a series in each, for it to be compared.
inline constexpr std::size_t kLeastExplained = 4;

// Takes some 20 us for a series of an hour, and memory for one series at a time and some words of each.
Queried<Explanation> explain(const ExplainAsk& ask, const HistoryView& view, const QueryLimits& limits);

// The distance; both are sorted by it.
double ks_distance(std::vector<double>& a, std::vector<double>& b);

}  // namespace vitald
