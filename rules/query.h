// SPDX-License-Identifier: Apache-2.0
// A query that somebody asks once, over a view of the history: at one time, or step by step over a range; and which
// series and labels there are. Bounded in time and memory, whatever was asked. By one thread at a time, any.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "rules/history/view.h"
#include "rules/promql/ast.h"
#include "rules/promql/check.h"
#include "rules/promql/eval.h"

namespace vitald {

struct QueryLimits {
  std::int64_t lookback_ms = 300'000;
  std::size_t max_samples = 1'000'000;  // of the answer, and of what is in memory for it at one time
  promql::Language language = {};
  promql::Dialect dialect = promql::Dialect::v3;
  // Asked every few milliseconds; true: nobody waits for the answer any more, or not so long.
  std::function<bool()> given_up = [] { return false; };
};

struct QueryError {
  enum class Kind : std::uint8_t { bad_query, failed, too_much, given_up };
  Kind kind = Kind::failed;
  std::string text;
};
template <class T>
using Queried = tl::expected<T, QueryError>;

// Checked; or bad_query with Prometheus' words for where: "1:5: parse error: ...". One of our own making, or the
// owner's:
Queried<promql::ExprPtr> parse_query(std::string_view text, const promql::Language& language = {});
// What somebody sent: its regular expressions are bounded.
Queried<promql::ExprPtr> parse_query(std::string_view text, const QueryLimits& limits);
// {__name__="x"} or x{...} as in match[].
Queried<std::unique_ptr<promql::Selector>> parse_matchers(std::string_view text, promql::PatternBudget& budget);

struct QueryRow {
  promql::Labels labels;
  double value = 0;
  const promql::Histogram* histogram = nullptr;  // in place of the value; the answer's own
};
struct QueryAnswer {
  promql::ValueType type = promql::ValueType::none;
  std::string text;            // of a string
  std::vector<QueryRow> rows;  // of a vector; of a scalar the one row's value
  std::vector<std::pair<promql::Labels, std::vector<promql::Point>>> matrix;
  std::vector<promql::HistogramPtr> histograms;  // that rows and points refer to
  std::vector<promql::Annotation> annotations;   // each once
};

Queried<QueryAnswer> instant_query(const promql::Expr& query, promql::SeriesSource& source, std::int64_t t_ms,
                                   const QueryLimits& limits);
// A matrix, sorted by labels. `step_ms` > 0.
Queried<QueryAnswer> range_query(const promql::Expr& query, promql::SeriesSource& source, std::int64_t start_ms,
                                 std::int64_t end_ms, std::int64_t step_ms, const QueryLimits& limits);

// Series that match one of `matchers` (all, when there is none) and have a sample in [first, last]; each once, sorted.
using Selectors = std::vector<std::unique_ptr<promql::Selector>>;
Queried<std::vector<promql::Labels>> find_series(const Selectors& matchers, HistoryView& view, std::int64_t first_ms,
                                                 std::int64_t last_ms, const QueryLimits& limits);

// Since when there may be samples; wall time.
std::int64_t oldest_wall_ms(const HistoryView& view);

// As Prometheus sorts label sets: by the first name that differs, then by its value.
bool labels_before(const promql::Labels& a, const promql::Labels& b);

}  // namespace vitald
