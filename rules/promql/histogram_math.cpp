// SPDX-License-Identifier: Apache-2.0
// What a native histogram says about its observations: quantiles, fractions, variance, and cutting it off.
#include <algorithm>
#include <cmath>
#include <limits>

#include "rules/promql/histogram.h"

namespace vitald::promql {

namespace {

using Range = Histogram::Range;
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Observations in the zero bucket have the sign of the others, where all others have one.
void bias_zero(const Histogram& h, Range& r) {
  if (r.side != Range::Side::zero) return;
  if (h.negative.empty() && !h.positive.empty()) r.lower = 0;
  else if (h.positive.empty() && !h.negative.empty()) r.upper = 0;
}

bool linear(const Histogram& h, Range::Side side) { return h.is_custom() || side == Range::Side::zero; }

// What lies at `part` (0..1) of the way through a bucket: evenly spread, or evenly on a logarithmic scale.
double inside(const Histogram& h, const Range& r, double part) {
  if (linear(h, r.side)) return r.lower + (r.upper - r.lower) * part;
  const double low = std::log2(std::abs(r.lower)), high = std::log2(std::abs(r.upper));
  if (r.lower > 0) return std::exp2(low + (high - low) * part);
  return -std::exp2(high + (low - high) * (1 - part));
}

// The inverse: which part of a bucket lies at or below x.
double part_below(const Histogram& h, const Range& r, double x) {
  if (x <= r.lower) return 0;
  if (x >= r.upper) return 1;
  if (linear(h, r.side)) return (x - r.lower) / (r.upper - r.lower);
  const double low = std::log2(std::abs(r.lower)), high = std::log2(std::abs(r.upper)), at = std::log2(std::abs(x));
  return r.lower > 0 ? (at - low) / (high - low) : 1 - (at - high) / (low - high);
}

// How much of a bucket lies at or below x. Of a bucket without an end, everything is taken to lie at the end it has,
// but a first one that goes up to a positive bound is taken to begin at 0.
double part_below_open(const Histogram& h, const Range& r, double x) {
  if (x == -kInf) return 0;
  if (x == kInf) return 1;
  if (r.lower == -kInf && r.upper == kInf) return 0;
  if (r.lower == -kInf) {
    if (r.upper <= 0) return 1;
    Range from_zero = r;
    from_zero.lower = 0;
    return part_below(h, from_zero, x);
  }
  if (r.upper == kInf) return 0;
  return part_below(h, r, x);
}

double middle(const Histogram& h, Range::Side side, double lower, double upper) {
  if (linear(h, side)) return (lower + upper) / 2;
  const double m = std::sqrt(std::abs(lower) * std::abs(upper));
  return lower < 0 ? -m : m;
}

}  // namespace

double Histogram::quantile(double q) const {
  if (q < 0) return -kInf;
  if (q > 1) return kInf;
  if (count == 0 || std::isnan(q)) return kNaN;
  // Observations of NaN are in the count and in no bucket: then they are the highest.
  const bool forward = std::isnan(sum) || q < 0.5;
  double rank = (forward ? q : 1 - q) * count;
  auto all = ranges();
  if (!forward) std::ranges::reverse(all);
  double counted = 0;
  Range r;
  for (const auto& next : all) {
    if (next.count == 0) continue;
    r = next;
    counted += r.count;
    if (counted >= rank) break;
  }
  bias_zero(*this, r);
  if (is_custom()) {
    if (r.lower == -kInf) {
      if (r.upper <= 0) return r.upper;
      r.lower = 0;
    } else if (r.upper == kInf) {
      return r.lower;
    }
  }
  counted = std::min(counted, count);
  if (counted < rank) return std::isnan(sum) ? kNaN : forward ? r.upper : r.lower;
  rank = forward ? rank - (counted - r.count) : counted - rank;
  return inside(*this, r, rank / r.count);
}

double Histogram::fraction(double lower, double upper) const {
  if (count == 0 || std::isnan(lower) || std::isnan(upper)) return kNaN;
  if (lower >= upper) return 0;
  double below_lower = 0, below_upper = 0;
  for (auto r : ranges()) {
    if (r.count == 0) continue;
    bias_zero(*this, r);
    below_lower += part_below_open(*this, r, lower) * r.count;
    below_upper += part_below_open(*this, r, upper) * r.count;
  }
  return (below_upper - below_lower) / count;
}

double Histogram::variance() const {
  const double mean = sum / count;
  ExactSum squares;
  for (const auto& r : ranges()) {
    if (r.count == 0) continue;
    const double value = middle(*this, r.side, r.lower, r.upper);
    squares.add((value - mean) * (value - mean) * r.count);
  }
  return squares.value() / count;
}

void Histogram::trim(double at, bool keep_below) {
  if (std::isnan(at) || at == (keep_below ? kInf : -kInf)) return;
  bool cut = false;
  double total = 0;
  ExactSum estimate;
  std::vector<double> kept;
  const auto all = ranges();
  for (auto r : all) {
    bias_zero(*this, r);
    double part = part_below_open(*this, r, at);
    // The part that stays lies between these.
    double low = r.lower, high = r.upper;
    if (is_custom() && r.lower == -kInf && r.upper > 0) low = 0;
    if (!keep_below) {
      part = 1 - part;
      // A bucket from -Inf that holds the cut: nothing says that any of it lies above.
      if (is_custom() && r.lower == -kInf && (at < 0 || r.upper == kInf)) part = 0;
      low = std::max(low, at);
    } else {
      high = std::min(high, at);
    }
    const double count_kept = r.count * part;
    kept.push_back(count_kept);
    if (count_kept != r.count) cut = true;
    if (count_kept == 0) continue;
    total += count_kept;
    const double value = low == -kInf ? high : high == kInf ? low : middle(*this, r.side, low, high);
    estimate.add(value * count_kept);
  }
  if (!cut) return;
  const auto set = [&](Buckets& buckets, std::int32_t index, double value) {
    for (auto& b : buckets)
      if (b.index == index) b.count = value;
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].side == Range::Side::zero) zero_count = kept[i];
    else set(all[i].side == Range::Side::positive ? positive : negative, all[i].index, kept[i]);
  }
  count = total;
  sum = estimate.value();
  compact();
}

}  // namespace vitald::promql
