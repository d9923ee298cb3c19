// SPDX-License-Identifier: Apache-2.0
// The walk over an expression: what is evaluated where, literals, selectors and signs.
#include "rules/promql/eval.h"

#include <numbers>

#include "rules/promql/eval_impl.h"
#include "rules/promql/operators.h"

namespace vitald::promql {

Evaluator::Impl::Impl(const Expr& root, SeriesSource& source, EvalOptions options)
    : root_(root), source_(source), options_(options), nodes_(node_count(root)) {
  if (options_.dialect == Dialect::v2) ++options_.lookback_ms;  // its window includes both ends
  bind(root, options.past_ms);
}

Result<Value> Evaluator::Impl::eval(std::int64_t t, std::int64_t start, std::int64_t end) {
  error_.clear();
  work_left_ = options_.max_work;
  start_ = start;
  end_ = end;
  Value v;
  v.type = root_.type;
  switch (root_.type) {
    case ValueType::scalar: v.scalar = scalar(root_, t); break;
    case ValueType::string: v.text = text(root_); break;
    case ValueType::vector: v.vector = &vector(root_, t); break;
    case ValueType::matrix: matrix(root_, t, v); break;
    case ValueType::none: break;
  }
  if (!error_.empty()) return vitald::fail(Errc::malformed, error_);
  return v;
}

double Evaluator::Impl::scalar(const Expr& e, std::int64_t t) {
  spend(1);
  switch (e.kind) {
    case Kind::number: return static_cast<const NumberLiteral&>(e).value;
    case Kind::paren: return scalar(*static_cast<const Paren&>(e).inner, t);
    case Kind::unary: {
      const auto& u = static_cast<const Unary&>(e);
      const double v = scalar(*u.inner, t);
      return u.negative ? -v : v;
    }
    case Kind::binary: {
      const auto& b = static_cast<const Binary&>(e);
      const double l = scalar(*b.lhs, t), r = scalar(*b.rhs, t);
      return is_comparison(b.op) ? compare(b.op, l, r) : arithmetic(b.op, l, r);
    }
    case Kind::call: {
      const auto& c = static_cast<const Call&>(e);
      if (c.name == "time") return static_cast<double>(t) / 1000;
      if (c.name == "pi") return std::numbers::pi;
      const auto& v = vector(*c.args[0], t);
      return v.samples.size() == 1 ? v.samples[0].value : kNaN;
    }
    default: return kNaN;
  }
}

// After an error nothing more is computed: what failed may have left samples without a matching shape.
const Vector& Evaluator::Impl::vector(const Expr& e, std::int64_t t) {
  spend(1);
  const auto& out = vector_of(e, t);
  return error_.empty() ? out : nothing_;
}

const Vector& Evaluator::Impl::vector_of(const Expr& e, std::int64_t t) {
  switch (e.kind) {
    case Kind::selector: return selector(static_cast<const Selector&>(e), t, false);
    case Kind::paren: return vector(*static_cast<const Paren&>(e).inner, t);
    case Kind::unary: return unary(static_cast<const Unary&>(e), t);
    case Kind::binary: return binary(static_cast<const Binary&>(e), t);
    case Kind::aggregate: return aggregate(static_cast<const Aggregate&>(e), t);
    case Kind::call: return call(static_cast<const Call&>(e), t);
    default: break;
  }
  auto& out = cleared(node(e));
  out.shape = empty_shape();
  return out;
}

const Vector& Evaluator::Impl::selector(const Selector& s, std::int64_t t, bool timestamps) {
  auto& n = nodes_[s.id];
  auto& out = cleared(n);
  const auto& selection = source_.select(n.handle);
  out.shape = selection.shape;
  const auto at = shifted(s.shift, t);
  spend(selection.ids.size());
  for (std::uint32_t i = 0; i < selection.ids.size(); ++i)
    if (const auto p = source_.at(selection.ids[i], at, options_.lookback_ms))
      out.samples.push_back({i, timestamps ? static_cast<double>(p->t_ms) / 1000 : p->value});
  return out;
}

void Evaluator::Impl::finish(Node& n, const Relabelled& r) {
  n.out.shape = r.shape;
  if (r.collides && has_duplicate(r, n.out.samples, n.cache->seen))
    fail("vector cannot contain metrics with the same labelset");
}

const Vector& Evaluator::Impl::unary(const Unary& u, std::int64_t t) {
  const auto& in = vector(*u.inner, t);
  if (!u.negative) return in;
  auto& n = node(u);
  auto& out = cleared(n);
  for (const auto& s : in.samples) out.samples.push_back({s.series, -s.value});
  finish(n, nameless(*n.cache, in.shape));
  return out;
}

Evaluator::Evaluator(const Expr& root, SeriesSource& source, EvalOptions options)
    : impl_(std::make_unique<Impl>(root, source, options)) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Result<Value> Evaluator::eval(std::int64_t t_ms, std::int64_t start_ms, std::int64_t end_ms) {
  return impl_->eval(t_ms, start_ms, end_ms);
}

}  // namespace vitald::promql
