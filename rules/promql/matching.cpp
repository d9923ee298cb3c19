// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/matching.h"

#include <cctype>
#include <functional>

#include "rules/promql/eval.h"

namespace vitald::promql {

const ShapePtr& empty_shape() {
  static const ShapePtr empty = std::make_shared<Shape>();
  return empty;
}

Relabelled index(const ShapePtr& shape) {
  Relabelled r;
  r.shape = shape;
  std::unordered_map<Labels, std::uint32_t, Labels::Hash> at;
  r.group_of.reserve(shape->series.size());
  for (const auto& l : shape->series)
    r.group_of.push_back(at.try_emplace(l, static_cast<std::uint32_t>(at.size())).first->second);
  r.collides = at.size() != shape->series.size();
  if (!r.collides) r.group_of = {};
  return r;
}

bool has_duplicate(const Relabelled& r, const std::vector<Sample>& samples, std::vector<std::int32_t>& seen) {
  seen.assign(r.group_of.size(), 0);
  return std::ranges::any_of(samples, [&](const Sample& s) { return seen[r.group_of[s.series]]++ > 0; });
}

ShapePtr marked_nameless(const ShapePtr& shape) {
  if (!shape->nameless.empty() && std::ranges::all_of(shape->nameless, std::identity{})) return shape;
  auto out = std::make_shared<Shape>(*shape);
  out->nameless.assign(out->series.size(), true);
  return out;
}

Matched match(const Binary& b, const ShapePtr& left, const ShapePtr& right, bool drop_name, bool late) {
  using Card = Matching::Card;
  const auto& how = b.matching;
  Matched m;
  std::unordered_map<Labels, std::uint32_t, Labels::Hash> at;
  const auto sign = [&](const ShapePtr& shape, std::vector<std::uint32_t>& out) {
    out.reserve(shape->series.size());
    for (const auto& l : shape->series) {
      auto key = how.on ? keep_labels(l, how.labels) : drop_labels(l, how.labels);
      out.push_back(at.try_emplace(std::move(key), static_cast<std::uint32_t>(at.size())).first->second);
    }
  };
  sign(left, m.left);
  sign(right, m.right);
  m.signatures = at.size();

  if (b.op == BinaryOp::lor) {
    auto both = std::make_shared<Shape>(*left);
    both->series.insert(both->series.end(), right->series.begin(), right->series.end());
    if (!left->nameless.empty() || !right->nameless.empty()) {
      both->nameless.resize(left->series.size());
      for (std::size_t i = 0; i < right->series.size(); ++i) both->nameless.push_back(right->loses_name(i));
    }
    m.shape = std::move(both);
    return m;
  }
  if (is_set(b.op)) {
    m.shape = left;
    return m;
  }
  const auto& base = how.card == Card::one_to_many ? right : left;
  const bool drop_now = drop_name && !late;
  const auto result = relabel(base, [&](const Labels& l) {
    if (how.card == Card::one_to_one && how.on) {
      if (drop_now) return keep_labels(l.without_name(), how.labels);
      return keep_labels(l, how.labels);
    }
    LabelsBuilder builder(l);
    if (drop_now) builder.del(kMetricName);
    if (how.card == Card::one_to_one)
      for (const auto& name : how.labels) builder.del(name);
    return builder.labels();
  });
  m.shape = drop_name && late ? marked_nameless(result.shape) : result.shape;
  m.collides = result.collides;
  m.result_group = result.group_of;
  return m;
}

bool natural_less(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  while (!a.empty() && !b.empty()) {
    if (digit(a[0]) && digit(b[0])) {
      std::size_t n = 0, m = 0;
      while (n < a.size() && digit(a[n])) ++n;
      while (m < b.size() && digit(b[m])) ++m;
      auto x = a.substr(0, n), y = b.substr(0, m);
      while (x.size() > 1 && x[0] == '0') x.remove_prefix(1);
      while (y.size() > 1 && y[0] == '0') y.remove_prefix(1);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
      a.remove_prefix(n);
      b.remove_prefix(m);
    } else {
      if (a[0] != b[0]) return static_cast<unsigned char>(a[0]) < static_cast<unsigned char>(b[0]);
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
  }
  return a.size() < b.size();
}

}  // namespace vitald::promql
