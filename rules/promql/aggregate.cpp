// SPDX-License-Identifier: Apache-2.0
// sum, topk, quantile and their like: groups of series become one, or the best of each stay.
#include <fmt/format.h>

#include <cmath>

#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

void add(Accumulator& g, double v, bool avg) {
  if (g.incremental) {
    if (std::isinf(g.mean) && (std::isnan(v) || std::isinf(v) == 0 || (v > 0) == (g.mean > 0))) {
      if (std::isnan(v)) g.mean = v;
      return;
    }
    g.mean += v / g.count - g.mean / g.count;
    return;
  }
  if (avg && std::isinf(g.sum.sum + v) && !std::isinf(v) && !std::isinf(g.sum.sum)) {
    g.incremental = true;
    g.mean = g.sum.sum / (g.count - 1);
    g.mean += v / g.count - g.mean / g.count;
    return;
  }
  g.sum.add(v);
}

}  // namespace

const Vector& Evaluator::Impl::aggregate(const Aggregate& a, std::int64_t t) {
  const double parameter = a.parameter && a.op != AggregateOp::count_values ? scalar(*a.parameter, t) : 0;
  const auto& in = vector(*a.inner, t);
  auto& n = node(a);
  auto& c = *n.cache;
  cleared(n);
  if (a.op == AggregateOp::count_values) return count_values(a, in, n), n.out;
  if (c.in != in.shape) {
    c.in = in.shape;
    c.groups = group(
        in.shape, [&](const Labels& l) { return a.without ? drop_labels(l, a.grouping) : keep_labels(l, a.grouping); });
  }
  switch (a.op) {
    case AggregateOp::topk:
    case AggregateOp::bottomk: ranked(a, parameter, in, n); break;
    case AggregateOp::quantile: {
      split(in, c);
      std::vector<double> values;
      emit_groups(n, [&](std::size_t g) {
        values.clear();
        for (const auto& s : c.lists[g]) values.push_back(s.value);
        return quantile(parameter, values);
      });
      break;
    }
    default: fold(a.op, in, n);
  }
  return n.out;
}

void Evaluator::Impl::split(const Vector& in, Cache& c) {
  c.lists.resize(c.groups.shape->series.size());
  for (auto& list : c.lists) list.clear();
  for (const auto& s : in.samples) c.lists[c.groups.of[s.series]].push_back(s);
}

void Evaluator::Impl::fold(AggregateOp op, const Vector& in, Node& n) {
  auto& c = *n.cache;
  n.out.shape = c.groups.shape;
  c.sums.assign(c.groups.shape->series.size(), {});
  for (const auto& s : in.samples) {
    auto& g = c.sums[c.groups.of[s.series]];
    const double v = s.value;
    ++g.count;
    switch (op) {
      case AggregateOp::avg:
      case AggregateOp::sum: add(g, v, op == AggregateOp::avg); break;
      case AggregateOp::min:
        if (g.count == 1 || v < g.extreme || std::isnan(g.extreme)) g.extreme = v;
        break;
      case AggregateOp::max:
        if (g.count == 1 || v > g.extreme || std::isnan(g.extreme)) g.extreme = v;
        break;
      case AggregateOp::stddev:
      case AggregateOp::stdvar: {
        const double from_mean = v - g.mean;
        g.mean += from_mean / g.count;
        g.squares += from_mean * (v - g.mean);
        break;
      }
      default: break;
    }
  }
  for (std::uint32_t i = 0; i < c.sums.size(); ++i) {
    const auto& g = c.sums[i];
    if (g.count == 0) continue;
    double v = 1;  // group
    switch (op) {
      case AggregateOp::sum: v = g.sum.value(); break;
      case AggregateOp::avg: v = g.incremental ? g.mean : g.sum.value() / g.count; break;
      case AggregateOp::min:
      case AggregateOp::max: v = g.extreme; break;
      case AggregateOp::count: v = g.count; break;
      case AggregateOp::stdvar: v = g.squares / g.count; break;
      case AggregateOp::stddev: v = std::sqrt(g.squares / g.count); break;
      default: break;
    }
    n.out.samples.push_back({i, v});
  }
}

void Evaluator::Impl::ranked(const Aggregate& a, double k, const Vector& in, Node& n) {
  auto& c = *n.cache;
  n.out.shape = in.shape;
  if (std::isnan(k)) return fail("Parameter value is NaN");
  if (k >= 9.2e18 || k <= -9.2e18) return fail(fmt::format("Scalar value {} overflows int64", number_text(k)));
  if (k < 1) return;
  split(in, c);
  for (auto& list : c.lists) {
    const bool top = a.op == AggregateOp::topk;
    // NaN is the last choice of both; of equals the first ones stay.
    std::ranges::stable_sort(list, [&](const Sample& x, const Sample& y) {
      if (std::isnan(x.value) || std::isnan(y.value)) return !std::isnan(x.value);
      return top ? x.value > y.value : x.value < y.value;
    });
    const auto take = std::min(static_cast<std::size_t>(std::min(k, 1e9)), list.size());
    n.out.samples.insert(n.out.samples.end(), list.begin(), list.begin() + static_cast<std::ptrdiff_t>(take));
  }
}

void Evaluator::Impl::count_values(const Aggregate& a, const Vector& in, Node& n) {
  const auto& label = text(*a.parameter);
  n.out.shape = empty_shape();
  if (!valid_label_name(label)) return fail(fmt::format("invalid label name {}", quoted(label)));
  auto shape = std::make_shared<Shape>();
  std::unordered_map<Labels, std::uint32_t, Labels::Hash> at;
  for (const auto& s : in.samples) {
    // The value's label may itself be one of the grouping: it is set before grouping.
    const auto value = number_text(s.value);
    LabelsBuilder b(in.labels(s));
    b.set(label, value);
    auto grouping = a.grouping;
    if (!a.without) grouping.push_back(label);
    const auto full = b.labels();
    auto key = a.without ? drop_labels(full, grouping) : keep_labels(full, grouping);
    if (a.without) {
      LabelsBuilder with(key);
      with.set(label, value);
      key = with.labels();
    }
    const auto [it, added] = at.try_emplace(key, static_cast<std::uint32_t>(shape->series.size()));
    if (added) {
      shape->series.push_back(key);
      n.out.samples.push_back({it->second, 0});
    }
    ++n.out.samples[it->second].value;
  }
  n.out.shape = keep_if_equal(n.cache->in, std::move(shape));
}

}  // namespace vitald::promql
