// SPDX-License-Identifier: Apache-2.0
// Ranges: functions over them, subqueries, and an expression that is one.
#include <fmt/format.h>

#include <functional>

#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

// What a point of a subquery costs in units of work: it is kept, and its sample was searched by time.
constexpr std::int64_t kSubqueryPointWork = 10;

// What Prometheus says of factors of holt_winters that are none; empty where they are.
std::string wrong_factor(std::string_view function, std::span<const double> args) {
  if (function != "holt_winters" && function != "double_exponential_smoothing") return {};
  constexpr std::string_view kNames[][2] = {{"smoothing", "sf"}, {"trend", "tf"}};
  for (std::size_t i = 0; i < 2; ++i)
    if (args[i] <= 0 || args[i] >= 1)
      return fmt::format("invalid {} factor. Expected: 0 < {} < 1, got: {:f}", kNames[i][0], kNames[i][1], args[i]);
  return {};
}

}  // namespace

const Vector& Evaluator::Impl::on_range(const Call& call, std::int64_t t) {
  const auto& f = *call.function;
  double args[2] = {};
  std::size_t count = 0;
  for (std::size_t i = 0; i < call.args.size(); ++i)
    if (i != f.range_arg) args[count++] = scalar(*call.args[i], t);
  auto& n = node(call);
  auto& out = cleared(n);
  RangeContext context;
  if (f.name == "quantile_over_time" && !(args[0] >= 0 && args[0] <= 1))
    warn(call.args[0]->where, fmt::format("quantile value should be between 0 and 1, got {}", go_number(args[0])));
  const auto wrong = wrong_factor(f.name, {args, count});
  const auto shape =
      each_series(*call.args[f.range_arg], t, context, [&](const Shape& in, std::uint32_t i, const Points& p) {
        if (!wrong.empty() && p.count > 0) [[unlikely]]
          return fail(wrong);
        if (context.ends != Ends::plain) [[unlikely]]
          return range_with_ends(call, i, in.series[i], p, context, out);
        if (p.histograms || p.starts) [[unlikely]]
          return range_of_both(call, i, in.series[i], p, {args, count}, context, out);
        if (const auto v = f.on_range(p, {args, count}, context)) out.samples.emplace_back(i, *v);
      });
  if (f.keeps_name) out.shape = shape;
  else finish(n, nameless(*n.cache, shape));
  return out;
}

void Evaluator::Impl::matrix(const Expr& e, std::int64_t t, Value& v) {
  RangeContext context;
  std::vector<std::pair<std::uint32_t, std::vector<Point>>> rows;
  std::size_t kept = 0;
  const auto shape = each_series(e, t, context, [&](const Shape&, std::uint32_t i, const Points& p) {
    if (p.count == 0) return;
    auto& row = rows.emplace_back(i, std::vector<Point>{}).second;
    hold(kept, kept + p.count);
    for (std::size_t k = 0; k < p.count; ++k) row.push_back({p.time(k), p.values[k], p.histogram(k)});
  });
  hold(kept, 0);
  for (auto& [i, points] : rows)
    v.matrix.emplace_back(shape->loses_name(i) ? shape->series[i].without_identity() : shape->series[i],
                          std::move(points));
}

// Evaluates the inside step by step into the columns of its cache, one per series of the result.
ShapePtr Evaluator::Impl::run_subquery(const Subquery& s, std::int64_t t, RangeContext& context) {
  auto& c = *node(s).cache;
  const auto step = step_of(s);
  context.end_ms = shifted(s.shift, t);
  context.start_ms = context.end_ms - range_of(s.range_ms, s.range_expr);
  auto at = step * (context.start_ms / step);
  while (at < context.start_ms || (at == context.start_ms && options_.dialect == Dialect::v3)) at += step;

  auto shape = std::make_shared<Shape>();
  std::unordered_map<Labels, std::uint32_t, Labels::Hash> by_labels;
  ShapePtr last;
  std::vector<std::uint32_t> series_of;
  for (auto& column : c.columns) column.times.clear(), column.values.clear(), column.histograms.clear();
  auto& held = nodes_[s.id].held;
  hold(held, 0);
  for (; at <= context.end_ms && error_.empty(); at += step) {
    const auto& v = vector(*s.inner, at);
    spend(kSubqueryPointWork * (1 + v.samples.size()));
    hold(held, held + v.samples.size());
    if (v.shape != last) {
      last = v.shape;
      spend(last->series.size());
      series_of.assign(last->series.size(), UINT32_MAX);
    }
    for (const auto& sample : v.samples) {
      auto& to = series_of[sample.series];
      if (to == UINT32_MAX) {
        to = by_labels.try_emplace(v.labels(sample), static_cast<std::uint32_t>(shape->series.size())).first->second;
        if (to == shape->series.size()) {
          shape->series.push_back(v.labels(sample));
          if (late_names()) shape->nameless.push_back(v.shape->loses_name(sample.series));
        }
        if (c.columns.size() < shape->series.size()) c.columns.resize(shape->series.size());
      }
      auto& column = c.columns[to];
      column.times.push_back(at);
      column.values.push_back(sample.value);
      if (sample.histogram > 0 || !column.histograms.empty()) [[unlikely]] {
        column.histograms.resize(column.times.size());
        const auto* h = histogram(sample);
        // Of the samples in between nothing is known: whether the counter began anew is found by comparing.
        if (h && (h->hint == ResetHint::reset || h->hint == ResetHint::not_reset)) {
          auto plain = *h;
          plain.hint = ResetHint::unknown;
          h = keep(std::move(plain));
        }
        column.histograms.back() = h;
      }
    }
  }
  if (std::ranges::none_of(shape->nameless, std::identity{})) shape->nameless.clear();
  return keep_if_equal(c.in, std::move(shape));
}

}  // namespace vitald::promql
