// SPDX-License-Identifier: Apache-2.0
// Operators between vectors and scalars: set operators, and joins one to one, many to one, one to many.
#include <fmt/format.h>

#include "rules/promql/eval_impl.h"
#include "rules/promql/operators.h"

namespace vitald::promql {

namespace {

constexpr char kManyToOne[] =
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";

}  // namespace

const Vector& Evaluator::Impl::binary(const Binary& b, std::int64_t t) {
  if (b.lhs->type == ValueType::scalar || b.rhs->type == ValueType::scalar) return with_scalar(b, t);
  const auto& l = vector(*b.lhs, t);
  const auto& r = vector(*b.rhs, t);
  auto& n = node(b);
  auto& c = *n.cache;
  if (c.in != l.shape || c.in2 != r.shape) {
    c.in = l.shape;
    c.in2 = r.shape;
    spend(kLabelsWork * (l.shape->series.size() + r.shape->series.size()));
    c.matched = match(b, l.shape, r.shape, drops_name(b), late_names());
    c.pairs.clear();
    c.pair_shape.reset();
  }
  cleared(n);
  if (is_set(b.op)) set_operator(b, l, r, n);
  else if (b.matching.fill_left || b.matching.fill_right) fill(b, l, r, n);
  else join(b, l, r, n);
  return n.out;
}

bool Evaluator::Impl::drops_name(const Binary& b) const {
  if (is_comparison(b.op)) return b.return_bool;
  if (is_trim(b.op)) return false;
  return b.op != BinaryOp::atan2 || options_.dialect == Dialect::v3;
}

const Vector& Evaluator::Impl::with_scalar(const Binary& b, std::int64_t t) {
  const bool scalar_left = b.lhs->type == ValueType::scalar;
  const double s = scalar(scalar_left ? *b.lhs : *b.rhs, t);
  const auto& in = vector(scalar_left ? *b.rhs : *b.lhs, t);
  auto& n = node(b);
  auto& out = cleared(n);
  const Sample other(0, s);
  for (const auto& x : in.samples) {
    if (x.histogram > 0) [[unlikely]] {
      histogram_operator(b, scalar_left ? other : x, scalar_left ? x : other, x.series, out);
      continue;
    }
    if (is_trim(b.op)) [[unlikely]] {
      histogram_operator(b, scalar_left ? other : x, scalar_left ? x : other, x.series, out);
      continue;
    }
    const double l = scalar_left ? s : x.value, r = scalar_left ? x.value : s;
    if (!is_comparison(b.op)) out.samples.push_back({x.series, arithmetic(b.op, l, r)});
    else if (b.return_bool) out.samples.push_back({x.series, compare(b.op, l, r) ? 1.0 : 0.0});
    else if (compare(b.op, l, r)) out.samples.push_back(x);
  }
  if (drops_name(b)) finish(n, nameless(*n.cache, in.shape));
  else out.shape = in.shape;
  return out;
}

// What an operator makes of two samples of which one is a histogram at least. False: nothing, and that is told.
bool Evaluator::Impl::histogram_operator(const Binary& b, const Sample& l, const Sample& r, std::uint32_t series,
                                         Vector& out) {
  const auto* lh = histogram(l);
  const auto* rh = histogram(r);
  const auto nothing = [&] {
    const auto kind = [](const Histogram* h) { return h ? "histogram" : "float"; };
    info(b.where, fmt::format("incompatible sample types encountered for binary operator {}: {} {} {}",
                              promql::quoted(to_string(b.op)), kind(lh), to_string(b.op), kind(rh)));
    return false;
  };
  if (lh && rh) {
    if (b.op == BinaryOp::eql || b.op == BinaryOp::neq) {
      const bool holds = lh->same(*rh) == (b.op == BinaryOp::eql);
      if (b.return_bool) out.samples.emplace_back(series, holds ? 1 : 0);
      else if (holds) out.samples.push_back(renamed(l, series));
      return b.return_bool || holds;
    }
    if (b.op != BinaryOp::add && b.op != BinaryOp::sub) return nothing();
    if (lh->is_custom() != rh->is_custom()) {
      warn(b.where, "vector contains a mix of histograms with exponential and custom buckets schemas");
      return false;
    }
    Reconciled reconciled;
    auto h = combine(*lh, *rh, b.op == BinaryOp::sub, reconciled);
    tell(reconciled, b.where, b.op == BinaryOp::sub ? "subtraction" : "addition");
    return emit(out, series, std::move(h)), true;
  }
  if (b.op == BinaryOp::mul) {
    auto h = lh ? *lh : *rh;
    h.scale(lh ? r.value : l.value);
    return emit(out, series, std::move(h)), true;
  }
  if (!lh || (b.op != BinaryOp::div && !is_trim(b.op))) return nothing();
  auto h = *lh;
  if (b.op == BinaryOp::div) h.divide(r.value);
  else h.trim(r.value, b.op == BinaryOp::trim_upper);
  return emit(out, series, std::move(h)), true;
}

void Evaluator::Impl::set_operator(const Binary& b, const Vector& l, const Vector& r, Node& n) {
  auto& c = *n.cache;
  const auto& m = c.matched;
  auto& out = n.out;
  out.shape = m.shape;
  c.seen.assign(m.signatures, 0);
  if (b.op == BinaryOp::lor) {
    out.samples = l.samples;
    for (const auto& s : l.samples) c.seen[m.left[s.series]] = 1;
    const auto first = static_cast<std::uint32_t>(l.shape->series.size());
    for (const auto& s : r.samples)
      if (!c.seen[m.right[s.series]]) out.samples.push_back(renamed(s, first + s.series));
    return;
  }
  for (const auto& s : r.samples) c.seen[m.right[s.series]] = 1;
  const int want = b.op == BinaryOp::land ? 1 : 0;
  for (const auto& s : l.samples)
    if (c.seen[m.left[s.series]] == want) out.samples.push_back(s);
}

void Evaluator::Impl::join(const Binary& b, const Vector& l, const Vector& r, Node& n) {
  using Card = Matching::Card;
  auto& c = *n.cache;
  const auto& m = c.matched;
  auto& out = n.out;
  out.shape = m.shape;
  if (l.samples.empty() || r.samples.empty()) return;
  const bool swapped = b.matching.card == Card::one_to_many;
  const auto& many = swapped ? r : l;
  const auto& one = swapped ? l : r;
  const auto& many_signature = swapped ? m.right : m.left;
  const auto& one_signature = swapped ? m.left : m.right;

  c.seen.assign(m.signatures, -1);  // signature -> index of the one side's sample; -2 - index: matched before
  for (std::size_t i = 0; i < one.samples.size(); ++i) {
    auto& at = c.seen[one_signature[one.samples[i].series]];
    if (at != -1) return duplicate(b, swapped, one, static_cast<std::size_t>(at), i);
    at = static_cast<std::int32_t>(i);
  }
  bool grown = false;
  for (const auto& s : many.samples) {
    auto& at = c.seen[many_signature[s.series]];
    if (at == -1) continue;
    const auto& other = one.samples[static_cast<std::size_t>(at < 0 ? -2 - at : at)];
    const double left = swapped ? other.value : s.value, right = swapped ? s.value : other.value;
    double value = 0;
    // A second match is an error; in 2.x only where both pass the comparison.
    const auto claim = [&] {
      if (at < 0) return fail(kManyToOne), false;
      at = -2 - at;
      return true;
    };
    const bool exclusive = b.matching.card == Card::one_to_one;
    if (exclusive && options_.dialect == Dialect::v3 && !claim()) return;
    if (s.histogram > 0 || other.histogram > 0 || is_trim(b.op)) [[unlikely]] {
      const auto before = out.samples.size();
      if (!histogram_operator(b, swapped ? other : s, swapped ? s : other, s.series, out)) continue;
      if (exclusive && options_.dialect == Dialect::v2 && !claim()) return;
      if (!exclusive && !b.matching.include.empty() && out.samples.size() > before)
        out.samples.back().series = pair(b, c, many, s, one, other, grown);
      continue;
    }
    if (!is_comparison(b.op)) value = arithmetic(b.op, left, right);
    else if (b.return_bool) value = compare(b.op, left, right) ? 1 : 0;
    else if (compare(b.op, left, right)) value = left;
    else continue;
    if (exclusive && options_.dialect == Dialect::v2 && !claim()) return;
    const bool widened = !exclusive && !b.matching.include.empty();
    out.samples.push_back({widened ? pair(b, c, many, s, one, other, grown) : s.series, value});
  }
  if (b.matching.card == Card::one_to_one) return;
  if (!b.matching.include.empty()) {
    if (!c.pair_shape) c.pair_shape = std::make_shared<Shape>();
    if (grown) c.relabelled = index(c.pair_shape);
    out.shape = c.pair_shape;
  } else {
    c.relabelled.group_of = m.result_group;
    c.relabelled.collides = m.collides;
  }
  if (c.relabelled.collides && has_duplicate(c.relabelled, out.samples, c.seen))
    fail("multiple matches for labels: grouping labels must ensure unique matches");
}

// The result series of this pair; labels named in group_left(...) come from the one side.
std::uint32_t Evaluator::Impl::pair(const Binary& b, Cache& c, const Vector& many, const Sample& s, const Vector& one,
                                    const Sample& other, bool& grown) {
  const auto key = std::uint64_t{s.series} << 32 | other.series;
  if (const auto at = c.pairs.find(key); at != c.pairs.end()) return at->second;
  if (!grown) {  // a shape never changes: consumers see another object when a pair is new
    c.pair_shape = c.pair_shape ? std::make_shared<Shape>(*c.pair_shape) : std::make_shared<Shape>();
    grown = true;
  }
  LabelsBuilder builder(many.labels(s));
  const bool drops = drops_name(b);
  if (drops && !late_names()) builder.del(kMetricName);
  for (const auto& name : b.matching.include) builder.set(name, one.labels(other).get(name));
  const auto series = static_cast<std::uint32_t>(c.pair_shape->series.size());
  c.pair_shape->series.push_back(builder.labels());
  c.pair_shape->nameless.push_back(late_names() && (drops || many.shape->loses_name(s.series)));
  c.pairs.emplace(key, series);
  return series;
}

// A join where a side that is missing is a number. Not often, so that shapes are made anew each time.
void Evaluator::Impl::fill(const Binary& b, const Vector& l, const Vector& r, Node& n) {
  using Card = Matching::Card;
  auto& c = *n.cache;
  const auto& m = c.matched;
  const bool swapped = b.matching.card == Card::one_to_many;
  const auto& many = swapped ? r : l;
  const auto& one = swapped ? l : r;
  const auto& many_signature = swapped ? m.right : m.left;
  const auto& one_signature = swapped ? m.left : m.right;
  // As Prometheus has it, with group_right too: fill_left() is for the side of the many, wherever that stands.
  const auto fill_many = b.matching.fill_left, fill_one = b.matching.fill_right;
  const bool exclusive = b.matching.card == Card::one_to_one, drops = drops_name(b);
  spend(kLabelsWork * (l.samples.size() + r.samples.size()));
  auto shape = std::make_shared<Shape>();
  n.out.shape = empty_shape();
  const auto named = [&](const Labels& base, bool loses, const Labels* with) {
    LabelsBuilder builder(base);
    if (drops && !late_names()) builder.del(kMetricName);
    if (with)
      for (const auto& name : b.matching.include) builder.set(name, with->get(name));
    shape->series.push_back(builder.labels());
    shape->nameless.push_back(late_names() && (drops || loses));
    return static_cast<std::uint32_t>(shape->series.size() - 1);
  };
  // Of the labels that both sides have in common.
  const auto group_labels = [&](const Labels& x) {
    return b.matching.on ? keep_labels(x, b.matching.labels) : drop_labels(x, b.matching.labels);
  };
  const auto put = [&](const Sample& left, const Sample& right, std::uint32_t series) {
    auto& out = n.out;
    if (left.histogram > 0 || right.histogram > 0 || is_trim(b.op)) {
      histogram_operator(b, left, right, series, out);
    } else if (!is_comparison(b.op)) {
      out.samples.emplace_back(series, arithmetic(b.op, left.value, right.value));
    } else {
      const bool holds = compare(b.op, left.value, right.value);
      if (b.return_bool) out.samples.emplace_back(series, holds ? 1 : 0);
      else if (holds) out.samples.emplace_back(series, left.value);
    }
  };
  c.seen.assign(m.signatures, -1);
  for (std::size_t i = 0; i < one.samples.size(); ++i) {
    auto& at = c.seen[one_signature[one.samples[i].series]];
    if (at != -1) return duplicate(b, swapped, one, static_cast<std::size_t>(at), i);
    at = static_cast<std::int32_t>(i);
  }
  std::vector<bool> matched(m.signatures), claimed(m.signatures);
  for (const auto& s : many.samples) {
    const auto signature = many_signature[s.series];
    const auto at = c.seen[signature];
    matched[signature] = true;
    if (exclusive && claimed[signature]) return fail(kManyToOne);
    claimed[signature] = true;
    if (at == -1 && !fill_one) continue;
    const auto other = at == -1 ? Sample(0, *fill_one) : one.samples[static_cast<std::size_t>(at)];
    const auto& labels = many.labels(s);
    const auto base = exclusive ? group_labels(labels) : labels;
    // Without `on`, the name stays where a comparison keeps it.
    LabelsBuilder builder(base);
    if (exclusive && !b.matching.on && (late_names() || !drops)) builder.set(kMetricName, labels.name());
    const auto series = named(exclusive ? builder.labels() : base, many.shape->loses_name(s.series),
                              at == -1 ? nullptr : &one.labels(other));
    if (swapped) put(other, s, series);
    else put(s, other, series);
  }
  if (fill_many)
    for (const auto& s : one.samples) {
      if (matched[one_signature[s.series]]) continue;
      const auto series = named(group_labels(one.labels(s)), false, nullptr);
      if (swapped) put(s, Sample(0, *fill_many), series);
      else put(Sample(0, *fill_many), s, series);
    }
  ShapePtr last = c.pair_shape;
  n.out.shape = keep_if_equal(last, std::move(shape));
  c.pair_shape = std::const_pointer_cast<Shape>(last);
  c.relabelled = index(n.out.shape);
  if (c.relabelled.collides && has_duplicate(c.relabelled, n.out.samples, c.seen))
    fail("multiple matches for labels: grouping labels must ensure unique matches");
}

void Evaluator::Impl::duplicate(const Binary& b, bool swapped, const Vector& one, std::size_t first,
                                std::size_t second) {
  const auto& x = one.labels(one.samples[first]);
  const auto& y = one.labels(one.samples[second]);
  const auto xt = x.text_with_name(), yt = y.text_with_name();
  const auto group = b.matching.on ? keep_labels(x, b.matching.labels) : drop_labels(x, b.matching.labels);
  fail(
      fmt::format("found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];"
                  "many-to-many matching not allowed: matching labels must be unique on one side",
                  group.text(), swapped ? "left" : "right", late_names() ? std::min(xt, yt) : yt,
                  late_names() ? std::max(xt, yt) : xt));
}

}  // namespace vitald::promql
