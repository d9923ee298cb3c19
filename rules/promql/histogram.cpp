// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rules/promql/ast.h"

namespace vitald::promql {

namespace {

using Buckets = Histogram::Buckets;
constexpr double kInf = std::numeric_limits<double>::infinity();

// Index of the bucket of a lower resolution that bucket `index` falls into: 2^by of them become one.
std::int32_t coarser(std::int32_t index, std::int32_t by) {
  if (by >= 31) return index > 0 ? 1 : 0;
  return static_cast<std::int32_t>(((static_cast<std::int64_t>(index) - 1) >> by) + 1);
}

void coarsen(Buckets& buckets, std::int32_t by) {
  Buckets out;
  for (const auto& b : buckets) {
    const auto index = coarser(b.index, by);
    if (!out.empty() && out.back().index == index) out.back().count += b.count;
    else out.push_back({index, b.count});
  }
  buckets = std::move(out);
}

// The threshold that a zero bucket needs so that no populated bucket is cut: at least `wanted`.
double clear_threshold(const Histogram& h, double wanted) {
  for (bool again = true; again;) {
    again = false;
    for (const auto* side : {&h.positive, &h.negative})
      for (const auto& b : *side) {
        if (bucket_bound(b.index - 1, h.schema) >= wanted) break;
        const double upper = bucket_bound(b.index, h.schema);
        if (upper > wanted && b.count != 0) {
          wanted = upper;
          again = true;
        }
      }
  }
  return wanted;
}

// Moves the buckets below the threshold into the zero bucket.
void widen(Histogram& h, double threshold) {
  for (auto* side : {&h.positive, &h.negative})
    std::erase_if(*side, [&](const Histogram::Bucket& b) {
      if (bucket_bound(b.index - 1, h.schema) >= threshold) return false;
      h.zero_count += b.count;
      return true;
    });
  h.zero_threshold = threshold;
}

std::vector<double> bounds_in_common(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out;
  std::ranges::set_intersection(a, b, std::back_inserter(out));
  return out;
}

// The bucket of the fewer bounds `to` in which bucket `index` of `from` lies.
std::int32_t mapped(std::int32_t index, const std::vector<double>& from, const std::vector<double>& to) {
  if (index < 0 || static_cast<std::size_t>(index) >= from.size()) return static_cast<std::int32_t>(to.size());
  const auto at = std::ranges::lower_bound(to, from[static_cast<std::size_t>(index)]);
  return static_cast<std::int32_t>(at - to.begin());
}

void to_bounds(Histogram& h, const std::vector<double>& bounds) {
  Buckets out;
  for (const auto& b : h.positive) {
    const auto index = mapped(b.index, h.custom, bounds);
    if (!out.empty() && out.back().index == index) out.back().count += b.count;
    else out.push_back({index, b.count});
  }
  h.positive = std::move(out);
  h.custom = bounds;
}

// Did any populated bucket of `before` lose observations?
bool lost(const Buckets& before, const Buckets& now) {
  auto at = now.begin();
  for (const auto& b : before) {
    while (at != now.end() && at->index < b.index) ++at;
    const double have = at != now.end() && at->index == b.index ? at->count : 0;
    if (have < b.count) return true;
  }
  return false;
}

std::string buckets_notation(std::string_view name, std::string_view offset, const Buckets& buckets) {
  if (buckets.empty()) return {};
  std::string out;
  if (buckets.front().index != 0) out += fmt::format(" {}:{}", offset, buckets.front().index);
  out += fmt::format(" {}:[", name);
  auto next = buckets.front().index;
  for (const auto& b : buckets) {
    for (; next < b.index; ++next) out += "0 ";
    out += fmt::format("{} ", b.count);
    ++next;
  }
  out.back() = ']';
  return out;
}

}  // namespace

std::string_view to_string(ResetHint hint) {
  switch (hint) {
    case ResetHint::unknown: return "unknown";
    case ResetHint::reset: return "reset";
    case ResetHint::not_reset: return "not_reset";
    case ResetHint::gauge: return "gauge";
  }
  return "?";
}

double bucket_bound(std::int32_t index, std::int32_t schema) {
  return schema >= 0 ? std::exp2(std::ldexp(static_cast<double>(index), -schema))
                     : std::exp2(std::ldexp(static_cast<double>(index), -schema));
}

std::vector<Histogram::Range> Histogram::ranges() const {
  std::vector<Range> out;
  out.reserve(positive.size() + negative.size() + 1);
  if (is_custom()) {
    const auto n = static_cast<std::int32_t>(custom.size());
    for (const auto& b : positive) {
      const double lower = b.index <= 0 ? -kInf : custom[static_cast<std::size_t>(std::min(b.index, n)) - 1];
      const double upper = b.index >= n ? kInf : custom[static_cast<std::size_t>(std::max(b.index, 0))];
      out.push_back({lower, upper, b.count, b.index <= 0, true, b.index, Range::Side::positive});
    }
    return out;
  }
  for (auto b = negative.rbegin(); b != negative.rend(); ++b)
    out.push_back({-bucket_bound(b->index, schema), -bucket_bound(b->index - 1, schema), b->count, true, false,
                   b->index, Range::Side::negative});
  if (zero_count != 0) out.push_back({-zero_threshold, zero_threshold, zero_count, true, true, 0, Range::Side::zero});
  for (const auto& b : positive)
    out.push_back({bucket_bound(b.index - 1, schema), bucket_bound(b.index, schema), b.count, false, true, b.index,
                   Range::Side::positive});
  return out;
}

bool Histogram::same(const Histogram& o) const {
  const auto equal = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  const auto equal_buckets = [&](const Buckets& a, const Buckets& b) {
    return std::ranges::equal(
        a, b, [&](const Bucket& x, const Bucket& y) { return x.index == y.index && equal(x.count, y.count); });
  };
  return schema == o.schema && equal(count, o.count) && equal(sum, o.sum) && zero_threshold == o.zero_threshold &&
         equal(zero_count, o.zero_count) && custom == o.custom && equal_buckets(positive, o.positive) &&
         equal_buckets(negative, o.negative);
}

void Histogram::scale(double factor) {
  count *= factor;
  sum *= factor;
  zero_count *= factor;
  for (auto* side : {&positive, &negative})
    for (auto& b : *side) b.count *= factor;
  if (factor < 0) hint = ResetHint::gauge;
}

void Histogram::divide(double by) {
  count /= by;
  sum /= by;
  zero_count /= by;
  if (by == 0) {
    positive.clear();
    negative.clear();
  }
  for (auto* side : {&positive, &negative})
    for (auto& b : *side) b.count /= by;
  if (by < 0) hint = ResetHint::gauge;
}

void Histogram::compact() {
  for (auto* side : {&positive, &negative}) std::erase_if(*side, [](const Bucket& b) { return b.count == 0; });
}

void Histogram::to_schema(std::int32_t lower) {
  if (is_custom() || lower >= schema) return;
  for (auto* side : {&positive, &negative}) coarsen(*side, schema - lower);
  schema = lower;
}

bool Histogram::reset_since(const Histogram& before) const {
  if (hint == ResetHint::reset) return true;
  if (hint == ResetHint::not_reset) return false;
  if (count < before.count) return true;
  if (is_custom() != before.is_custom()) return true;
  if (is_custom()) {
    if (custom == before.custom) return lost(before.positive, positive);
    Histogram a = before, b = *this;
    const auto bounds = bounds_in_common(a.custom, b.custom);
    to_bounds(a, bounds), to_bounds(b, bounds);
    return lost(a.positive, b.positive);
  }
  // A counter is only ever merged: a finer one, or one with a narrower zero bucket, is another one.
  if (schema > before.schema || zero_threshold < before.zero_threshold) return true;
  Histogram a = before;
  a.to_schema(schema);
  if (a.zero_threshold != zero_threshold) {
    if (clear_threshold(a, zero_threshold) != zero_threshold) return true;
    widen(a, zero_threshold);
  }
  return zero_count < a.zero_count || lost(a.positive, positive) || lost(a.negative, negative);
}

std::string Histogram::text() const {
  std::string out = fmt::format("{{count:{}, sum:{}", go_number(count), go_number(sum));
  for (const auto& r : ranges()) {
    if (r.count == 0) continue;
    out += fmt::format(", {}{},{}{}:{}", r.lower_inclusive ? '[' : '(', go_number(r.lower), go_number(r.upper),
                       r.upper_inclusive ? ']' : ')', go_number(r.count));
  }
  return out + '}';
}

std::string Histogram::notation() const {
  std::string out = "{{";
  if (schema != 0) out += fmt::format(" schema:{}", schema);
  if (count != 0) out += fmt::format(" count:{}", count);
  if (sum != 0) out += fmt::format(" sum:{}", sum);
  if (zero_count != 0) out += fmt::format(" z_bucket:{}", zero_count);
  if (zero_threshold != 0) out += fmt::format(" z_bucket_w:{}", zero_threshold);
  if (!custom.empty()) {
    out += " custom_values:[";
    for (const double b : custom) out += fmt::format("{} ", b);
    out.back() = ']';
  }
  if (hint != ResetHint::unknown) out += fmt::format(" counter_reset_hint:{}", to_string(hint));
  out += buckets_notation("buckets", "offset", positive);
  out += buckets_notation("n_buckets", "n_offset", negative);
  if (out.size() > 2) out.erase(2, 1);
  return out + "}}";
}

HistogramSum::HistogramSum(const Histogram& first) : layout_(first) {
  layout_.positive.clear();
  layout_.negative.clear();
  layout_.count = layout_.sum = layout_.zero_count = 0;
  seen_reset_ = first.hint == ResetHint::reset;
  seen_not_reset_ = first.hint == ResetHint::not_reset;
  count_.add(first.count);
  sum_.add(first.sum);
  zero_.add(first.zero_count);
  put(positive_, first.positive, 1);
  put(negative_, first.negative, 1);
}

void HistogramSum::put(Slots& slots, const Buckets& buckets, double factor) {
  auto at = slots.begin();
  for (const auto& b : buckets) {
    at = std::lower_bound(at, slots.end(), b.index, [](const Slot& s, std::int32_t i) { return s.index < i; });
    if (at == slots.end() || at->index != b.index) at = slots.insert(at, {b.index, {}});
    at->sum.add(b.count * factor);
  }
}

namespace {

void join(ExactSum& into, const ExactSum& more) {
  into.add(more.sum);
  into.add(more.rest);
}

template <class Slots, class F>
void regroup(Slots& slots, F&& index_of) {
  Slots out;
  for (auto& s : slots) {
    const auto index = index_of(s.index);
    if (!out.empty() && out.back().index == index) join(out.back().sum, s.sum);
    else out.push_back({index, s.sum});
  }
  slots = std::move(out);
}

}  // namespace

void HistogramSum::lower_schema(std::int32_t schema) {
  const auto by = layout_.schema - schema;
  if (by <= 0) return;
  for (auto* side : {&positive_, &negative_}) regroup(*side, [&](std::int32_t i) { return coarser(i, by); });
  layout_.schema = schema;
}

void HistogramSum::swallow(double threshold) {
  for (auto* side : {&positive_, &negative_})
    std::erase_if(*side, [&](const Slot& s) {
      if (bucket_bound(s.index - 1, layout_.schema) >= threshold) return false;
      join(zero_, s.sum);
      return true;
    });
  layout_.zero_threshold = threshold;
}

// Both get the narrowest zero bucket that cuts no bucket of either.
void HistogramSum::widen_zero(Histogram& other) {
  if (layout_.zero_threshold == other.zero_threshold) return;
  double wanted = std::max(layout_.zero_threshold, other.zero_threshold);
  for (bool again = true; again;) {
    const double before = wanted;
    wanted = clear_threshold(value(), wanted);
    wanted = clear_threshold(other, wanted);
    again = wanted != before;
  }
  swallow(wanted);
  widen(other, wanted);
}

void HistogramSum::common_bounds(Histogram& other) {
  if (layout_.custom == other.custom) return;
  reconciled_.bounds = true;
  const auto bounds = bounds_in_common(layout_.custom, other.custom);
  regroup(positive_, [&](std::int32_t i) { return mapped(i, layout_.custom, bounds); });
  layout_.custom = bounds;
  to_bounds(other, bounds);
}

void HistogramSum::add(const Histogram& h, double factor) {
  seen_reset_ = seen_reset_ || h.hint == ResetHint::reset;
  seen_not_reset_ = seen_not_reset_ || h.hint == ResetHint::not_reset;
  reconciled_.resets = seen_reset_ && seen_not_reset_;
  if (layout_.hint != h.hint)
    layout_.hint =
        layout_.hint == ResetHint::gauge || h.hint == ResetHint::gauge ? ResetHint::gauge : ResetHint::unknown;
  Histogram changed;  // only where the layouts differ
  const Histogram* other = &h;
  const bool same = layout_.is_custom() ? layout_.custom == h.custom
                                        : layout_.schema == h.schema && layout_.zero_threshold == h.zero_threshold;
  if (!same) {
    changed = h;
    other = &changed;
    if (layout_.is_custom()) {
      common_bounds(changed);
    } else {
      lower_schema(h.schema);
      changed.to_schema(layout_.schema);
      widen_zero(changed);
    }
  }
  count_.add(other->count * factor);
  sum_.add(other->sum * factor);
  zero_.add(other->zero_count * factor);
  put(positive_, other->positive, factor);
  put(negative_, other->negative, factor);
}

Histogram HistogramSum::value() const {
  Histogram h = layout_;
  h.count = count_.value();
  h.sum = sum_.value();
  h.zero_count = zero_.value();
  h.positive.reserve(positive_.size());
  for (const auto& s : positive_) h.positive.push_back({s.index, s.sum.value()});
  for (const auto& s : negative_) h.negative.push_back({s.index, s.sum.value()});
  return h;
}

Histogram combine(const Histogram& a, const Histogram& b, bool subtract, Reconciled& reconciled) {
  HistogramSum sum(a);
  sum.add(b, subtract ? -1 : 1);
  reconciled = sum.reconciled();
  auto h = sum.value();
  if (subtract) h.hint = ResetHint::gauge;
  h.compact();
  return h;
}

}  // namespace vitald::promql
