// SPDX-License-Identifier: Apache-2.0
// Functions over ranges that hold histograms, or counters whose start is known: not the common way.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

// The numbers of a range with both.
struct Numbers {
  explicit Numbers(const Points& p) {
    for (std::size_t i = 0; i < p.count; ++i) {
      if (p.histogram(i)) continue;
      times.push_back(p.time(i));
      values.push_back(p.values[i]);
      starts.push_back(p.start(i));
    }
  }
  [[nodiscard]] Points points(bool with_starts) const {
    return {times.data(), values.data(), times.size(), 0, nullptr, with_starts ? starts.data() : nullptr};
  }
  std::vector<std::int64_t> times, starts;
  std::vector<double> values;
};

std::string quoted_name(const Labels& l) { return promql::quoted(l.name()); }

}  // namespace

void Evaluator::Impl::range_of_both(const Call& call, std::uint32_t series, const Labels& labels, const Points& p,
                                    std::span<const double> args, const RangeContext& context, Vector& out) {
  if (p.count == 0) return;
  const auto& name = call.function->name;
  const auto where = call.args[call.function->range_arg]->where;
  std::size_t histograms = 0;
  for (std::size_t i = 0; i < p.count; ++i) histograms += p.histogram(i) ? 1 : 0;
  const bool rates = name == "rate" || name == "increase" || name == "delta";
  if (p.starts && (rates || name == "irate")) {
    for (std::size_t i = 1; i < p.count; ++i)
      if (p.start(i) != 0 && p.start(i) < p.time(i - 1) && p.start(i) != p.start(i - 1)) {
        warn(where,
             "sample has start time that overlaps with previous sample timestamp for metric " + quoted_name(labels));
        break;
      }
  }
  const auto number = [&](const Points& numbers) {
    if (const auto v = call.function->on_range(numbers, args, context)) out.samples.emplace_back(series, *v);
  };
  if (histograms == 0) return number(p);
  if (name == "count_over_time" || name == "present_over_time" || name == "ts_of_first_over_time" ||
      name == "ts_of_last_over_time")
    return number(p);
  if (name == "first_over_time" || name == "last_over_time") {
    const auto i = name == "first_over_time" ? 0 : p.count - 1;
    if (const auto* h = p.histogram(i)) out.samples.emplace_back(series, kNaN, pooled(h));
    else out.samples.emplace_back(series, p.values[i]);
    return;
  }
  if (name == "changes" || name == "resets") {
    double n = 0;
    for (std::size_t i = 1; i < p.count; ++i) {
      const auto *before = p.histogram(i - 1), *now = p.histogram(i);
      const double x = p.values[i - 1], y = p.values[i];
      bool counts = false;
      if ((before == nullptr) != (now == nullptr)) counts = true;
      else if (name == "changes") counts = now ? !now->same(*before) : x != y && !(std::isnan(x) && std::isnan(y));
      else counts = (now ? now->reset_since(*before) : y < x) || (p.starts && starts_anew(p, i));
      n += counts ? 1 : 0;
    }
    out.samples.emplace_back(series, n);
    return;
  }
  Histogram result;
  if (rates) {
    if (histogram_rate(call, labels, p, context, result)) emit(out, series, std::move(result));
    return;
  }
  if (name == "irate" || name == "idelta") {
    if (p.count < 2) return;
    if (!p.histogram(p.count - 1) && !p.histogram(p.count - 2)) return number(p);
    if (histogram_instant_change(call, labels, p, result)) emit(out, series, std::move(result));
    return;
  }
  if (name == "sum_over_time" || name == "avg_over_time") {
    if (histograms < p.count) return warn(where, "encountered a mix of histograms and floats" + of_metric(labels));
    if (histogram_total(call, labels, p, result)) emit(out, series, std::move(result));
    return;
  }
  // The others are about numbers.
  if (histograms == p.count) return;
  info(where, "ignored histograms in a range containing both floats and histograms" + of_metric(labels));
  const Numbers numbers(p);
  number(numbers.points(p.starts != nullptr));
}

