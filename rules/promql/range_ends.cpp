// SPDX-License-Identifier: Apache-2.0
// Ranges whose ends are samples of their own: `anchored` takes the last one before, `smoothed` what lies between.
#include <fmt/format.h>

#include <cmath>

#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

// A number or a histogram; that of an interpolation is kept here.
struct Item {
  double value = 0;
  const Histogram* histogram = nullptr;
};

double between_numbers(double a, double b, double part, bool counter) {
  if (counter && b < a) return b * part;  // it began anew, at 0
  return a + (b - a) * part;
}

}  // namespace

std::optional<Histogram> Evaluator::Impl::between(const Histogram& a, const Histogram& b, double part, bool counter,
                                                  Span where, const Labels& labels) {
  if (a.is_custom() != b.is_custom()) {
    warn(where, "vector contains a mix of histograms with exponential and custom buckets schemas" + of_metric(labels));
    return {};
  }
  if (counter && b.reset_since(a)) {
    auto h = b;
    h.scale(part);
    return h;
  }
  HistogramSum sum(a);
  auto more = b;
  more.hint = a.hint;
  sum.add(more, part);
  auto less = a;
  sum.add(less, -part);
  auto h = sum.value();
  h.hint = ResetHint::unknown;
  return h;
}

void Evaluator::Impl::smoothed_sample(const Selector& s, std::uint32_t i, const Labels& labels, std::uint32_t id,
                                      std::int64_t at, Vector& out) {
  auto& buffer = node(s).cache->buffer;
  const auto p = source_.range(id, at - options_.lookback_ms + 1, at + options_.lookback_ms, buffer);
  spend(1 + p.count);
  std::size_t after = 0;
  while (after < p.count && p.time(after) <= at) ++after;
  if (after == 0) return;
  const auto before = after - 1;
  std::size_t histograms = 0;
  for (std::size_t k = 0; k < p.count; ++k) histograms += p.histogram(k) ? 1 : 0;
  if (histograms > 0 && histograms < p.count)
    return warn(s.where, "encountered a mix of histograms and floats" + of_metric(labels));
  const bool exact = p.time(before) == at || after == p.count;
  const double part =
      exact ? 0 : static_cast<double>(at - p.time(before)) / static_cast<double>(p.time(after) - p.time(before));
  const auto* h = p.histogram(before);
  if (!h) {
    out.samples.emplace_back(
        i, exact ? p.values[before] : between_numbers(p.values[before], p.values[after], part, false));
    return;
  }
  if (exact) {
    out.samples.emplace_back(i, kNaN, pooled(h));
    return;
  }
  const auto* next = p.histogram(after);
  if (auto value = between(*h, *next, part, next->hint != ResetHint::gauge, s.where, labels))
    emit(out, i, std::move(*value));
}

// `p` reaches beyond the range, by the lookback.
void Evaluator::Impl::range_with_ends(const Call& call, std::uint32_t series, const Labels& labels, const Points& p,
                                      const RangeContext& context, Vector& out) {
  const auto where = call.args[call.function->range_arg]->where;
  const auto start = context.start_ms, end = context.end_ms;
  // first: the first one inside; after: the first one behind the end.
  std::size_t first = 0, after = 0;
  while (first < p.count && p.time(first) <= start) ++first;
  while (after < p.count && p.time(after) <= end) ++after;
  const bool has_before = first > 0, has_after = after<p.count, any_inside = after> first;
  const bool smoothed = context.ends == Ends::smoothed;
  if (!any_inside && !(smoothed && has_before && has_after)) return;

  const auto used_from = has_before ? first - 1 : first;
  const auto used_to = smoothed && has_after ? after + 1 : after;
  std::size_t histograms = 0;
  bool gauges = false;
  for (auto k = used_from; k < used_to; ++k) {
    const auto* h = p.histogram(k);
    histograms += h ? 1 : 0;
    gauges = gauges || (h && h->hint == ResetHint::gauge);
  }
  if (call.name == "changes" || call.name == "resets") {
    Points inside = p;
    inside.times += used_from, inside.values += used_from;
    if (inside.histograms) inside.histograms += used_from;
    if (inside.starts) inside.starts += used_from;
    inside.count = after - used_from;
    return range_of_both(call, series, labels, inside, {}, context, out);
  }
  if (histograms > 0 && histograms < used_to - used_from)
    return warn(where, "encountered a mix of histograms and floats" + of_metric(labels));
  const bool counter = call.name != "delta";
  const double seconds = call.name == "rate" ? static_cast<double>(end - start) / 1000 : 1;
  const auto part = [&](std::size_t i, std::int64_t at) {  // of the way from sample i to the next one
    return static_cast<double>(at - p.time(i)) / static_cast<double>(p.time(i + 1) - p.time(i));
  };
  // Between which samples the ends are: none where they are samples themselves.
  const bool left_between = smoothed && has_before && p.time(first - 1) < start && first < p.count;
  const bool right_between = smoothed && has_after && after > 0 && p.time(after - 1) < end;

  if (histograms == 0) {
    const double left = left_between
                            ? between_numbers(p.values[first - 1], p.values[first], part(first - 1, start), counter)
                            : p.values[used_from];
    const double right = right_between
                             ? between_numbers(p.values[after - 1], p.values[after], part(after - 1, end), counter)
                             : p.values[after - 1];
    double result = right - left;
    if (counter) {
      double previous = left;
      for (auto k = first; k < after; ++k) {
        if (p.values[k] < previous) result += previous;
        previous = p.values[k];
      }
      if (right_between && right < previous) result += previous;
    }
    out.samples.emplace_back(series, result / seconds);
    return;
  }

  if (counter && gauges) warn(where, "this native histogram metric is not a counter: " + promql::quoted(labels.name()));
  const auto ends_gauge = [&](std::size_t k) { return p.histogram(k)->hint == ResetHint::gauge; };
  if (!counter && (!ends_gauge(used_from) || !ends_gauge(used_to - 1)))
    warn(where, "this native histogram metric is not a gauge: " + promql::quoted(labels.name()));
  for (auto k = used_from; k < used_to; ++k) {
    spend(p.histogram(k)->size());
    if (p.histogram(k)->is_custom() == p.histogram(used_from)->is_custom()) continue;
    return warn(where,
                "vector contains a mix of histograms with exponential and custom buckets schemas" + of_metric(labels));
  }
  const auto end_value = [&](bool is_between, std::size_t before, std::int64_t at, std::size_t alone) {
    return is_between
               ? *between(*p.histogram(before), *p.histogram(before + 1), part(before, at), counter, where, labels)
               : *p.histogram(alone);
  };
  const auto left = end_value(left_between, first - 1, start, used_from);
  const auto right = end_value(right_between, after - 1, end, after - 1);
  HistogramSum sum(right);
  sum.add(left, -1);
  if (counter) {
    // Behind an interpolated left end a sample began anew only if it did since the end of the interpolation: never.
    for (auto k = has_before && !left_between ? first : first + 1; k < after; ++k)
      if (p.histogram(k)->reset_since(*p.histogram(k - 1))) sum.add(*p.histogram(k - 1));
    if (right_between && after > first && p.histogram(after)->reset_since(*p.histogram(after - 1)))
      sum.add(*p.histogram(after - 1));
  }
  auto result = sum.value();
  result.scale(1 / seconds);
  result.hint = ResetHint::gauge;
  result.compact();
  emit(out, series, std::move(result));
}

}  // namespace vitald::promql
