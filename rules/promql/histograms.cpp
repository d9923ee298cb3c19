// SPDX-License-Identifier: Apache-2.0
// Functions of histograms, native ones and those that are kept as cumulative buckets with a label `le`.
#include <fmt/format.h>

#include <cmath>

#include "core/text/scan.h"
#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

bool make_histogram(std::vector<HistogramBucket>& buckets, Mended& mended) {
  std::ranges::sort(buckets, {}, &HistogramBucket::upper);
  if (buckets.empty() || buckets.back().upper != kInf) return false;
  // Buckets of the same bound (le="1" and le="1.0") count together; counts never fall, whatever was read when.
  std::size_t last = 0;
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i].upper == buckets[last].upper) buckets[last].count += buckets[i].count;
    else buckets[++last] = buckets[i];
  }
  buckets.resize(last + 1);
  constexpr double kRounding = 1e-12;
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    auto& now = buckets[i];
    const auto& before = buckets[i - 1];
    if (std::abs(now.count - before.count) <= kRounding * std::abs(now.count + before.count)) {
      now.count = before.count;
    } else if (now.count < before.count) {
      if (!mended.any) mended.lowest = now.upper;
      mended.any = true;
      mended.highest = now.upper;
      mended.most = std::max(mended.most, before.count - now.count);
      now.count = before.count;
    }
  }
  return buckets.size() >= 2;
}

double histogram_quantile(double q, const std::vector<HistogramBucket>& buckets) {
  if (std::isnan(q)) return kNaN;
  if (q < 0) return -kInf;
  if (q > 1) return kInf;
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

double histogram_fraction(double lower, double upper, const std::vector<HistogramBucket>& buckets) {
  Histogram h;
  h.schema = Histogram::kCustom;
  h.count = buckets.back().count;
  double before = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (i + 1 < buckets.size()) h.custom.push_back(buckets[i].upper);
    h.positive.push_back({static_cast<std::int32_t>(i), buckets[i].count - before});
    before = buckets[i].count;
  }
  return h.fraction(lower, upper);
}

// Sorts the samples into the groups that are one histogram each, of either kind.
void Evaluator::Impl::gather_buckets(const Call&, const Vector& in, Span where, Node& n) {
  auto& c = *n.cache;
  if (c.in != in.shape) {
    c.in = in.shape;
    spend(kLabelsWork * in.shape->series.size());
    const std::vector<std::string> le{"le"};
    c.groups = group(in.shape, [](const Labels& l) {
      LabelsBuilder b(l);
      b.del("le");
      return b.labels();
    });
    c.told_apart_by_name.clear();
    if (late_names()) {
      c.groups.shape = marked_nameless(c.groups.shape);
    } else {  // the name goes at once
      auto nameless = group(in.shape, [&le](const Labels& l) { return drop_labels(l, le); });
      if (nameless.shape->series.size() != c.groups.shape->series.size()) c.told_apart_by_name = c.groups.of;
      c.groups = std::move(nameless);
    }
    c.bounds.clear();
    for (const auto& l : in.shape->series) c.bounds.push_back(parse_double(l.get("le")).value_or(kNaN));
  }
  const auto groups = c.groups.shape->series.size();
  c.buckets.resize(groups);
  for (auto& b : c.buckets) b.clear();
  c.natives.assign(groups, 0);
  std::vector<std::uint32_t> whose(c.told_apart_by_name.empty() ? 0 : groups, UINT32_MAX);
  for (const auto& s : in.samples) {
    const auto g = c.groups.of[s.series];
    if (!whose.empty()) {
      const auto own = c.told_apart_by_name[s.series];
      if (whose[g] != UINT32_MAX && whose[g] != own) fail("vector cannot contain metrics with the same labelset");
      whose[g] = own;
    }
    if (s.histogram > 0) [[unlikely]] {
      c.natives[g] = s.histogram;
    } else if (!std::isnan(c.bounds[s.series])) {
      c.buckets[g].push_back({c.bounds[s.series], s.value});
    } else {
      warn(where, fmt::format("bucket label \"le\" is missing or has a malformed value of {}{}",
                              promql::quoted(in.labels(s).get("le")), of_metric(in.labels(s))));
    }
  }
  n.out.shape = c.groups.shape;
  for (std::size_t g = 0; g < groups; ++g)
    if (c.natives[g] > 0 && !c.buckets[g].empty()) {
      warn(where, "vector contains a mix of classic and native histograms" + of_metric(c.groups.shape->series[g]));
      c.natives[g] = 0;
      c.buckets[g].clear();
    }
}

// Of a group that has one.
double Evaluator::Impl::group_quantile(double q, std::uint32_t group, Span where, Node& n,
                                       std::vector<Mended>& mended) {
  auto& c = *n.cache;
  const auto& labels = c.groups.shape->series[group];
  if (c.natives[group] > 0) {
    const auto& h = *pool_[c.natives[group]];
    const double v = h.quantile(q);
    if (std::isnan(h.sum) && h.count != 0 && !h.is_custom() && q >= 0 && q <= 1)
      info(where, fmt::format("input to histogram_quantile has NaN observations, result is {}{}",
                              std::isnan(v) ? "NaN" : "skewed higher", of_metric(labels)));
    return v;
  }
  if (!mended[group].any && mended[group].most == 0) {  // the first of some quantiles
    Mended m;
    const bool whole = make_histogram(c.buckets[group], m);
    if (!whole) c.buckets[group] = {{kInf, 0}};
    mended[group] = m;
    mended[group].most = -1;
    if (m.any)
      info(where,
           fmt::format("input to histogram_quantile needed to be fixed for monotonicity (see "
                       "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from "
                       "buckets {} to {}, with a max diff of {:.2g}{}",
                       m.lowest, m.highest, m.most, of_metric(labels)));
  }
  if (c.buckets[group].size() < 2) return std::isnan(q) || (q >= 0 && q <= 1) ? kNaN : q < 0 ? -kInf : kInf;
  return histogram_quantile(q, c.buckets[group]);
}