// rate, increase and delta of histograms, as extrapolated() is of numbers. False: nothing.
bool Evaluator::Impl::histogram_rate(const Call& call, const Labels& labels, const Points& p,
                                     const RangeContext& context, Histogram& result) {
  const auto where = call.args[0]->where;
  const bool counter = call.name != "delta", per_second = call.name == "rate";
  const bool from_start = counter && starts_inside(p, context);
  if (p.count < (from_start ? 1 : 2)) return false;
  bool gauges = false;
  for (std::size_t i = 0; i < p.count; ++i) {
    const auto* h = p.histogram(i);
    if (!h) return warn(where, "encountered a mix of histograms and floats" + of_metric(labels)), false;
    gauges = gauges || h->hint == ResetHint::gauge;
    spend(h->size());
  }
  const auto &first = *p.histogram(0), &last = *p.histogram(p.count - 1);
  if (counter && gauges) warn(where, "this native histogram metric is not a counter: " + quoted_name(labels));
  if (!counter && (first.hint != ResetHint::gauge || last.hint != ResetHint::gauge))
    warn(where, "this native histogram metric is not a gauge: " + quoted_name(labels));
  const auto anew = [&](std::size_t i) {
    return p.histogram(i)->reset_since(*p.histogram(i - 1)) || (p.starts && starts_anew(p, i));
  };
  // What lies before a reset right after the first sample does not matter, so neither does how it is laid out.
  const bool ignore_first = counter && !from_start && p.count > 1 && anew(1);
  const auto from = ignore_first ? std::size_t{1} : std::size_t{0};
  const auto mixed = [&] {
    warn(where, "vector contains a mix of histograms with exponential and custom buckets schemas" + of_metric(labels));
    return false;
  };
  if (last.is_custom() != p.histogram(from)->is_custom()) return mixed();
  if (counter)
    for (std::size_t i = from; i < p.count; ++i)
      if (p.histogram(i)->is_custom() != last.is_custom()) return mixed();

  HistogramSum sum(last);
  bool subtracted = false, added = false;
  if (!ignore_first && !from_start) {
    sum.add(first, -1);
    subtracted = sum.reconciled().bounds;
  }
  if (counter)
    for (std::size_t i = 1; i < p.count; ++i) {
      if (!anew(i) || (ignore_first && i == 1)) continue;
      sum.add(*p.histogram(i - 1));
      added = sum.reconciled().bounds && !subtracted;
    }
  // Nothing of the finer buckets of those between is left either.
  if (subtracted) info(where, "mismatched custom buckets were reconciled during subtraction");
  if (added) info(where, "mismatched custom buckets were reconciled during addition");
  result = sum.value();
  result.scale(extrapolation(p, context, per_second, counter ? first.count : -1, result.count));
  result.hint = ResetHint::gauge;
  result.compact();
  return true;
}

bool Evaluator::Impl::histogram_instant_change(const Call& call, const Labels& labels, const Points& p,
                                               Histogram& result) {
  const auto where = call.args[0]->where;
  const auto n = p.count;
  const auto *before = p.histogram(n - 2), *now = p.histogram(n - 1);
  const auto ms = p.time(n - 1) - p.time(n - 2);
  if (ms == 0) return false;
  if (!before || !now) return warn(where, "encountered a mix of histograms and floats" + of_metric(labels)), false;
  const bool is_rate = call.name == "irate";
  const bool gauge = before->hint == ResetHint::gauge, gauge_now = now->hint == ResetHint::gauge;
  if (is_rate && (gauge || gauge_now))
    warn(where, "this native histogram metric is not a counter: " + quoted_name(labels));
  if (!is_rate && !(gauge && gauge_now))
    warn(where, "this native histogram metric is not a gauge: " + quoted_name(labels));
  const bool anew = is_rate && (now->reset_since(*before) || (p.starts && starts_anew(p, n - 1)));
  if (!anew && before->is_custom() != now->is_custom()) {
    warn(where, "vector contains a mix of histograms with exponential and custom buckets schemas" + of_metric(labels));
    return false;
  }
  result = *now;
  if (!anew) {
    Reconciled reconciled;
    result = combine(*now, *before, true, reconciled);
    if (reconciled.bounds) info(where, "mismatched custom buckets were reconciled during subtraction");
  }
  if (is_rate) result.divide(static_cast<double>(ms) / 1000);
  result.hint = ResetHint::gauge;
  result.compact();
  return true;
}

bool Evaluator::Impl::histogram_total(const Call& call, const Labels& labels, const Points& p, Histogram& result) {
  const auto where = call.args[0]->where;
  std::vector<const Histogram*> all;
  for (std::size_t i = 0; i < p.count; ++i) all.push_back(p.histogram(i));
  for (const auto* h : all) {
    spend(h->size());
    if (h->is_custom() == all[0]->is_custom()) continue;
    warn(where, "vector contains a mix of histograms with exponential and custom buckets schemas" + of_metric(labels));
    return false;
  }
  Reconciled reconciled;
  if (call.name == "avg_over_time") {
    result = *mean(all, reconciled);
  } else {
    HistogramSum sum(*all[0]);
    for (std::size_t i = 1; i < all.size(); ++i) sum.add(*all[i]);
    reconciled = sum.reconciled();
    result = sum.value();
  }
  tell(reconciled, where, "aggregation");
  result.compact();
  return true;
}

// All of one kind of buckets. Divides first where the sum would overflow.
std::optional<Histogram> Evaluator::Impl::mean(const std::vector<const Histogram*>& all, Reconciled& reconciled) {
  if (all.empty()) return {};
  const auto n = static_cast<double>(all.size());
  HistogramSum sum(*all[0]);
  for (std::size_t i = 1; i < all.size(); ++i) sum.add(*all[i]);
  reconciled = sum.reconciled();
  auto total = sum.value();
  const auto overflows = [](const Histogram& h) {
    bool any = std::isinf(h.count) || std::isinf(h.sum) || std::isinf(h.zero_count);
    for (const auto* side : {&h.positive, &h.negative})
      for (const auto& b : *side) any = any || std::isinf(b.count);
    return any;
  };
  if (!overflows(total)) {
    total.divide(n);
    return total;
  }
  auto part = *all[0];
  part.divide(n);
  HistogramSum means(part);
  for (std::size_t i = 1; i < all.size(); ++i) {
    part = *all[i];
    part.divide(n);
    means.add(part);
  }
  return means.value();
}

}  // namespace vitald::promql
