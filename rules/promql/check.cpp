// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/text/suggest.h"
#include "rules/promql/functions.h"
#include "rules/promql/labels.h"

namespace vitald::promql {

namespace {

class Checker {
 public:
  Checker(std::vector<Problem>& problems, const Language& language) : problems_(problems), language_(language) {}

  ValueType visit(Expr& e) {
    e.id = next_id_++;
    e.type = type_of(e);
    return e.type;
  }

 private:
  void say(Span where, std::string what) { problems_.push_back({where, std::move(what)}); }
  void want(Expr& e, ValueType type, std::string_view whose) {
    const auto got = visit(e);
    if (got != type && got != ValueType::none)
      say(e.where, fmt::format("{}: {} given, expected {}", whose, to_string(got), to_string(type)));
  }

  ValueType type_of(Expr& e) {
    switch (e.kind) {
      case Kind::number: return ValueType::scalar;
      case Kind::string: return ValueType::string;
      case Kind::selector: return selector(static_cast<Selector&>(e)), ValueType::vector;
      case Kind::matrix: {
        auto& m = static_cast<MatrixSelector&>(e);
        visit(*m.selector);
        if (m.selector->ends != Ends::plain && !range_call_)
          say(e.where, "anchored and smoothed ranges need a function around them, e.g. increase(x[5m] anchored)");
        return ValueType::matrix;
      }
      case Kind::subquery: {
        const bool totals = std::exchange(totals_, false), range_call = std::exchange(range_call_, false);
        want(*static_cast<Subquery&>(e).inner, ValueType::vector, "subquery");
        totals_ = totals;
        range_call_ = range_call;
        return ValueType::matrix;
      }
      case Kind::paren: return visit(*static_cast<Paren&>(e).inner);
      case Kind::unary: return unary(static_cast<Unary&>(e));
      case Kind::aggregate: return aggregate(static_cast<Aggregate&>(e)), ValueType::vector;
      case Kind::binary: return binary(static_cast<Binary&>(e));
      case Kind::call: return call(static_cast<Call&>(e));
    }
    return ValueType::none;
  }

  void experimental(Span where, std::string_view what) {
    if (!language_.experimental)
      say(where, fmt::format("{} is experimental; expected --rules.promql.experimental to use it", what));
  }

  void selector(Selector& s) {
    s.only_totals = totals_;
    if (s.ends != Ends::plain) experimental(s.where, s.ends == Ends::anchored ? "'anchored'" : "'smoothed'");
    if (info_) return;
    const auto selective = [](const Matcher& m) { return !m.matches(""); };
    if (std::ranges::none_of(s.matchers, selective))
      say(s.where, "this selects everything; expected at least one matcher that does not match the empty string");
  }

  ValueType unary(Unary& u) {
    const auto t = visit(*u.inner);
    if (t == ValueType::scalar || t == ValueType::vector || t == ValueType::none) return t;
    say(u.where, fmt::format("{} has no sign; expected scalar or instant vector", to_string(t)));
    return ValueType::none;
  }

  void aggregate(Aggregate& a) {
    if (a.parameter)
      want(*a.parameter, a.op == AggregateOp::count_values ? ValueType::string : ValueType::scalar,
           fmt::format("parameter of {}", to_string(a.op)));
    want(*a.inner, ValueType::vector, to_string(a.op));
  }

  ValueType binary(Binary& b) {
    const auto l = visit(*b.lhs), r = visit(*b.rhs);
    const auto op = to_string(b.op);
    bool good = true;
    for (const auto* side : {b.lhs.get(), b.rhs.get()})
      if (side->type != ValueType::scalar && side->type != ValueType::vector) {
        if (side->type != ValueType::none)
          say(side->where, fmt::format("'{}' on a {}; expected scalar or instant vector", op, to_string(side->type)));
        good = false;
      }
    if (b.return_bool && !is_comparison(b.op))
      say(b.op_where, fmt::format("'bool' only goes with comparisons, not with '{}'", op));
    if (!good) return ValueType::none;
    const bool scalars = l == ValueType::scalar && r == ValueType::scalar;
    if (is_comparison(b.op) && scalars && !b.return_bool)
      say(b.op_where, fmt::format("comparing two scalars needs 'bool': {} bool", op));
    if (is_set(b.op) && (l == ValueType::scalar || r == ValueType::scalar))
      say(b.op_where, fmt::format("'{}' needs an instant vector on both sides", op));
    const bool vectors = l == ValueType::vector && r == ValueType::vector;
    if (b.matching.fill_left || b.matching.fill_right) {
      experimental(b.matching.where, "fill()");
      if (!vectors) say(b.matching.where, "fill() needs an instant vector on both sides");
    }
    if (b.matching.written && !vectors) {
      // One without labels says nothing, and Prometheus passes over it.
      if (!b.matching.labels.empty()) say(b.matching.where, "'on' and 'ignoring' need an instant vector on both sides");
      else b.matching = {};
    }
    if (b.matching.on)
      for (const auto& name : b.matching.include)
        if (std::ranges::find(b.matching.labels, name) != b.matching.labels.end())
          say(b.matching.where,
              fmt::format("label '{}' stands in 'on' and in the group; expected in one of them", name));
    return scalars ? ValueType::scalar : ValueType::vector;
  }

