// SPDX-License-Identifier: Apache-2.0
// Everything the evaluator derives from label sets alone: which series belong together and what the results
// are called. Runs when shapes change, not per evaluation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rules/promql/ast.h"
#include "rules/promql/labels.h"
#include "rules/promql/series_source.h"

namespace vitald::promql {

struct Sample;

const ShapePtr& empty_shape();

// The same series under new labels. Several may have become equal: then two samples of one group_of are an error.
struct Relabelled {
  ShapePtr shape;
  bool collides = false;
  std::vector<std::uint32_t> group_of;  // equal labels, equal number; filled when collides
};
Relabelled index(const ShapePtr& shape);

template <class F>
Relabelled relabel(const ShapePtr& in, F&& f) {
  auto out = std::make_shared<Shape>();
  out->series.reserve(in->series.size());
  for (const auto& l : in->series) out->series.push_back(f(l));
  out->nameless = in->nameless;
  if (out->series == in->series) return index(in);
  return index(out);
}
bool has_duplicate(const Relabelled& r, const std::vector<Sample>& samples, std::vector<std::int32_t>& seen);

// Series -> group.
struct Groups {
  ShapePtr shape;  // the groups' labels
  std::vector<std::uint32_t> of;
  bool names_differ = false;  // some series lose their names in the end, others do not
};
template <class F>
Groups group(const ShapePtr& in, F&& key) {
  Groups g;
  auto shape = std::make_shared<Shape>();
  std::unordered_map<Labels, std::uint32_t, Labels::Hash> at;
  for (const auto& l : in->series) {
    const auto k = key(l);
    const auto [it, added] = at.try_emplace(k, static_cast<std::uint32_t>(shape->series.size()));
    if (added) shape->series.push_back(k);
    g.of.push_back(it->second);
  }
  g.shape = std::move(shape);
  return g;
}

// The two sides of an operator between vectors.
struct Matched {
  std::vector<std::uint32_t> left, right;  // series -> signature, common to both
  std::size_t signatures = 0;
  ShapePtr shape;  // of the result: by series of the left (of the many) side; for `or` left, then right
  bool collides = false;
  std::vector<std::uint32_t> result_group;
};
// `late`: names that go are only marked.
Matched match(const Binary& b, const ShapePtr& left, const ShapePtr& right, bool drop_name, bool late);
// The same series with all names marked to go.
ShapePtr marked_nameless(const ShapePtr& shape);

bool natural_less(std::string_view a, std::string_view b);

}  // namespace vitald::promql
