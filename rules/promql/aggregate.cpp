// SPDX-License-Identifier: Apache-2.0
// sum, topk, quantile and their like: groups of series become one, or the best of each stay.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/text/scan.h"
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
  if (a.op == AggregateOp::quantile && !(parameter >= 0 && parameter <= 1))
    warn(a.parameter->where, fmt::format("quantile value should be between 0 and 1, got {}", go_number(parameter)));
  const auto& in = vector(*a.inner, t);
  auto& n = node(a);
  auto& c = *n.cache;
  cleared(n);
  if (a.op == AggregateOp::count_values) return count_values(a, in, n), n.out;
  if (c.in != in.shape) {
    c.in = in.shape;
    spend(kLabelsWork * in.shape->series.size());
    c.groups = group(
        in.shape, [&](const Labels& l) { return a.without ? drop_labels(l, a.grouping) : keep_labels(l, a.grouping); });
    c.groups.names_differ = !a.without && !in.shape->nameless.empty() &&
                            std::ranges::any_of(a.grouping, [](const std::string& name) { return is_identity(name); });
  }
  if (c.groups.names_differ) group_names(a, in, n);
  switch (a.op) {
    case AggregateOp::topk:
    case AggregateOp::bottomk: ranked(a, parameter, in, n); break;
    case AggregateOp::limitk: limited(a, parameter, in, n); break;
    case AggregateOp::limit_ratio: limited_ratio(a, parameter, in, n); break;
    case AggregateOp::quantile: {
      split(in, c, &a);
      spend(work_to_sort(in.samples.size()));
      std::vector<double> values;
      emit_groups(n, [&](std::size_t g) {
        values.clear();
        for (const auto& s : c.lists[g]) values.push_back(s.value);
        return quantile(parameter, values);
      });
      break;
    }
    default: fold(a, in, n);
  }
  return n.out;
}

// Groups by what a name says lose it when one of those in it does.
void Evaluator::Impl::group_names(const Aggregate&, const Vector& in, Node& n) {
  auto& c = *n.cache;
  auto shape = std::make_shared<Shape>(*c.groups.shape);
  shape->nameless.assign(shape->series.size(), false);
  for (const auto& s : in.samples)
    if (in.shape->loses_name(s.series)) shape->nameless[c.groups.of[s.series]] = true;
  c.groups.shape = keep_if_equal(c.groups.shape, std::move(shape));
}

// The samples of each group; with `only_floats`, of numbers, and what else there was is told.
void Evaluator::Impl::split(const Vector& in, Cache& c, const Aggregate* only_floats) {
  c.lists.resize(c.groups.shape->series.size());
  for (auto& list : c.lists) list.clear();
  for (const auto& s : in.samples) {
    if (s.histogram > 0 && only_floats) [[unlikely]] {
      info(only_floats->inner->where, fmt::format("ignored histograms in {} aggregation", to_string(only_floats->op)));
      continue;
    }
    c.lists[c.groups.of[s.series]].push_back(s);
  }
}

void Evaluator::Impl::fold_histogram(const Aggregate& a, const Sample& s, std::uint32_t group, Node& n) {
  auto& c = *n.cache;
  auto& g = c.sums[group];
  switch (a.op) {
    case AggregateOp::count:
    case AggregateOp::group: ++g.count; return;
    case AggregateOp::sum:
    case AggregateOp::avg: break;
    default: info(a.inner->where, fmt::format("ignored histograms in {} aggregation", to_string(a.op))); return;
  }
  ++g.histograms;
  c.histograms.resize(c.sums.size());
  auto& h = c.histograms[group];
  const auto* value = histogram(s);
  spend(value->size());
  if (a.op == AggregateOp::avg) h.seen.push_back(value);
  if (!h.sum) h.sum = std::make_unique<HistogramSum>(*value);
  else if (h.sum->is_custom() != value->is_custom()) h.mixed_buckets = true;
  else h.sum->add(*value);
}