  ValueType call(Call& c) {
    c.function = find_function(c.name);
    if (!c.function) {
      const auto near = closest(c.name, function_names());
      say(c.name_where, fmt::format("unknown function '{}'{}", c.name,
                                    near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
      for (auto& a : c.args) visit(*a);
      return ValueType::none;
    }
    const auto& f = *c.function;
    const auto most = f.args.size();
    const auto least = f.optional_args < 0 ? most - 1 : most - static_cast<std::size_t>(f.optional_args);
    if (c.args.size() < least || (f.optional_args >= 0 && c.args.size() > most))
      say(c.where,
          fmt::format("{} has {} argument{}; expected {}", c.name, c.args.size(), c.args.size() == 1 ? "" : "s",
                      f.optional_args < 0 ? fmt::format("at least {}", least)
                      : least == most     ? fmt::format("{}", most)
                                          : fmt::format("{} to {}", least, most)));
    if (f.experimental) experimental(c.name_where, fmt::format("{}()", c.name));
    if (c.name == "histogram_quantiles" && c.args.size() > 12)
      say(c.where, fmt::format("{} quantiles; expected 1 to 10", c.args.size() - 2));
    // Where the counts and the sum of a histogram are all that is asked for.
    const bool totals = totals_;
    if (c.name == "histogram_count" || c.name == "histogram_sum" || c.name == "histogram_avg") totals_ = true;
    else if (c.name.starts_with("histogram_")) totals_ = false;
    for (std::size_t i = 0; i < c.args.size(); ++i) {
      info_ = c.name == "info" && i == 1;
      range_call_ = f.args.size() > std::min(i, most - 1) && f.args[std::min(i, most - 1)] == ValueType::matrix;
      if (most == 0 || (f.optional_args >= 0 && i >= most)) visit(*c.args[i]);
      else want(*c.args[i], f.args[std::min(i, most - 1)], fmt::format("argument {} of {}", i + 1, c.name));
      if (info_ && c.args[i]->kind != Kind::selector)
        say(c.args[i]->where, "argument 2 of info: expected labels in braces, e.g. {data=~\".+\"}");
      if (range_call_) ends_of(c, *c.args[i]);
      info_ = range_call_ = false;
    }
    totals_ = totals;
    return f.result;
  }

  // Which functions know what to do with other ends of a range.
  void ends_of(const Call& c, const Expr& arg) {
    if (arg.kind != Kind::matrix) return;
    static constexpr std::string_view kAnchored[] = {"changes", "delta", "increase", "rate", "resets"};
    static constexpr std::string_view kSmoothed[] = {"delta", "increase", "rate"};
    const auto ends = static_cast<const MatrixSelector&>(arg).selector->ends;
    if (ends == Ends::anchored && std::ranges::find(kAnchored, c.name) == std::end(kAnchored))
      say(c.where,
          fmt::format("anchored modifier can only be used with: {} - not with {}", fmt::join(kAnchored, ", "), c.name));
    if (ends == Ends::smoothed && std::ranges::find(kSmoothed, c.name) == std::end(kSmoothed))
      say(c.where,
          fmt::format("smoothed modifier can only be used with: {} - not with {}", fmt::join(kSmoothed, ", "), c.name));
  }

  std::vector<Problem>& problems_;
  const Language& language_;
  std::uint32_t next_id_ = 0;
  bool totals_ = false, info_ = false, range_call_ = false;
};

}  // namespace

bool check(Expr& root, std::vector<Problem>& problems, const Language& language) {
  const auto before = problems.size();
  Checker(problems, language).visit(root);
  return problems.size() == before;
}

namespace {
void last_id(const Expr& e, std::uint32_t& last) {
  last = std::max(last, e.id);
  switch (e.kind) {
    case Kind::number:
    case Kind::string:
    case Kind::selector: return;
    case Kind::matrix: return last_id(*static_cast<const MatrixSelector&>(e).selector, last);
    case Kind::subquery: return last_id(*static_cast<const Subquery&>(e).inner, last);
    case Kind::paren: return last_id(*static_cast<const Paren&>(e).inner, last);
    case Kind::unary: return last_id(*static_cast<const Unary&>(e).inner, last);
    case Kind::aggregate: return last_id(*static_cast<const Aggregate&>(e).inner, last);
    case Kind::binary:
      last_id(*static_cast<const Binary&>(e).lhs, last);
      return last_id(*static_cast<const Binary&>(e).rhs, last);
    case Kind::call:
      for (const auto& a : static_cast<const Call&>(e).args) last_id(*a, last);
      return;
  }
}
}  // namespace

// Ids are given in pre-order, so the last visited leaf has the highest.
std::size_t node_count(const Expr& root) {
  std::uint32_t last = 0;
  last_id(root, last);
  return last + 1;
}

}  // namespace vitald::promql
