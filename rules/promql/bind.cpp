// SPDX-License-Identifier: Apache-2.0
// How far back each selector of an expression looks, told to the source before the first evaluation.
#include <cmath>

#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

// How far back `@ <time>` is kept for: no rule can say how long it will go on asking for a moment of the past.
constexpr std::int64_t kFixedTimePastMs = 3'600'000;

}  // namespace

void Evaluator::Impl::bind(const Expr& e, std::int64_t past) {
  const auto shifted = [&](const TimeShift& s, std::int64_t range) {
    const auto offset = length(s.offset_ms, s.offset_expr);
    return std::max<std::int64_t>(0, past + offset + range + (s.at == TimeShift::At::time ? kFixedTimePastMs : 0));
  };
  // Each selector looks at all series.
  stop_if_given_up();
  if (!error_.empty()) return;
  switch (e.kind) {
    case Kind::number:
    case Kind::string: return;
    case Kind::selector: {
      const auto& s = static_cast<const Selector&>(e);
      const auto back = shifted(s.shift, s.ends == Ends::plain ? 0 : 1);
      nodes_[e.id].handle = source_.bind(s, back > 0 ? back + options_.lookback_ms : 0);
      return hold_selection(nodes_[e.id]);
    }
    case Kind::matrix: {
      const auto& m = static_cast<const MatrixSelector&>(e);
      nodes_[m.selector->id].handle = source_.bind(
          *m.selector, shifted(m.selector->shift, length(m.range_ms, m.range_expr) +
                                                      (m.selector->ends == Ends::plain ? 0 : options_.lookback_ms)));
      return hold_selection(nodes_[m.selector->id]);
    }
    case Kind::subquery: {
      const auto& s = static_cast<const Subquery&>(e);
      return bind(*s.inner, shifted(s.shift, length(s.range_ms, s.range_expr) + step_of(s)));
    }
    case Kind::paren: return bind(*static_cast<const Paren&>(e).inner, past);
    case Kind::unary: return bind(*static_cast<const Unary&>(e).inner, past);
    case Kind::aggregate: {
      const auto& a = static_cast<const Aggregate&>(e);
      if (a.parameter) bind(*a.parameter, past);
      return bind(*a.inner, past);
    }
    case Kind::binary:
      bind(*static_cast<const Binary&>(e).lhs, past);
      return bind(*static_cast<const Binary&>(e).rhs, past);
    case Kind::call: {
      const auto& c = static_cast<const Call&>(e);
      for (const auto& a : c.args) bind(*a, past);
      if (c.function->name == "info") bind_info(c, past);
      return;
    }
  }
}

// What a selector found is kept as long as the evaluator.
void Evaluator::Impl::hold_selection(Node& n) {
  if (options_.max_samples > 0) hold(n.held, source_.select(n.handle).ids.size());
}

std::int64_t Evaluator::Impl::shifted(const TimeShift& s, std::int64_t t) const {
  switch (s.at) {
    case TimeShift::At::none: break;
    case TimeShift::At::time: t = s.at_ms; break;
    case TimeShift::At::start: t = start_; break;
    case TimeShift::At::end: t = end_; break;
  }
  return t - length(s.offset_ms, s.offset_expr);
}

std::int64_t Evaluator::Impl::length(std::int64_t ms, const DurationExprPtr& expr) const {
  if (!expr) return ms;
  const double seconds =
      expr->value(static_cast<double>(options_.step_ms) / 1000, static_cast<double>(options_.range_ms) / 1000);
  // What is no duration at all has none; range_of() tells it.
  return std::abs(seconds) < static_cast<double>(kMaxDurationMs / 1000) ? std::llround(seconds * 1000) : 0;
}

std::int64_t Evaluator::Impl::range_of(std::int64_t ms, const DurationExprPtr& expr) {
  if (!expr) return ms;
  const auto range = length(ms, expr);
  if (range <= 0) fail("duration must be greater than 0");
  return range;
}

}  // namespace vitald::promql
