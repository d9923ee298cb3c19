// SPDX-License-Identifier: Apache-2.0
// Quantiles of histograms that are kept as cumulative buckets with a label `le`.
#include <cmath>

#include "core/text/scan.h"
#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

double histogram_quantile(double q, std::vector<HistogramBucket>& buckets) {
  if (std::isnan(q)) return kNaN;
  if (q < 0) return -kInf;
  if (q > 1) return kInf;
  std::ranges::sort(buckets, {}, &HistogramBucket::upper);
  if (buckets.empty() || buckets.back().upper != kInf) return kNaN;
  // Buckets of the same bound (le="1" and le="1.0") count together; counts never fall, whatever was read when.
  std::size_t last = 0;
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i].upper == buckets[last].upper) buckets[last].count += buckets[i].count;
    else buckets[++last] = buckets[i];
  }
  buckets.resize(last + 1);
  for (std::size_t i = 1; i < buckets.size(); ++i) buckets[i].count = std::max(buckets[i].count, buckets[i - 1].count);
  if (buckets.size() < 2) return kNaN;
  const double observations = buckets.back().count;
  if (observations == 0) return kNaN;
  double rank = q * observations;
  std::size_t b = 0;
  while (b + 1 < buckets.size() && !(buckets[b].count >= rank)) ++b;
  if (b == buckets.size() - 1) return buckets[b - 1].upper;
  if (b == 0 && buckets[0].upper <= 0) return buckets[0].upper;
  const double upper = buckets[b].upper;
  double lower = 0, count = buckets[b].count;
  if (b > 0) {
    lower = buckets[b - 1].upper;
    count -= buckets[b - 1].count;
    rank -= buckets[b - 1].count;
  }
  return lower + (upper - lower) * (rank / count);
}

void Evaluator::Impl::quantile_of_histogram(const Call& call, std::int64_t t, Node& n) {
  const double q = scalar(*call.args[0], t);
  const auto& in = vector(*call.args[1], t);
  auto& c = *n.cache;
  if (c.in != in.shape) {
    c.in = in.shape;
    c.groups = group(in.shape, [](const Labels& l) { return drop_labels(l, {"le"}); });
    c.bounds.clear();
    for (const auto& l : in.shape->series) c.bounds.push_back(parse_double(l.get("le")).value_or(kNaN));
  }
  c.buckets.resize(c.groups.shape->series.size());
  for (auto& b : c.buckets) b.clear();
  for (const auto& s : in.samples)
    if (!std::isnan(c.bounds[s.series])) c.buckets[c.groups.of[s.series]].push_back({c.bounds[s.series], s.value});
  n.out.shape = c.groups.shape;
  for (std::uint32_t g = 0; g < c.buckets.size(); ++g)
    if (!c.buckets[g].empty()) n.out.samples.push_back({g, histogram_quantile(q, c.buckets[g])});
}

}  // namespace vitald::promql
