// SPDX-License-Identifier: Apache-2.0
// The evaluator's inside, shared by the files that evaluate one kind of expression each: bind, binary, aggregate,
// calls, ranges, label_functions, histograms.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rules/promql/check.h"
#include "rules/promql/eval.h"
#include "rules/promql/exact_sum.h"
#include "rules/promql/histogram.h"
#include "rules/promql/matching.h"

namespace vitald::promql {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// What a group of an aggregation adds up.
struct Accumulator {
  std::uint32_t count = 0;
  bool incremental = false;  // the sum would overflow: avg goes on with the mean
  ExactSum sum;
  double extreme = 0, mean = 0, squares = 0;  // of min and max; of avg, stddev and stdvar
  std::uint32_t histograms = 0;               // how many of them are histograms
};

// What a group adds up of histograms; made where there are some.
struct HistogramGroup {
  std::unique_ptr<HistogramSum> sum;
  std::vector<const Histogram*> seen;
  bool mixed_buckets = false;
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
    std::vector<std::uint32_t> told_apart_by_name;  // of histograms: the groups with names, where these are more
    Matched matched;
    std::unordered_map<std::uint64_t, std::uint32_t> pairs;  // (many, one) -> result series, for group_left(x)
    std::shared_ptr<Shape> pair_shape;
    std::vector<double> bounds;  // of histogram_quantile: the bucket's le per series, NaN when it has none
    std::vector<std::int32_t> seen;
    std::vector<Accumulator> sums;
    std::vector<HistogramGroup> histograms;
    ShapePtr named_in;  // of the root: the shape whose names were dropped
    Relabelled named;
    std::vector<std::vector<Sample>> lists;
    std::vector<std::vector<HistogramBucket>> buckets;
    std::vector<std::uint32_t> natives;  // of histogram_quantile: the group's native histogram, 0: none
    SeriesSource::Buffer buffer;
    std::vector<SeriesSource::Buffer> columns;  // of a subquery, one per series
    PatternPtr pattern;                         // of label_replace
  };
  struct Node {
    Vector out;
    std::uint32_t handle = 0;  // of a selector
    std::size_t held = 0;      // samples or series of `out`, of a subquery or a range
    std::unique_ptr<Cache> cache;
  };

  Node& node(const Expr& e) {
    auto& n = nodes_[e.id];
    if (!n.cache) n.cache = std::make_unique<Cache>();
    return n;
  }
  [[nodiscard]] bool late_names() const { return options_.dialect == Dialect::v3; }
  const Histogram* histogram(const Sample& s) const { return s.histogram > 0 ? pool_[s.histogram] : nullptr; }
  // Of a histogram that lives as long as this evaluation.
  std::uint32_t pooled(const Histogram* h) {
    pool_.push_back(h);
    return static_cast<std::uint32_t>(pool_.size() - 1);
  }
  // One more histogram of this evaluation.
  const Histogram* keep(Histogram h) {
    spend(h.size());
    hold(made_held_, made_held_ + h.size());
    return &made_.emplace_back(std::move(h));
  }
  void emit(Vector& out, std::uint32_t series, Histogram h) {
    out.samples.emplace_back(series, kNaN, pooled(keep(std::move(h))));
  }
  static Sample renamed(const Sample& s, std::uint32_t series) { return {series, s.value, s.histogram}; }

  void annotate(bool warning, Span where, std::string what);
  void warn(Span where, std::string what) { annotate(true, where, std::move(what)); }
  void info(Span where, std::string what) { annotate(false, where, std::move(what)); }
  void tell(const Reconciled& r, Span where, std::string_view during);
  static std::string of_metric(const Labels& l);