// What sum and avg of a group with histograms is, if it is anything.
void Evaluator::Impl::group_of_histograms(const Aggregate& a, std::uint32_t group, Node& n) {
  auto& c = *n.cache;
  const auto& g = c.sums[group];
  auto& h = c.histograms[group];
  if (g.count > 0) return warn(a.inner->where, "encountered a mix of histograms and floats for aggregation");
  if (h.mixed_buckets)
    return warn(a.inner->where, "vector contains a mix of histograms with exponential and custom buckets schemas");
  auto reconciled = h.sum->reconciled();
  auto value = a.op == AggregateOp::avg ? *mean(h.seen, reconciled) : h.sum->value();
  tell(reconciled, a.inner->where, "aggregation");
  value.compact();
  emit(n.out, group, std::move(value));
}

void Evaluator::Impl::fold(const Aggregate& a, const Vector& in, Node& n) {
  const auto op = a.op;
  auto& c = *n.cache;
  n.out.shape = c.groups.shape;
  c.sums.assign(c.groups.shape->series.size(), {});
  c.histograms.clear();
  for (const auto& s : in.samples) {
    const auto group = c.groups.of[s.series];
    if (s.histogram > 0) [[unlikely]] {
      fold_histogram(a, s, group, n);
      continue;
    }
    auto& g = c.sums[group];
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
        // 2.x begins with the first value, so one alone that is no number has no deviation.
        if (g.count == 1 && options_.dialect == Dialect::v2) {
          g.mean = v;
          break;
        }
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
    if (g.histograms > 0) [[unlikely]] {
      group_of_histograms(a, i, n);
      continue;
    }
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
  if (k >= 9.2e18 || k <= -9.2e18) return fail(fmt::format("Scalar value {} overflows int64", go_number(k)));
  if (k < 1) return;
  split(in, c, &a);
  spend(work_to_sort(in.samples.size()));
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

// The first k of each group, in the order of their labels.
void Evaluator::Impl::limited(const Aggregate&, double k, const Vector& in, Node& n) {
  auto& c = *n.cache;
  n.out.shape = in.shape;
  if (std::isnan(k)) return fail("Parameter value is NaN");
  if (k >= 9.2e18 || k <= -9.2e18) return fail(fmt::format("Scalar value {} overflows int64", go_number(k)));
  if (k < 1) return;
  split(in, c, nullptr);
  for (const auto& list : c.lists) {
    const auto take = std::min(static_cast<std::size_t>(std::min(k, 1e9)), list.size());
    n.out.samples.insert(n.out.samples.end(), list.begin(), list.begin() + static_cast<std::ptrdiff_t>(take));
  }
}

// About this part of the series, by a hash of their labels: the same ones each time, and -(1 - r) has the others.
void Evaluator::Impl::limited_ratio(const Aggregate& a, double ratio, const Vector& in, Node& n) {
  n.out.shape = in.shape;
  if (std::isnan(ratio)) return fail("Ratio value is NaN");
  const double most = std::clamp(ratio, -1.0, 1.0);
  if (most != ratio)
    warn(a.parameter->where, fmt::format("ratio value should be between -1 and 1, got {}, capping to {}",
                                         number_text(ratio), number_text(most)));
  for (const auto& s : in.samples) {
    // FNV alone leaves its high bits alike for labels that are.
    auto hash = in.labels(s).fingerprint();
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdULL;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    hash ^= hash >> 33;
    const double at = std::ldexp(static_cast<double>(hash >> 11), -53);  // 0..1, without 1
    if (most >= 0 ? at < most : at >= 1 + most) n.out.samples.push_back(s);
  }
}

void Evaluator::Impl::count_values(const Aggregate& a, const Vector& in, Node& n) {
  const auto& label = text(*a.parameter);
  n.out.shape = empty_shape();
  if (!valid_quoted_name(label)) return fail(fmt::format("invalid label name {}", promql::quoted(label)));
  auto shape = std::make_shared<Shape>();
  std::unordered_map<Labels, std::uint32_t, Labels::Hash> at;
  spend(4 * kLabelsWork * in.samples.size());
  for (const auto& s : in.samples) {
    // The value's label may itself be one of the grouping: it is set before grouping, and goes with what goes.
    const auto* h = histogram(s);
    const auto value = h ? h->text() : number_text(s.value);
    LabelsBuilder b(in.labels(s));
    b.set(label, value);
    auto grouping = a.grouping;
    if (!a.without) grouping.push_back(label);
    const auto full = b.labels();
    const auto key = a.without ? drop_labels(full, grouping) : keep_labels(full, grouping);
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
