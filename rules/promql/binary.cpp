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
    c.matched = match(b, l.shape, r.shape, drops_name(b));
    c.pairs.clear();
    c.pair_shape.reset();
  }
  cleared(n);
  if (is_set(b.op)) set_operator(b, l, r, n);
  else join(b, l, r, n);
  return n.out;
}

bool Evaluator::Impl::drops_name(const Binary& b) const {
  if (is_comparison(b.op)) return b.return_bool;
  return b.op != BinaryOp::atan2 || options_.dialect == Dialect::v3;
}

const Vector& Evaluator::Impl::with_scalar(const Binary& b, std::int64_t t) {
  const bool scalar_left = b.lhs->type == ValueType::scalar;
  const double s = scalar(scalar_left ? *b.lhs : *b.rhs, t);
  const auto& in = vector(scalar_left ? *b.rhs : *b.lhs, t);
  auto& n = node(b);
  auto& out = cleared(n);
  for (const auto& x : in.samples) {
    const double l = scalar_left ? s : x.value, r = scalar_left ? x.value : s;
    if (!is_comparison(b.op)) out.samples.push_back({x.series, arithmetic(b.op, l, r)});
    else if (b.return_bool) out.samples.push_back({x.series, compare(b.op, l, r) ? 1.0 : 0.0});
    else if (compare(b.op, l, r)) out.samples.push_back(x);
  }
  if (drops_name(b)) finish(n, nameless(*n.cache, in.shape));
  else out.shape = in.shape;
  return out;
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
      if (!c.seen[m.right[s.series]]) out.samples.push_back({first + s.series, s.value});
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
  if (drops_name(b)) builder.del(kMetricName);
  for (const auto& name : b.matching.include) builder.set(name, one.labels(other).get(name));
  const auto series = static_cast<std::uint32_t>(c.pair_shape->series.size());
  c.pair_shape->series.push_back(builder.labels());
  c.pairs.emplace(key, series);
  return series;
}

void Evaluator::Impl::duplicate(const Binary& b, bool swapped, const Vector& one, std::size_t first,
                                std::size_t second) {
  const auto& x = one.labels(one.samples[first]);
  const auto& y = one.labels(one.samples[second]);
  const auto group = b.matching.on ? keep_labels(x, b.matching.labels) : drop_labels(x, b.matching.labels);
  fail(
      fmt::format("found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];"
                  "many-to-many matching not allowed: matching labels must be unique on one side",
                  group.text(), swapped ? "left" : "right", y.text_with_name(), x.text_with_name()));
}

}  // namespace vitald::promql
