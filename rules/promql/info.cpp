// SPDX-License-Identifier: Apache-2.0
// info(): joins what info series (target_info and its like) say about `instance` and `job` to other series.
#include <fmt/format.h>

#include <map>

#include "rules/promql/eval_impl.h"
#include "rules/promql/parser.h"

namespace vitald::promql {

namespace {

// How far back info series may be asked for: their time is that of the other series, with its offsets.
constexpr std::int64_t kInfoPastMs = 3'600'000;

constexpr std::string_view kIdentifying[] = {"instance", "job"};

// Which series are looked at as info series: by the matchers of names, of which one has to ask for something.
std::vector<Matcher> info_names(const Selector* data) {
  std::vector<Matcher> names;
  bool positive = false;
  if (data)
    for (const auto& m : data->matchers) {
      if (m.name != kMetricName) continue;
      names.push_back(m);
      positive = positive || m.op == MatchOp::equal || m.op == MatchOp::regex;
    }
  if (!positive) {
    std::vector<Problem> problems;
    const auto all =
        parse_selector(names.empty() ? R"({__name__="target_info"})" : R"({__name__=~".+_info"})", problems);
    names.insert(names.begin(), all->matchers.front());
  }
  return names;
}

const Selector* data_of(const Call& call) {
  return call.args.size() > 1 ? static_cast<const Selector*>(call.args[1].get()) : nullptr;
}

// When its samples are of: the selector that is read first decides, with all that shifts it.
std::int64_t time_of(const Expr& e, std::int64_t t, const auto& shifted) {
  switch (e.kind) {
    case Kind::selector: return shifted(static_cast<const Selector&>(e).shift, t);
    case Kind::matrix: return shifted(static_cast<const MatrixSelector&>(e).selector->shift, t);
    case Kind::subquery: {
      const auto& s = static_cast<const Subquery&>(e);
      return time_of(*s.inner, shifted(s.shift, t), shifted);
    }
    case Kind::paren: return time_of(*static_cast<const Paren&>(e).inner, t, shifted);
    case Kind::unary: return time_of(*static_cast<const Unary&>(e).inner, t, shifted);
    case Kind::aggregate: return time_of(*static_cast<const Aggregate&>(e).inner, t, shifted);
    case Kind::binary: return time_of(*static_cast<const Binary&>(e).lhs, t, shifted);
    case Kind::call:
      for (const auto& a : static_cast<const Call&>(e).args)
        if (a->type == ValueType::vector || a->type == ValueType::matrix) return time_of(*a, t, shifted);
      return t;
    case Kind::number:
    case Kind::string: return t;
  }
  return t;
}

}  // namespace

void Evaluator::Impl::bind_info(const Call& call, std::int64_t past) {
  auto& query = info_selectors_[call.id];
  query.matchers = info_names(data_of(call));
  if (const auto* data = data_of(call))
    for (const auto& m : data->matchers)
      if (m.name != kMetricName) query.matchers.push_back(m);
  nodes_[call.id].handle = source_.bind(query, past + 2 * options_.lookback_ms + kInfoPastMs);
  hold_selection(nodes_[call.id]);
}

void Evaluator::Impl::info_labels(const Call& call, std::int64_t t, Node& n) {
  const auto& in = vector(*call.args[0], t);
  const auto* data = data_of(call);
  const auto names = info_names(data);
  const auto is_info = [&](const Labels& l) {
    return std::ranges::all_of(names, [&](const Matcher& m) { return m.matches(l.name()); });
  };
  // Names of labels to add; none: all.
  const auto wanted = [&](std::string_view label) {
    bool any = false;
    if (data)
      for (const auto& m : data->matchers) {
        if (m.name == kMetricName) continue;
        any = true;
        if (m.name == label) return true;
      }
    return !any;
  };
  bool required = false;
  if (data)
    for (const auto& m : data->matchers) required = required || (m.name != kMetricName && !m.matches(""));

  // The newest series of each name for what identifies it.
  struct Found {
    std::uint32_t series = 0;
    std::int64_t at_ms = 0;
  };
  const auto& selection = source_.select(n.handle);
  const auto at = time_of(*call.args[0], t, [&](const TimeShift& s, std::int64_t when) { return shifted(s, when); });
  std::map<Labels, std::map<std::string, Found>> by_identity;
  for (std::uint32_t i = 0; i < selection.ids.size(); ++i) {
    spend(1);
    const auto p = source_.at(selection.ids[i], at, options_.lookback_ms);
    if (!p) continue;
    const auto& labels = selection.shape->series[i];
    if (p->histogram)
      return fail(fmt::format("info(): {} is a native histogram; expected info series with numbers", labels.text()));
    LabelsBuilder identity;
    for (const auto& name : kIdentifying) identity.set(name, labels.get(name));
    auto& found =
        by_identity[identity.labels()].try_emplace(std::string(labels.name()), Found{i, p->t_ms}).first->second;
    if (p->t_ms > found.at_ms) found = {i, p->t_ms};
  }

  spend(2 * kLabelsWork * in.samples.size());
  auto shape = std::make_shared<Shape>();
  n.out.shape = empty_shape();
  const auto put = [&](const Sample& s, const Labels& labels) {
    n.out.samples.push_back(renamed(s, static_cast<std::uint32_t>(shape->series.size())));
    shape->series.push_back(labels);
    shape->nameless.push_back(in.shape->loses_name(s.series));
  };
  for (const auto& s : in.samples) {
    const auto& labels = in.labels(s);
    if (is_info(labels)) {
      put(s, labels);
      continue;
    }
    LabelsBuilder identity;
    for (const auto& name : kIdentifying) identity.set(name, labels.get(name));
    const auto match = by_identity.find(identity.labels());
    if (match == by_identity.end()) {
      if (!required) put(s, labels);
      continue;
    }
    LabelsBuilder more(labels);
    for (const auto& [name, found] : match->second)
      for (const Label l : selection.shape->series[found.series]) {
        if (l.name == kMetricName || std::ranges::find(kIdentifying, l.name) != std::end(kIdentifying)) continue;
        if (!wanted(l.name) || !labels.get(l.name).empty()) continue;
        if (const auto had = more.get(l.name); !had.empty() && had != l.value)
          return fail(fmt::format("conflicting label: {} is {} and {} in info series of {}", l.name,
                                  promql::quoted(had), promql::quoted(l.value), identity.labels().text()));
        more.set(l.name, l.value);
      }
    put(s, more.labels());
  }
  if (!late_names()) shape->nameless.clear();
  n.out.shape = keep_if_equal(n.cache->in, std::move(shape));
  n.cache->relabelled = index(n.out.shape);
  finish(n, n.cache->relabelled);
}

}  // namespace vitald::promql
