// SPDX-License-Identifier: Apache-2.0
// Evaluates one checked expression against one source, again and again. What depends on label sets only
// (matching, grouping, result labels) is computed when the sets change; a steady evaluation moves numbers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "rules/promql/ast.h"
#include "rules/promql/functions.h"
#include "rules/promql/pattern.h"
#include "rules/promql/series_source.h"

namespace vitald::promql {

struct EvalOptions {
  std::int64_t lookback_ms = 300'000;      // how old the newest sample of a series may be
  std::int64_t subquery_step_ms = 60'000;  // of subqueries without one
  std::int64_t past_ms = 0;                // it will be evaluated this far behind the newest samples
  std::int64_t step_ms = 0, range_ms = 0;  // of the query, for step() and range(); 0: it is evaluated at one time
  Dialect dialect = Dialect::v3;
  // An evaluation that takes more ends in an error: one unit is about a sample read, 10 to 20 ns.
  std::int64_t max_work = 50'000'000;
  // Samples, or series without any, that all parts of the expression may hold at the same time; 0: as many as there
  // are.
  std::size_t max_samples = 0;
  // Asked every millisecond or so; true: the evaluation ends in an error of the kind timeout. Empty: never.
  std::function<bool()> given_up = {};
  PatternBudget patterns = PatternBudget::of_owner();  // of label_replace()
};

// Prometheus' words for it, and what to do.
std::string too_many_samples(std::size_t most);

struct Sample {
  Sample() = default;
  Sample(std::uint32_t s, double v, std::uint32_t h = 0) : series(s), histogram(h), value(v) {}
  std::uint32_t series = 0;     // index into the shape
  std::uint32_t histogram = 0;  // 0: it is a number; else Value::histogram() has it
  double value = 0;
};

// What a query found odd, and went on.
struct Annotation {
  bool warning = false;  // else it is only information
  Span where;
  std::string what;
  bool operator==(const Annotation&) const = default;
  // "PromQL warning: ... (1:6)", with the place in `query`, as Prometheus' API writes it.
  [[nodiscard]] std::string text(std::string_view query) const;
};
struct Vector {
  ShapePtr shape;
  std::vector<Sample> samples;  // at most one per series; the order is the result's
  [[nodiscard]] const Labels& labels(const Sample& s) const { return shape->series[s.series]; }
};

struct Value {
  ValueType type = ValueType::none;
  double scalar = 0;
  std::string text;
  const Vector* vector = nullptr;  // the evaluator's own, valid until its next evaluation
  std::vector<std::pair<Labels, std::vector<Point>>> matrix;
  const std::vector<const Histogram*>* histograms = nullptr;
  const std::vector<Annotation>* annotations = nullptr;
  // Null when the sample is a number. As long as `vector`.
  [[nodiscard]] const Histogram* histogram(const Sample& s) const {
    return s.histogram > 0 ? (*histograms)[s.histogram] : nullptr;
  }
};

class Evaluator {
 public:
  // Both must outlive it. Binds the selectors of the expression.
  Evaluator(const Expr& root, SeriesSource& source, EvalOptions options = {});
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;

  Result<Value> eval(std::int64_t t_ms) { return eval(t_ms, t_ms, t_ms); }
  // As one step of a query from start to end, which start() and end() refer to.
  Result<Value> eval(std::int64_t t_ms, std::int64_t start_ms, std::int64_t end_ms);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vitald::promql
