// SPDX-License-Identifier: Apache-2.0
// Queries over the history for Prometheus' HTTP API: their limits, the threads they run on, and a small cache of what
// was asked in this round already. Nothing here makes a scrape or a cycle wait.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/jobs.h"
#include "core/mutex.h"
#include "rules/history/store.h"
#include "rules/query.h"

namespace vitald {

class Queries {
 public:
  struct Settings {
    std::int64_t lookback_ns = 300'000'000'000;
    std::int64_t timeout_ns = 10'000'000'000;
    std::size_t max_concurrency = 2;
    std::size_t max_samples = 1'000'000;
    promql::Language language = {};
    promql::Dialect dialect = promql::Dialect::v3;
  };
  // What was asked so far: /api/stats/telemetry and the metrics.
  struct Stats {
    std::uint64_t queries = 0, cache_hits = 0, cache_misses = 0;
    std::int64_t in_flight = 0;
    double last_ms = 0, sum_ms = 0;
    std::int64_t last_wall_ms = 0;
  };

  using Source = std::function<std::shared_ptr<const History>()>;
  Queries(Settings settings, Source history, std::shared_ptr<const Wake> wake, const Clock& clock);
  ~Queries();

  // From any thread.
  void set(Settings settings);
  [[nodiscard]] Settings settings() const;
  [[nodiscard]] Stats stats() const;

  // What to do with the view, on a query's thread: the body of the answer, or why there is none.
  struct Outcome {
    std::string body;  // complete
    Response error;    // in its place
    bool failed = false;
  };
  using Work = std::function<Outcome(HistoryView& view, const QueryLimits& limits)>;

  struct Ask {
    std::string key;              // requests with the same one within a round have the same answer; empty: never
    std::int64_t timeout_ns = 0;  // the client's; 0: it gave none
    std::int64_t lookback_ms = 0;
    bool gzip = false;
    std::string content_type = {};  // of the answer; empty: JSON
    std::int64_t arrived_boot_ns = 0;
  };
  Answer run(const Ask& ask, Work work);
  // Something that is done in an instant but for the regular expressions that come with it: at once where there are
  // none (`patterns` false), else as a query.
  Answer run(const Request& request, bool patterns, std::function<Response(promql::PatternBudget& budget)> work);

  // Jobs::end().
  bool end(std::int64_t most_ns);

  // As of the last round; null where there is no history.
  [[nodiscard]] std::shared_ptr<HistoryView> view() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace vitald
