// SPDX-License-Identifier: Apache-2.0
// The evaluator's inside, shared by the files that evaluate one kind of expression each: bind, binary, aggregate,
// calls, ranges, label_functions, histograms.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rules/promql/check.h"
#include "rules/promql/eval.h"
#include "rules/promql/exact_sum.h"
#include "rules/promql/matching.h"

namespace vitald::promql {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// What a group of an aggregation adds up.
struct Accumulator {
  std::uint32_t count = 0;
  bool incremental = false;  // the sum would overflow: avg goes on with the mean
  ExactSum sum;
  double extreme = 0, mean = 0, squares = 0;  // of min and max; of avg, stddev and stdvar
};

class Evaluator::Impl {
 public:
  Impl(const Expr& root, SeriesSource& source, EvalOptions options);
  Result<Value> eval(std::int64_t t, std::int64_t start, std::int64_t end);

 private:
  // What a node computed from labels, valid as long as its inputs have the same shapes.
  struct Cache {
    ShapePtr in, in2;  // the inputs it was computed from
    Relabelled relabelled;
    Groups groups;
    Matched matched;
    std::unordered_map<std::uint64_t, std::uint32_t> pairs;  // (many, one) -> result series, for group_left(x)
    std::shared_ptr<Shape> pair_shape;
    std::vector<double> bounds;  // of histogram_quantile: the bucket's le per series, NaN when it has none
    std::vector<std::int32_t> seen;
    std::vector<Accumulator> sums;
    std::vector<std::vector<Sample>> lists;
    std::vector<std::vector<HistogramBucket>> buckets;
    SeriesSource::Buffer buffer;
    std::vector<SeriesSource::Buffer> columns;  // of a subquery, one per series
  };
  struct Node {
    Vector out;
    std::uint32_t handle = 0;  // of a selector
    std::unique_ptr<Cache> cache;
  };

  Node& node(const Expr& e) {
    auto& n = nodes_[e.id];
    if (!n.cache) n.cache = std::make_unique<Cache>();
    return n;
  }
  Vector& cleared(Node& n) {
    n.out.samples.clear();
    return n.out;
  }
  void fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }
  void spend(std::size_t work) {
    work_left_ -= static_cast<std::int64_t>(work);
    if (work_left_ < 0)
      fail(
          "the expression reads too many samples; expected shorter ranges, longer steps of subqueries or fewer series");
  }

  // bind.cpp
  void bind(const Expr& e, std::int64_t past);
  std::int64_t shifted(const TimeShift& s, std::int64_t t) const;
  std::int64_t step_of(const Subquery& s) const { return s.step_ms > 0 ? s.step_ms : options_.subquery_step_ms; }

  // eval.cpp
  double scalar(const Expr& e, std::int64_t t);
  const Vector& vector(const Expr& e, std::int64_t t);
  const Vector& vector_of(const Expr& e, std::int64_t t);
  const Vector& selector(const Selector& s, std::int64_t t, bool timestamps);
  const Vector& unary(const Unary& u, std::int64_t t);
  void finish(Node& n, const Relabelled& r);
  const std::string& text(const Expr& e) const { return static_cast<const StringLiteral&>(bare(e)).value; }

  // The shape with new labels for the same series, computed when `in` is another one than last time.
  template <class F>
  const Relabelled& relabel(Cache& c, const ShapePtr& in, F&& f) {
    if (c.in != in) {
      c.in = in;
      c.relabelled = vitald::promql::relabel(in, f);
      if (!error_.empty()) c.in.reset();  // it may be that of some series only
    }
    return c.relabelled;
  }
  const Relabelled& nameless(Cache& c, const ShapePtr& in) {
    return relabel(c, in, [](const Labels& l) { return l.without_name(); });
  }

  // The shape of last time where the new one says the same, so that what follows stays cached.
  static ShapePtr keep_if_equal(ShapePtr& last, std::shared_ptr<Shape> now) {
    if (!last || last->series != now->series) last = std::move(now);
    return last;
  }

