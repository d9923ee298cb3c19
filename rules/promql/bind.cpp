// SPDX-License-Identifier: Apache-2.0
// How far back each selector of an expression looks, told to the source before the first evaluation.
#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

// How far back `@ <time>` is kept for: no rule can say how long it will go on asking for a moment of the past.
constexpr std::int64_t kFixedTimePastMs = 3'600'000;

}  // namespace

void Evaluator::Impl::bind(const Expr& e, std::int64_t past) {
  const auto shifted = [&](const TimeShift& s, std::int64_t range) {
    return std::max<std::int64_t>(0, past + s.offset_ms + range + (s.at == TimeShift::At::time ? kFixedTimePastMs : 0));
  };
  switch (e.kind) {
    case Kind::number:
    case Kind::string: return;
    case Kind::selector: {
      const auto& s = static_cast<const Selector&>(e);
      const auto back = shifted(s.shift, 0);
      nodes_[e.id].handle = source_.bind(s, back > 0 ? back + options_.lookback_ms : 0);
      return;
    }
    case Kind::matrix: {
      const auto& m = static_cast<const MatrixSelector&>(e);
      nodes_[m.selector->id].handle = source_.bind(*m.selector, shifted(m.selector->shift, m.range_ms));
      return;
    }
    case Kind::subquery: {
      const auto& s = static_cast<const Subquery&>(e);
      return bind(*s.inner, shifted(s.shift, s.range_ms + step_of(s)));
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
    case Kind::call:
      for (const auto& a : static_cast<const Call&>(e).args) bind(*a, past);
      return;
  }
}

std::int64_t Evaluator::Impl::shifted(const TimeShift& s, std::int64_t t) const {
  switch (s.at) {
    case TimeShift::At::none: break;
    case TimeShift::At::time: t = s.at_ms; break;
    case TimeShift::At::start: t = start_; break;
    case TimeShift::At::end: t = end_; break;
  }
  return t - s.offset_ms;
}

}  // namespace vitald::promql