  Vector& cleared(Node& n) {
    n.out.samples.clear();
    return n.out;
  }
  void fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }
  void spend(std::size_t work) {
    work_left_ -= static_cast<std::int64_t>(work);
    if (work_left_ < look_at_) [[unlikely]]
      look();
  }
  void look();
  void stop_if_given_up();
  // What one part of the expression keeps is `now` in place of `before`.
  void hold(std::size_t& before, std::size_t now) {
    held_ += now - before;
    before = now;
    if (held_ > options_.max_samples && options_.max_samples > 0) [[unlikely]]
      fail(too_many_samples(options_.max_samples));
  }
  // What counts as one more sample, of labels that are made.
  static constexpr std::size_t kBytesOfASample = 16;
  // Of computing from labels, per series: hashing and copying them.
  static constexpr std::size_t kLabelsWork = 10;
  static std::size_t work_to_sort(std::size_t count) { return count * std::bit_width(count); }

  // bind.cpp
  void bind(const Expr& e, std::int64_t past);
  void hold_selection(Node& n);
  void bind_info(const Call& call, std::int64_t past);
  std::int64_t shifted(const TimeShift& s, std::int64_t t) const;
  std::int64_t length(std::int64_t ms, const DurationExprPtr& expr) const;
  std::int64_t range_of(std::int64_t ms, const DurationExprPtr& expr);
  std::int64_t step_of(const Subquery& s) const {
    const auto step = length(s.step_ms, s.step_expr);
    return step > 0 ? step : options_.subquery_step_ms;
  }

  // eval.cpp
  double scalar(const Expr& e, std::int64_t t);
  const Vector& vector(const Expr& e, std::int64_t t);
  const Vector& vector_of(const Expr& e, std::int64_t t);
  enum class Of : std::uint8_t { value, time, start };
  const Vector& selector(const Selector& s, std::int64_t t, Of of);
  void smoothed_sample(const Selector& s, std::uint32_t i, const Labels& labels, std::uint32_t id, std::int64_t at,
                       Vector& out);
  void hint_from_before(const Selector& s, std::uint32_t id, const Point& p, Sample& sample);
  void hint_range(SeriesSource::Buffer& buffer);
  void drop_names(const Vector& v);
  const Vector& unary(const Unary& u, std::int64_t t);
  void finish(Node& n, const Relabelled& r);
  const std::string& text(const Expr& e) const { return static_cast<const StringLiteral&>(bare(e)).value; }

  // The shape with new labels for the same series, computed when `in` is another one than last time.
  template <class F>
  const Relabelled& relabel(Cache& c, const ShapePtr& in, F&& f) {
    if (c.in != in) {
      c.in = in;
      spend(kLabelsWork * in->series.size());
      c.relabelled = vitald::promql::relabel(in, f);
      if (!error_.empty()) c.in.reset();  // it may be that of some series only
    }
    return c.relabelled;
  }
  const Relabelled& nameless(Cache& c, const ShapePtr& in) {
    if (!late_names()) return relabel(c, in, [](const Labels& l) { return l.without_name(); });
    if (c.in != in) {
      c.in = in;
      spend(in->series.size());
      c.relabelled = {marked_nameless(in), false, {}};
    }
    return c.relabelled;
  }

  // The shape of last time where the new one says the same, so that what follows stays cached.
  static ShapePtr keep_if_equal(ShapePtr& last, std::shared_ptr<Shape> now) {
    if (!last || *last != *now) last = std::move(now);
    return last;
  }

  // binary.cpp
  const Vector& binary(const Binary& b, std::int64_t t);
  bool drops_name(const Binary& b) const;
  const Vector& with_scalar(const Binary& b, std::int64_t t);
  bool histogram_operator(const Binary& b, const Sample& l, const Sample& r, std::uint32_t series, Vector& out);
  void set_operator(const Binary& b, const Vector& l, const Vector& r, Node& n);
  void join(const Binary& b, const Vector& l, const Vector& r, Node& n);
  std::uint32_t pair(const Binary& b, Cache& c, const Vector& many, const Sample& s, const Vector& one,
                     const Sample& other, bool& grown);
  void fill(const Binary& b, const Vector& l, const Vector& r, Node& n);
  void duplicate(const Binary& b, bool swapped, const Vector& one, std::size_t first, std::size_t second);

  // aggregate.cpp
  const Vector& aggregate(const Aggregate& a, std::int64_t t);
  void split(const Vector& in, Cache& c, const Aggregate* only_floats);
  void fold(const Aggregate& a, const Vector& in, Node& n);
  void fold_histogram(const Aggregate& a, const Sample& s, std::uint32_t group, Node& n);
  void group_of_histograms(const Aggregate& a, std::uint32_t group, Node& n);
  void group_names(const Aggregate& a, const Vector& in, Node& n);
  void ranked(const Aggregate& a, double k, const Vector& in, Node& n);
  void limited(const Aggregate& a, double k, const Vector& in, Node& n);
  void limited_ratio(const Aggregate& a, double ratio, const Vector& in, Node& n);
  void count_values(const Aggregate& a, const Vector& in, Node& n);
  template <class F>
  void emit_groups(Node& n, F&& f) {
    auto& c = *n.cache;
    n.out.shape = c.groups.shape;
    for (std::size_t g = 0; g < c.lists.size(); ++g)
      if (!c.lists[g].empty()) n.out.samples.emplace_back(static_cast<std::uint32_t>(g), f(g));
  }

  // calls.cpp
  const Vector& call(const Call& call, std::int64_t t);
  void single(Node& n, const Labels& labels, double value);
  const Vector& on_vector(const Call& call, std::int64_t t);
  const Vector& on_date(const Call& call, std::int64_t t);
  void timestamp(const Call& call, std::int64_t t, Node& n, Of of);
  void absent(const Call& call, bool is_absent, Node& n);
  void absent_over_time(const Call& call, std::int64_t t, Node& n);
  void sort(bool down, const Vector& in, Node& n);

  // label_functions.cpp
  // A name that is written is there to stay, where the labels of a series that would lose its own were changed.
  template <class F>
  const Relabelled& relabel_named(Cache& c, const ShapePtr& in, const std::string& written, F&& f) {
    if (c.in == in) return c.relabelled;
    c.in = in;
    spend(kLabelsWork * in->series.size());
    auto out = std::make_shared<Shape>();
    out->nameless = in->nameless;
    for (std::size_t i = 0; i < in->series.size(); ++i) {
      const auto [labels, changed] = f(in->series[i]);
      out->series.push_back(labels);
      if (changed && written == kMetricName && !out->nameless.empty()) out->nameless[i] = false;
    }
    c.relabelled = vitald::promql::index(std::move(out));
    if (!error_.empty()) c.in.reset();  // it may be that of some series only
    return c.relabelled;
  }
  void sort_by_label(const Call& call, std::int64_t t, Node& n);
  Labels with_label(const Labels& labels, const std::string& name, const std::string& value);
  void label_replace(const Call& call, std::int64_t t, Node& n);
  void label_join(const Call& call, std::int64_t t, Node& n);

  // info.cpp
  void info_labels(const Call& call, std::int64_t t, Node& n);

  // histograms.cpp
  void of_histogram(const Call& call, std::int64_t t, Node& n);
  void gather_buckets(const Call& call, const Vector& in, Span where, Node& n);
  void quantile_of_histogram(const Call& call, std::int64_t t, Node& n);
  void quantiles_of_histogram(const Call& call, std::int64_t t, Node& n);
  void fraction_of_histogram(const Call& call, std::int64_t t, Node& n);
  double group_quantile(double q, std::uint32_t group, Span where, Node& n, std::vector<Mended>& mended);

  // ranges.cpp
  const Vector& on_range(const Call& call, std::int64_t t);
  void matrix(const Expr& e, std::int64_t t, Value& v);
  ShapePtr run_subquery(const Subquery& s, std::int64_t t, RangeContext& context);

  // range_histograms.cpp
  void range_of_both(const Call& call, std::uint32_t series, const Labels& labels, const Points& p,
                     std::span<const double> args, const RangeContext& context, Vector& out);
  bool histogram_rate(const Call& call, const Labels& labels, const Points& p, const RangeContext& context,
                      Histogram& result);
  bool histogram_instant_change(const Call& call, const Labels& labels, const Points& p, Histogram& result);
  bool histogram_total(const Call& call, const Labels& labels, const Points& p, Histogram& result);
  std::optional<Histogram> mean(const std::vector<const Histogram*>& all, Reconciled& reconciled);

  // range_ends.cpp
  void range_with_ends(const Call& call, std::uint32_t series, const Labels& labels, const Points& p,
                       const RangeContext& context, Vector& out);
  std::optional<Histogram> between(const Histogram& a, const Histogram& b, double part, bool counter, Span where,
                                   const Labels& labels);
  // Calls f(series, points) for the series of a range selector or a subquery, also for those without points.
  template <class F>
  ShapePtr each_series(const Expr& arg, std::int64_t t, RangeContext& context, F&& f) {
    const Expr& e = bare(arg);
    context.eval_ms = t;
    context.dialect = options_.dialect;
    if (e.kind == Kind::subquery) {
      const auto shape = run_subquery(static_cast<const Subquery&>(e), t, context);
      const auto& columns = nodes_[e.id].cache->columns;
      for (std::uint32_t i = 0; i < shape->series.size() && error_.empty(); ++i) {
        const auto& c = columns[i];
        spend(1 + c.times.size());
        f(*shape, i,
          Points{c.times.data(), c.values.data(), c.times.size(), 0,
                 c.histograms.empty() ? nullptr : c.histograms.data()});
      }
      return shape;
    }
    const auto& m = static_cast<const MatrixSelector&>(e);
    context.end_ms = shifted(m.selector->shift, t);
    context.start_ms = context.end_ms - range_of(m.range_ms, m.range_expr);
    auto first = options_.dialect == Dialect::v3 ? context.start_ms + 1 : context.start_ms;
    auto last = context.end_ms;
    context.ends = m.selector->ends;
    if (context.ends != Ends::plain) first -= options_.lookback_ms;
    if (context.ends == Ends::smoothed) last += options_.lookback_ms;
    const auto& selection = source_.select(nodes_[m.selector->id].handle);
    auto& buffer = node(e).cache->buffer;
    for (std::uint32_t i = 0; i < selection.ids.size() && error_.empty(); ++i) {
      const auto points = source_.range(selection.ids[i], first, last, buffer);
      spend(1 + points.count);
      if (options_.max_samples > 0 && held_ + points.count > options_.max_samples)
        fail(too_many_samples(options_.max_samples));
      if (points.histograms && m.selector->only_totals) [[unlikely]]
        hint_range(buffer);
      f(*selection.shape, i, points);
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
  std::string unbound_;  // why not all selectors could be bound
  bool given_up_ = false;
  std::int64_t work_left_ = 0, look_at_ = 0;
  std::size_t held_ = 0, made_held_ = 0;
  std::vector<const Histogram*> pool_{nullptr};  // what Sample::histogram counts in
  std::deque<Histogram> made_;                   // those that this evaluation computed
  std::vector<Annotation> annotations_;
  std::unordered_map<std::uint32_t, Selector> info_selectors_;  // of the calls of info(), by their id
  Vector named_;                                                // the result with the names that it keeps
};

}  // namespace vitald::promql
