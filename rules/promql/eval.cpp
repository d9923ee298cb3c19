// SPDX-License-Identifier: Apache-2.0
// The walk over an expression: what is evaluated where, literals, selectors and signs.
#include "rules/promql/eval.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "rules/promql/eval_impl.h"
#include "rules/promql/operators.h"

namespace vitald::promql {

namespace {

// Of work, until somebody is asked again whether he still waits: about a millisecond.
constexpr std::int64_t kLook = 50'000;

}  // namespace

std::string too_many_samples(std::size_t most) {
  return fmt::format(
      "query processing would load too many samples into memory in query execution: more than {} (query.max-samples); "
      "ask for fewer series, a shorter time or a longer step",
      most);
}

void Evaluator::Impl::look() {
  if (work_left_ < 0)
    fail("the expression reads too many samples; expected shorter ranges, longer steps of subqueries or fewer series");
  look_at_ = std::max<std::int64_t>(0, work_left_ - kLook);
  stop_if_given_up();
}

void Evaluator::Impl::stop_if_given_up() {
  if (!given_up_ && (!options_.given_up || !options_.given_up())) return;
  given_up_ = true;
  fail("given up");
}

Evaluator::Impl::Impl(const Expr& root, SeriesSource& source, EvalOptions options)
    : root_(root), source_(source), options_(options), nodes_(node_count(root)) {
  if (options_.dialect == Dialect::v2) ++options_.lookback_ms;  // its window includes both ends
  work_left_ = options_.max_work;
  look_at_ = work_left_ - kLook;
  bind(root, options.past_ms);
  unbound_ = error_;
}

Result<Value> Evaluator::Impl::eval(std::int64_t t, std::int64_t start, std::int64_t end) {
  error_ = unbound_;
  work_left_ = options_.max_work;
  look_at_ = work_left_ - kLook;
  start_ = start;
  end_ = end;
  pool_.resize(1);
  made_.clear();
  hold(made_held_, 0);
  annotations_.clear();
  Value v;
  v.type = root_.type;
  v.histograms = &pool_;
  v.annotations = &annotations_;
  switch (root_.type) {
    case ValueType::scalar: v.scalar = scalar(root_, t); break;
    case ValueType::string: v.text = text(root_); break;
    case ValueType::vector:
      v.vector = &vector(root_, t);
      if (!v.vector->shape->nameless.empty()) {
        drop_names(*v.vector);
        v.vector = &named_;
      }
      break;
    case ValueType::matrix: matrix(root_, t, v); break;
    case ValueType::none: break;
  }
  if (!error_.empty()) return vitald::fail(given_up_ ? Errc::timeout : Errc::malformed, error_);
  return v;
}

double Evaluator::Impl::scalar(const Expr& e, std::int64_t t) {
  spend(1);
  if (!error_.empty()) return kNaN;
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
      const auto seconds = [](std::int64_t ms) { return static_cast<double>(ms) / 1000; };
      if (c.name == "step") return seconds(options_.step_ms);
      if (c.name == "range") return seconds(options_.range_ms);
      if (c.name == "start") return seconds(start_);
      if (c.name == "end") return seconds(end_);
      if (c.name == "min_of" || c.name == "max_of") {
        const double l = scalar(*c.args[0], t), r = scalar(*c.args[1], t);
        if (std::isnan(l) || std::isnan(r)) return kNaN;
        return c.name == "min_of" ? std::min(l, r) : std::max(l, r);
      }
      // Of the only number; histograms are none.
      const Sample* only = nullptr;
      for (const auto& s : vector(*c.args[0], t).samples) {
        if (s.histogram > 0) continue;
        if (only) return kNaN;
        only = &s;
      }
      return only ? only->value : kNaN;
    }
    default: return kNaN;
  }
}

// After an error nothing more is computed: what failed may have left samples without a matching shape.
const Vector& Evaluator::Impl::vector(const Expr& e, std::int64_t t) {
  spend(1);
  if (!error_.empty()) return nothing_;
  const auto& out = vector_of(e, t);
  // Whoever gets it goes through it once at least.
  spend(out.samples.size());
  auto& n = nodes_[e.id];
  if (&out == &n.out) hold(n.held, std::max(out.samples.size(), out.shape ? out.shape->series.size() : 0));
  return error_.empty() ? out : nothing_;
}