  // binary.cpp
  const Vector& binary(const Binary& b, std::int64_t t);
  bool drops_name(const Binary& b) const;
  const Vector& with_scalar(const Binary& b, std::int64_t t);
  void set_operator(const Binary& b, const Vector& l, const Vector& r, Node& n);
  void join(const Binary& b, const Vector& l, const Vector& r, Node& n);
  std::uint32_t pair(const Binary& b, Cache& c, const Vector& many, const Sample& s, const Vector& one,
                     const Sample& other, bool& grown);
  void duplicate(const Binary& b, bool swapped, const Vector& one, std::size_t first, std::size_t second);

  // aggregate.cpp
  const Vector& aggregate(const Aggregate& a, std::int64_t t);
  void split(const Vector& in, Cache& c);
  void fold(AggregateOp op, const Vector& in, Node& n);
  void ranked(const Aggregate& a, double k, const Vector& in, Node& n);
  void count_values(const Aggregate& a, const Vector& in, Node& n);
  template <class F>
  void emit_groups(Node& n, F&& f) {
    auto& c = *n.cache;
    n.out.shape = c.groups.shape;
    for (std::size_t g = 0; g < c.lists.size(); ++g)
      if (!c.lists[g].empty()) n.out.samples.push_back({static_cast<std::uint32_t>(g), f(g)});
  }

  // calls.cpp
  const Vector& call(const Call& call, std::int64_t t);
  void single(Node& n, const Labels& labels, double value);
  const Vector& on_vector(const Call& call, std::int64_t t);
  const Vector& on_date(const Call& call, std::int64_t t);
  void timestamp(const Call& call, std::int64_t t, Node& n);
  void absent(const Call& call, bool is_absent, Node& n);
  void absent_over_time(const Call& call, std::int64_t t, Node& n);
  void sort(bool down, const Vector& in, Node& n);

  // label_functions.cpp
  void sort_by_label(const Call& call, std::int64_t t, Node& n);
  Labels with_label(const Labels& labels, const std::string& name, const std::string& value);
  void label_replace(const Call& call, std::int64_t t, Node& n);
  void label_join(const Call& call, std::int64_t t, Node& n);

  // histograms.cpp
  void quantile_of_histogram(const Call& call, std::int64_t t, Node& n);

  // ranges.cpp
  const Vector& on_range(const Call& call, std::int64_t t);
  void matrix(const Expr& e, std::int64_t t, Value& v);
  ShapePtr run_subquery(const Subquery& s, std::int64_t t, RangeContext& context);
  // Calls f(series, points) for the series of a range selector or a subquery, also for those without points.
  template <class F>
  ShapePtr each_series(const Expr& arg, std::int64_t t, RangeContext& context, F&& f) {
    const Expr& e = bare(arg);
    context.eval_ms = t;
    context.dialect = options_.dialect;
    if (e.kind == Kind::subquery) {
      const auto shape = run_subquery(static_cast<const Subquery&>(e), t, context);
      const auto& columns = nodes_[e.id].cache->columns;
      for (std::uint32_t i = 0; i < shape->series.size(); ++i)
        f(i, Points{columns[i].times.data(), columns[i].values.data(), columns[i].times.size(), 0});
      return shape;
    }
    const auto& m = static_cast<const MatrixSelector&>(e);
    context.end_ms = shifted(m.selector->shift, t);
    context.start_ms = context.end_ms - m.range_ms;
    const auto first = options_.dialect == Dialect::v3 ? context.start_ms + 1 : context.start_ms;
    const auto& selection = source_.select(nodes_[m.selector->id].handle);
    auto& buffer = node(e).cache->buffer;
    for (std::uint32_t i = 0; i < selection.ids.size() && error_.empty(); ++i) {
      const auto points = source_.range(selection.ids[i], first, context.end_ms, buffer);
      spend(1 + points.count);
      f(i, points);
    }
    return selection.shape;
  }

  const Expr& root_;
  SeriesSource& source_;
  EvalOptions options_;
  std::vector<Node> nodes_;
  std::int64_t start_ = 0, end_ = 0;
  const Vector nothing_{empty_shape(), {}};
  std::string error_;
  std::int64_t work_left_ = 0;
};

}  // namespace vitald::promql