namespace {

bool in_order(double q) { return q >= 0 && q <= 1; }
std::string out_of_order(double q) {
  return fmt::format("quantile value should be between 0 and 1, got {}", go_number(q));
}

}  // namespace

void Evaluator::Impl::quantile_of_histogram(const Call& call, std::int64_t t, Node& n) {
  const double q = scalar(*call.args[0], t);
  if (!in_order(q)) warn(call.args[0]->where, out_of_order(q));
  const auto where = call.args[1]->where;
  gather_buckets(call, vector(*call.args[1], t), where, n);
  auto& c = *n.cache;
  std::vector<Mended> mended(c.buckets.size());
  for (std::uint32_t g = 0; g < c.buckets.size(); ++g)
    if (!c.buckets[g].empty() || c.natives[g] > 0)
      n.out.samples.emplace_back(g, group_quantile(q, g, where, n, mended));
}

// Several at once, each under a label that says which it is.
void Evaluator::Impl::quantiles_of_histogram(const Call& call, std::int64_t t, Node& n) {
  const auto& label = text(*call.args[1]);
  if (!valid_quoted_name(label)) return fail(fmt::format("invalid label name {}", promql::quoted(label)));
  std::vector<double> quantiles;
  for (std::size_t i = 2; i < call.args.size(); ++i) {
    quantiles.push_back(scalar(*call.args[i], t));
    if (!in_order(quantiles.back())) warn(call.args[i]->where, out_of_order(quantiles.back()));
  }
  const auto where = call.args[0]->where;
  gather_buckets(call, vector(*call.args[0], t), where, n);
  auto& c = *n.cache;
  std::vector<Mended> mended(c.buckets.size());
  auto shape = std::make_shared<Shape>();
  for (std::uint32_t g = 0; g < c.buckets.size(); ++g) {
    if (c.buckets[g].empty() && c.natives[g] == 0) continue;
    const auto& labels = c.groups.shape->series[g];
    if (!labels.get(label).empty())
      return fail(fmt::format("histogram_quantiles: the series have a label {} already; expected another one",
                              promql::quoted(label)));
    for (const double q : quantiles) {
      LabelsBuilder b(labels);
      auto value = std::isfinite(q) ? fmt::format("{}", q) : number_text(q);  // as in a summary: 0.5, 1.0
      if (std::isfinite(q) && value.find_first_not_of("0123456789-") == value.npos) value += ".0";
      b.set(label, value);
      shape->series.push_back(b.labels());
      shape->nameless.push_back(c.groups.shape->loses_name(g));
      n.out.samples.emplace_back(static_cast<std::uint32_t>(shape->series.size() - 1),
                                 group_quantile(q, g, where, n, mended));
    }
  }
  c.named_in.reset();
  n.out.shape = keep_if_equal(c.in2, std::move(shape));
  c.relabelled = vitald::promql::index(n.out.shape);
  finish(n, c.relabelled);
}

void Evaluator::Impl::fraction_of_histogram(const Call& call, std::int64_t t, Node& n) {
  const double lower = scalar(*call.args[0], t), upper = scalar(*call.args[1], t);
  const auto where = call.args[2]->where;
  gather_buckets(call, vector(*call.args[2], t), where, n);
  auto& c = *n.cache;
  for (std::uint32_t g = 0; g < c.buckets.size(); ++g) {
    if (c.natives[g] > 0) {
      const auto& h = *pool_[c.natives[g]];
      if (std::isnan(h.sum) && h.count != 0 && !h.is_custom())
        info(where, "input to histogram_fraction has NaN observations, which are excluded from all fractions" +
                        of_metric(c.groups.shape->series[g]));
      n.out.samples.emplace_back(g, h.fraction(lower, upper));
    } else if (!c.buckets[g].empty()) {
      Mended mended;
      make_histogram(c.buckets[g], mended);
      const bool whole = c.buckets[g].back().upper == kInf;
      if (mended.any)
        info(where,
             "input to histogram_fraction needed to be fixed for monotonicity" + of_metric(c.groups.shape->series[g]));
      n.out.samples.emplace_back(g, whole ? histogram_fraction(lower, upper, c.buckets[g]) : kNaN);
    }
  }
}

// What one number says about a native histogram.
void Evaluator::Impl::of_histogram(const Call& call, std::int64_t t, Node& n) {
  const auto& in = vector(*call.args[0], t);
  const auto value = [&](const Histogram& h) {
    if (call.name == "histogram_count") return h.count;
    if (call.name == "histogram_sum") return h.sum;
    if (call.name == "histogram_avg") return h.sum / h.count;
    return call.name == "histogram_stdvar" ? h.variance() : std::sqrt(h.variance());
  };
  for (const auto& s : in.samples)
    if (const auto* h = histogram(s)) n.out.samples.emplace_back(s.series, value(*h));
  finish(n, nameless(*n.cache, in.shape));
}

}  // namespace vitald::promql
