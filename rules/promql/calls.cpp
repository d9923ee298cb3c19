// SPDX-License-Identifier: Apache-2.0
// Calls of functions: those that are numbers from numbers (functions.h), and those with ways of their own.
#include <cmath>

#include "rules/promql/eval_impl.h"

namespace vitald::promql {

const Vector& Evaluator::Impl::call(const Call& call, std::int64_t t) {
  const auto& f = *call.function;
  switch (f.form) {
    case Form::vector: return on_vector(call, t);
    case Form::range: return on_range(call, t);
    case Form::date: return on_date(call, t);
    case Form::scalar:
    case Form::special: break;
  }
  auto& n = node(call);
  cleared(n);
  n.out.shape = empty_shape();
  const auto& name = f.name;
  if (name.starts_with("sort") && options_.step_ms > 0)
    warn(call.where, "sort is ineffective for range queries since results are always ordered by labels");
  if (name == "vector") single(n, {}, scalar(*call.args[0], t));
  else if (name == "timestamp") timestamp(call, t, n, Of::time);
  else if (name == "start_timestamp") timestamp(call, t, n, Of::start);
  else if (name == "absent") absent(call, vector(*call.args[0], t).samples.empty(), n);
  else if (name == "absent_over_time") absent_over_time(call, t, n);
  else if (name == "sort" || name == "sort_desc") sort(name == "sort_desc", vector(*call.args[0], t), n);
  else if (name == "sort_by_label" || name == "sort_by_label_desc") sort_by_label(call, t, n);
  else if (name == "label_replace") label_replace(call, t, n);
  else if (name == "label_join") label_join(call, t, n);
  else if (name == "histogram_quantile") quantile_of_histogram(call, t, n);
  else if (name == "histogram_quantiles") quantiles_of_histogram(call, t, n);
  else if (name == "histogram_fraction") fraction_of_histogram(call, t, n);
  else if (name == "info") info_labels(call, t, n);
  else of_histogram(call, t, n);
  return n.out;
}

void Evaluator::Impl::single(Node& n, const Labels& labels, double value) {
  auto shape = std::make_shared<Shape>();
  shape->series.push_back(labels);
  n.out.shape = keep_if_equal(n.cache->in, std::move(shape));
  n.out.samples.push_back({0, value});
}

const Vector& Evaluator::Impl::on_vector(const Call& call, std::int64_t t) {
  double args[2] = {};
  for (std::size_t i = 1; i < call.args.size(); ++i) args[i - 1] = scalar(*call.args[i], t);
  const auto& in = vector(*call.args[0], t);
  auto& n = node(call);
  auto& out = cleared(n);
  const bool nothing = call.name == "clamp" && args[1] < args[0];
  const std::span<const double> given(args, call.args.size() - 1);
  if (!nothing)
    for (const auto& s : in.samples)
      if (s.histogram == 0) out.samples.emplace_back(s.series, call.function->on_vector(s.value, given));
  finish(n, nameless(*n.cache, in.shape));
  return out;
}

const Vector& Evaluator::Impl::on_date(const Call& call, std::int64_t t) {
  auto& n = node(call);
  if (call.args.empty()) {
    cleared(n);
    single(n, {}, call.function->on_date(static_cast<double>(t) / 1000));
    return n.out;
  }
  const auto& in = vector(*call.args[0], t);
  auto& out = cleared(n);
  for (const auto& s : in.samples)
    if (s.histogram == 0) out.samples.emplace_back(s.series, call.function->on_date(s.value));
  finish(n, nameless(*n.cache, in.shape));
  return out;
}

void Evaluator::Impl::timestamp(const Call& call, std::int64_t t, Node& n, Of of) {
  const Expr& arg = bare(*call.args[0]);
  const bool of_samples = arg.kind == Kind::selector;
  if (!of_samples && of == Of::start) return;  // what is computed has begun nowhere
  const auto& in = of_samples ? selector(static_cast<const Selector&>(arg), t, of) : vector(arg, t);
  for (const auto& s : in.samples)
    n.out.samples.emplace_back(s.series, of_samples ? s.value : static_cast<double>(t) / 1000);
  finish(n, nameless(*n.cache, in.shape));
}

void Evaluator::Impl::absent(const Call& call, bool is_absent, Node& n) {
  if (!is_absent) return;
  const Expr& arg = bare(*call.args[0]);
  const Selector* s = arg.kind == Kind::selector ? static_cast<const Selector*>(&arg)
                      : arg.kind == Kind::matrix ? static_cast<const MatrixSelector&>(arg).selector.get()
                                                 : nullptr;
  // The labels one would expect: those that the selector fixes to one value, once.
  LabelsBuilder b;
  if (s)
    for (const auto& m : s->matchers) {
      if (m.name == kMetricName) continue;
      const auto uses = std::ranges::count(s->matchers, m.name, &Matcher::name);
      if (m.op == MatchOp::equal && uses == 1) b.set(m.name, m.value);
    }
  single(n, b.labels(), 1);
}

void Evaluator::Impl::absent_over_time(const Call& call, std::int64_t t, Node& n) {
  bool any = false;
  RangeContext context;
  each_series(*call.args[0], t, context,
              [&](const Shape&, std::uint32_t, const Points& p) { any = any || p.count > 0; });
  absent(call, !any, n);
}

void Evaluator::Impl::sort(bool down, const Vector& in, Node& n) {
  spend(work_to_sort(in.samples.size()));
  n.out.shape = in.shape;
  for (const auto& s : in.samples)
    if (s.histogram == 0) n.out.samples.push_back(s);  // of histograms none is greater
  std::ranges::stable_sort(n.out.samples, [&](const Sample& a, const Sample& b) {
    if (std::isnan(a.value) || std::isnan(b.value)) return !std::isnan(a.value) && std::isnan(b.value);
    return down ? a.value > b.value : a.value < b.value;
  });
}

}  // namespace vitald::promql