const Vector& Evaluator::Impl::vector_of(const Expr& e, std::int64_t t) {
  switch (e.kind) {
    case Kind::selector: return selector(static_cast<const Selector&>(e), t, Of::value);
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

const Vector& Evaluator::Impl::selector(const Selector& s, std::int64_t t, Of of) {
  auto& n = nodes_[s.id];
  auto& out = cleared(n);
  const auto& selection = source_.select(n.handle);
  out.shape = selection.shape;
  const auto at = shifted(s.shift, t);
  spend(selection.ids.size());
  if (s.ends == Ends::smoothed && of == Of::value) {
    for (std::uint32_t i = 0; i < selection.ids.size(); ++i)
      smoothed_sample(s, i, selection.shape->series[i], selection.ids[i], at, out);
    return out;
  }
  for (std::uint32_t i = 0; i < selection.ids.size(); ++i) {
    const auto p = source_.at(selection.ids[i], at, options_.lookback_ms);
    if (!p) continue;
    if (of == Of::value) {
      out.samples.emplace_back(i, p->value);
      if (p->histogram) [[unlikely]]
        hint_from_before(s, selection.ids[i], *p, out.samples.back());
    } else {
      out.samples.emplace_back(i, static_cast<double>(of == Of::time ? p->t_ms : p->start_ms) / 1000);
    }
  }
  return out;
}

// Where only the totals of histograms are looked at, whether a counter began anew is found out by looking at the one
// before: nothing later can.
void Evaluator::Impl::hint_from_before(const Selector& s, std::uint32_t id, const Point& p, Sample& sample) {
  const auto* h = p.histogram;
  if (s.only_totals && h->hint == ResetHint::unknown) {
    const auto before = source_.at(id, p.t_ms - 1, options_.lookback_ms);
    if (before && before->histogram) {
      auto hinted = *h;
      hinted.hint = h->reset_since(*before->histogram) ? ResetHint::reset : ResetHint::not_reset;
      h = keep(std::move(hinted));
    }
  }
  sample = {sample.series, kNaN, pooled(h)};
}

void Evaluator::Impl::hint_range(SeriesSource::Buffer& buffer) {
  const Histogram* before = nullptr;
  for (auto& h : buffer.histograms) {
    const auto* now = h;
    if (now && before && now->hint == ResetHint::unknown) {
      auto hinted = *now;
      hinted.hint = now->reset_since(*before) ? ResetHint::reset : ResetHint::not_reset;
      h = keep(std::move(hinted));
    }
    before = now;
  }
}

// In the end, names go: at once, so that what is made of `rate(a) or b` before still knows them apart.
void Evaluator::Impl::drop_names(const Vector& v) {
  if (!error_.empty() || v.shape->nameless.empty()) return;
  auto& c = node(root_);
  auto& cache = *c.cache;
  if (cache.named_in != v.shape) {
    cache.named_in = v.shape;
    spend(kLabelsWork * v.shape->series.size());
    auto out = std::make_shared<Shape>();
    for (std::size_t i = 0; i < v.shape->series.size(); ++i) {
      const auto& l = v.shape->series[i];
      out->series.push_back(v.shape->loses_name(i) ? l.without_identity() : l);
    }
    cache.named = index(out);
  }
  if (cache.named.collides && has_duplicate(cache.named, v.samples, cache.seen))
    fail("vector cannot contain metrics with the same labelset");
  named_.shape = cache.named.shape;
  // They are of a node of ours, which the next evaluation clears.
  named_.samples.swap(const_cast<Vector&>(v).samples);
}

void Evaluator::Impl::annotate(bool warning, Span where, std::string what) {
  constexpr std::size_t kMost = 100;
  Annotation a{warning, where, std::move(what)};
  if (annotations_.size() < kMost && std::ranges::find(annotations_, a) == annotations_.end())
    annotations_.push_back(std::move(a));
}

void Evaluator::Impl::tell(const Reconciled& r, Span where, std::string_view during) {
  if (r.resets) warn(where, fmt::format("conflicting counter resets during histogram {}", during));
  if (r.bounds) info(where, fmt::format("mismatched custom buckets were reconciled during {}", during));
}

std::string Evaluator::Impl::of_metric(const Labels& l) {
  return l.name().empty() ? std::string() : fmt::format(" for metric name {}", promql::quoted(l.name()));
}

std::string Annotation::text(std::string_view query) const {
  const auto before = query.substr(0, where.begin);
  const auto line = std::ranges::count(before, '\n') + 1;
  const auto column = before.size() - (before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1) + 1;
  return fmt::format("PromQL {}: {} ({}:{})", warning ? "warning" : "info", what, line, column);
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
  for (const auto& s : in.samples) {
    if (const auto* h = histogram(s)) [[unlikely]] {
      auto minus = *h;
      minus.scale(-1);
      emit(out, s.series, std::move(minus));
    } else {
      out.samples.emplace_back(s.series, -s.value);
    }
  }
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
