// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/eval.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <unordered_map>

#include "core/text/scan.h"
#include "rules/promql/check.h"
#include "rules/promql/matching.h"

namespace vitald::promql {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// How far back `@ <time>` is kept for: no rule can say how long it will go on asking for a moment of the past.
constexpr std::int64_t kFixedTimePastMs = 3'600'000;
// Of a label that label_replace() or label_join() makes: nested, each can double what the one before made.
constexpr std::size_t kMaxLabelBytes = 64 * 1024;
// What a point of a subquery costs in units of work: it is kept, and its sample was searched by time.
constexpr std::int64_t kSubqueryPointWork = 10;
constexpr char kManyToOne[] =
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";

double arithmetic(BinaryOp op, double l, double r) {
  switch (op) {
    case BinaryOp::add: return l + r;
    case BinaryOp::sub: return l - r;
    case BinaryOp::mul: return l * r;
    case BinaryOp::div: return l / r;
    case BinaryOp::mod: return std::fmod(l, r);
    case BinaryOp::pow: return std::pow(l, r);
    case BinaryOp::atan2: return std::atan2(l, r);
    default: return kNaN;
  }
}

bool compare(BinaryOp op, double l, double r) {
  switch (op) {
    case BinaryOp::eql: return l == r;
    case BinaryOp::neq: return l != r;
    case BinaryOp::lte: return l <= r;
    case BinaryOp::lss: return l < r;
    case BinaryOp::gte: return l >= r;
    case BinaryOp::gtr: return l > r;
    default: return false;
  }
}

// `$1`, `${1}`, `$name`, `$$` as Go's regexp.Expand reads them.
std::string expand(std::string_view pattern, const RE2& re, const std::vector<re2::StringPiece>& groups) {
  std::string out;
  while (!pattern.empty() && out.size() <= kMaxLabelBytes) {
    const auto dollar = pattern.find('$');
    out += pattern.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    pattern.remove_prefix(dollar + 1);
    if (take_prefix(pattern, "$")) {
      out += '$';
      continue;
    }
    auto rest = pattern;
    const bool braces = take_prefix(rest, "{");
    std::size_t n = 0;
    while (n < rest.size() && (std::isalnum(static_cast<unsigned char>(rest[n])) || rest[n] == '_')) ++n;
    const auto name = rest.substr(0, n);
    rest.remove_prefix(n);
    if (n == 0 || (braces && !take_prefix(rest, "}"))) {
      out += '$';
      continue;
    }
    pattern = rest;
    auto index = parse_u64(name);
    if (!index)
      if (const auto at = re.NamedCapturingGroups().find(std::string(name)); at != re.NamedCapturingGroups().end())
        index = static_cast<std::uint64_t>(at->second);
    if (index && *index < groups.size()) out.append(groups[*index].data(), groups[*index].size());
  }
  return out;
}

struct Accumulator {
  std::uint32_t count = 0;
  bool incremental = false;  // the sum would overflow: avg goes on with the mean
  double a = 0, rest = 0, mean = 0, squares = 0;
};

}  // namespace

class Evaluator::Impl {
 public:
  Impl(const Expr& root, SeriesSource& source, EvalOptions options)
      : root_(root), source_(source), options_(options), nodes_(node_count(root)) {
    if (options_.dialect == Dialect::v2) ++options_.lookback_ms;  // its window includes both ends
    bind(root, options.past_ms);
  }

  Result<Value> eval(std::int64_t t, std::int64_t start, std::int64_t end) {
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

 private:
  // What a node computed from labels, valid as long as its inputs have the same shapes.
  struct Cache {
    ShapePtr in, in2;  // the inputs it was computed from
    Relabelled relabelled;
    Groups groups;
    Matched matched;
    std::unordered_map<std::uint64_t, std::uint32_t> pairs;  // (many, one) -> result series, for group_left(x)
    std::shared_ptr<Shape> pair_shape;
    std::vector<double> bounds;  // of histogram_quantile: the bucket's le per series, NaN when it has none
    std::vector<std::int32_t> seen;
    std::vector<Accumulator> sums;
    std::vector<std::vector<Sample>> lists;
    std::vector<std::vector<HistogramBucket>> buckets;
    SeriesSource::Buffer buffer;
    std::vector<SeriesSource::Buffer> columns;  // of a subquery, one per series
  };
  struct Node {
    Vector out;
    std::uint32_t handle = 0;  // of a selector
    std::unique_ptr<Cache> cache;
  };

  Node& node(const Expr& e) {
    auto& n = nodes_[e.id];
    if (!n.cache) n.cache = std::make_unique<Cache>();
    return n;
  }
  Vector& cleared(Node& n) {
    n.out.samples.clear();
    return n.out;
  }
  void fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }
  void spend(std::size_t work) {
    work_left_ -= static_cast<std::int64_t>(work);
    if (work_left_ < 0)
      fail(
          "the expression reads too many samples; expected shorter ranges, longer steps of subqueries or fewer series");
  }

  void bind(const Expr& e, std::int64_t past) {
    const auto shifted = [&](const TimeShift& s, std::int64_t range) {
      return std::max<std::int64_t>(0,
                                    past + s.offset_ms + range + (s.at == TimeShift::At::time ? kFixedTimePastMs : 0));
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

  std::int64_t step_of(const Subquery& s) const { return s.step_ms > 0 ? s.step_ms : options_.subquery_step_ms; }
  std::int64_t shifted(const TimeShift& s, std::int64_t t) const {
    switch (s.at) {
      case TimeShift::At::none: break;
      case TimeShift::At::time: t = s.at_ms; break;
      case TimeShift::At::start: t = start_; break;
      case TimeShift::At::end: t = end_; break;
    }
    return t - s.offset_ms;
  }

  const std::string& text(const Expr& e) const { return static_cast<const StringLiteral&>(bare(e)).value; }

  // ---- scalars

  double scalar(const Expr& e, std::int64_t t) {
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

  // ---- vectors

  // After an error nothing more is computed: what failed may have left samples without a matching shape.
  const Vector& vector(const Expr& e, std::int64_t t) {
    spend(1);
    const auto& out = vector_of(e, t);
    return error_.empty() ? out : nothing_;
  }

  const Vector& vector_of(const Expr& e, std::int64_t t) {
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

  const Vector& selector(const Selector& s, std::int64_t t, bool timestamps) {
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

  // The shape with new labels for the same series, computed when `in` is another one than last time.
  template <class F>
  const Relabelled& relabel(Cache& c, const ShapePtr& in, F&& f) {
    if (c.in != in) {
      c.in = in;
      c.relabelled = vitald::promql::relabel(in, f);
      if (!error_.empty()) c.in.reset();  // it may be that of some series only
    }
    return c.relabelled;
  }
  const Relabelled& nameless(Cache& c, const ShapePtr& in) {
    return relabel(c, in, [](const Labels& l) { return l.without_name(); });
  }
  void finish(Node& n, const Relabelled& r) {
    n.out.shape = r.shape;
    if (r.collides && has_duplicate(r, n.out.samples, n.cache->seen))
      fail("vector cannot contain metrics with the same labelset");
  }

  const Vector& unary(const Unary& u, std::int64_t t) {
    const auto& in = vector(*u.inner, t);
    if (!u.negative) return in;
    auto& n = node(u);
    auto& out = cleared(n);
    for (const auto& s : in.samples) out.samples.push_back({s.series, -s.value});
    finish(n, nameless(*n.cache, in.shape));
    return out;
  }

  // ---- binary operators

  const Vector& binary(const Binary& b, std::int64_t t) {
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

  bool drops_name(const Binary& b) const {
    if (is_comparison(b.op)) return b.return_bool;
    return b.op != BinaryOp::atan2 || options_.dialect == Dialect::v3;
  }

  const Vector& with_scalar(const Binary& b, std::int64_t t) {
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

  void set_operator(const Binary& b, const Vector& l, const Vector& r, Node& n) {
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

  void join(const Binary& b, const Vector& l, const Vector& r, Node& n) {
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
  std::uint32_t pair(const Binary& b, Cache& c, const Vector& many, const Sample& s, const Vector& one,
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

  void duplicate(const Binary& b, bool swapped, const Vector& one, std::size_t first, std::size_t second) {
    const auto& x = one.labels(one.samples[first]);
    const auto& y = one.labels(one.samples[second]);
    const auto group = b.matching.on ? keep_labels(x, b.matching.labels) : drop_labels(x, b.matching.labels);
    fail(
        fmt::format("found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];"
                    "many-to-many matching not allowed: matching labels must be unique on one side",
                    group.text(), swapped ? "left" : "right", y.text_with_name(), x.text_with_name()));
  }

  // ---- aggregations

  const Vector& aggregate(const Aggregate& a, std::int64_t t) {
    const double parameter = a.parameter && a.op != AggregateOp::count_values ? scalar(*a.parameter, t) : 0;
    const auto& in = vector(*a.inner, t);
    auto& n = node(a);
    auto& c = *n.cache;
    cleared(n);
    if (a.op == AggregateOp::count_values) return count_values(a, in, n), n.out;
    if (c.in != in.shape) {
      c.in = in.shape;
      c.groups = group(in.shape, [&](const Labels& l) {
        return a.without ? drop_labels(l, a.grouping) : keep_labels(l, a.grouping);
      });
    }
    switch (a.op) {
      case AggregateOp::topk:
      case AggregateOp::bottomk: ranked(a, parameter, in, n); break;
      case AggregateOp::quantile: {
        split(in, c);
        std::vector<double> values;
        emit_groups(n, [&](std::size_t g) {
          values.clear();
          for (const auto& s : c.lists[g]) values.push_back(s.value);
          return quantile(parameter, values);
        });
        break;
      }
      default: fold(a.op, in, n);
    }
    return n.out;
  }

  template <class F>
  void emit_groups(Node& n, F&& f) {
    auto& c = *n.cache;
    n.out.shape = c.groups.shape;
    for (std::size_t g = 0; g < c.lists.size(); ++g)
      if (!c.lists[g].empty()) n.out.samples.push_back({static_cast<std::uint32_t>(g), f(g)});
  }

  void split(const Vector& in, Cache& c) {
    c.lists.resize(c.groups.shape->series.size());
    for (auto& list : c.lists) list.clear();
    for (const auto& s : in.samples) c.lists[c.groups.of[s.series]].push_back(s);
  }

  void fold(AggregateOp op, const Vector& in, Node& n) {
    auto& c = *n.cache;
    n.out.shape = c.groups.shape;
    c.sums.assign(c.groups.shape->series.size(), {});
    for (const auto& s : in.samples) {
      auto& g = c.sums[c.groups.of[s.series]];
      const double v = s.value;
      ++g.count;
      switch (op) {
        case AggregateOp::avg:
        case AggregateOp::sum: add(g, v, op == AggregateOp::avg); break;
        case AggregateOp::min:
          if (g.count == 1 || v < g.a || std::isnan(g.a)) g.a = v;
          break;
        case AggregateOp::max:
          if (g.count == 1 || v > g.a || std::isnan(g.a)) g.a = v;
          break;
        case AggregateOp::stddev:
        case AggregateOp::stdvar: {
          const double from_mean = v - g.mean;
          g.mean += from_mean / g.count;
          g.squares += from_mean * (v - g.mean);
          break;
        }
        default: break;
      }
    }
    for (std::uint32_t i = 0; i < c.sums.size(); ++i) {
      const auto& g = c.sums[i];
      if (g.count == 0) continue;
      double v = 1;  // group
      switch (op) {
        case AggregateOp::sum: v = g.a + g.rest; break;
        case AggregateOp::avg: v = g.incremental ? g.mean : (g.a + g.rest) / g.count; break;
        case AggregateOp::min:
        case AggregateOp::max: v = g.a; break;
        case AggregateOp::count: v = g.count; break;
        case AggregateOp::stdvar: v = g.squares / g.count; break;
        case AggregateOp::stddev: v = std::sqrt(g.squares / g.count); break;
        default: break;
      }
      n.out.samples.push_back({i, v});
    }
  }

  static void add(Accumulator& g, double v, bool avg) {
    if (g.incremental) {
      if (std::isinf(g.mean) && (std::isnan(v) || std::isinf(v) == 0 || (v > 0) == (g.mean > 0))) {
        if (std::isnan(v)) g.mean = v;
        return;
      }
      g.mean += v / g.count - g.mean / g.count;
      return;
    }
    const double sum = g.a + v;
    if (avg && std::isinf(sum) && !std::isinf(v) && !std::isinf(g.a)) {
      g.incremental = true;
      g.mean = g.a / (g.count - 1);
      g.mean += v / g.count - g.mean / g.count;
      return;
    }
    if (std::isinf(sum)) g.rest = 0;
    else g.rest += std::abs(g.a) >= std::abs(v) ? (g.a - sum) + v : (v - sum) + g.a;
    g.a = sum;
  }

  void ranked(const Aggregate& a, double k, const Vector& in, Node& n) {
    auto& c = *n.cache;
    n.out.shape = in.shape;
    if (std::isnan(k)) return fail("Parameter value is NaN");
    if (k >= 9.2e18 || k <= -9.2e18) return fail(fmt::format("Scalar value {} overflows int64", number_text(k)));
    if (k < 1) return;
    split(in, c);
    for (auto& list : c.lists) {
      const bool top = a.op == AggregateOp::topk;
      // NaN is the last choice of both; of equals the first ones stay.
      std::ranges::stable_sort(list, [&](const Sample& x, const Sample& y) {
        if (std::isnan(x.value) || std::isnan(y.value)) return !std::isnan(x.value);
        return top ? x.value > y.value : x.value < y.value;
      });
      const auto take = std::min(static_cast<std::size_t>(std::min(k, 1e9)), list.size());
      n.out.samples.insert(n.out.samples.end(), list.begin(), list.begin() + static_cast<std::ptrdiff_t>(take));
    }
  }

  void count_values(const Aggregate& a, const Vector& in, Node& n) {
    const auto& label = text(*a.parameter);
    n.out.shape = empty_shape();
    if (!valid_label_name(label)) return fail(fmt::format("invalid label name {}", quoted(label)));
    auto shape = std::make_shared<Shape>();
    std::unordered_map<Labels, std::uint32_t, Labels::Hash> at;
    for (const auto& s : in.samples) {
      // The value's label may itself be one of the grouping: it is set before grouping.
      const auto value = number_text(s.value);
      LabelsBuilder b(in.labels(s));
      b.set(label, value);
      auto grouping = a.grouping;
      if (!a.without) grouping.push_back(label);
      const auto full = b.labels();
      auto key = a.without ? drop_labels(full, grouping) : keep_labels(full, grouping);
      if (a.without) {
        LabelsBuilder with(key);
        with.set(label, value);
        key = with.labels();
      }
      const auto [it, added] = at.try_emplace(key, static_cast<std::uint32_t>(shape->series.size()));
      if (added) {
        shape->series.push_back(key);
        n.out.samples.push_back({it->second, 0});
      }
      ++n.out.samples[it->second].value;
    }
    n.out.shape = keep_if_equal(n.cache->in, std::move(shape));
  }

  // The shape of last time where the new one says the same, so that what follows stays cached.
  static ShapePtr keep_if_equal(ShapePtr& last, std::shared_ptr<Shape> now) {
    if (!last || last->series != now->series) last = std::move(now);
    return last;
  }

  // ---- functions

  const Vector& call(const Call& call, std::int64_t t) {
    const auto& f = *call.function;
    switch (f.form) {
      case Form::vector: return on_vector(call, t);
      case Form::range: return on_range(call, t);
      case Form::date: return on_date(call, t);
      case Form::scalar:
      case Form::special: break;
    }
    auto& n = node(call);
    cleared(n);
    n.out.shape = empty_shape();
    const auto& name = f.name;
    if (name == "vector") single(n, {}, scalar(*call.args[0], t));
    else if (name == "timestamp") timestamp(call, t, n);
    else if (name == "absent") absent(call, vector(*call.args[0], t).samples.empty(), n);
    else if (name == "absent_over_time") absent_over_time(call, t, n);
    else if (name == "sort" || name == "sort_desc") sort(name == "sort_desc", vector(*call.args[0], t), n);
    else if (name == "sort_by_label" || name == "sort_by_label_desc") sort_by_label(call, t, n);
    else if (name == "label_replace") label_replace(call, t, n);
    else if (name == "label_join") label_join(call, t, n);
    else if (name == "histogram_quantile") quantile_of_histogram(call, t, n);
    return n.out;
  }

  void single(Node& n, const Labels& labels, double value) {
    auto shape = std::make_shared<Shape>();
    shape->series.push_back(labels);
    n.out.shape = keep_if_equal(n.cache->in, std::move(shape));
    n.out.samples.push_back({0, value});
  }

  const Vector& on_vector(const Call& call, std::int64_t t) {
    double args[2] = {};
    for (std::size_t i = 1; i < call.args.size(); ++i) args[i - 1] = scalar(*call.args[i], t);
    const auto& in = vector(*call.args[0], t);
    auto& n = node(call);
    auto& out = cleared(n);
    const bool nothing = call.name == "clamp" && args[1] < args[0];
    const std::span<const double> given(args, call.args.size() - 1);
    if (!nothing)
      for (const auto& s : in.samples) out.samples.push_back({s.series, call.function->on_vector(s.value, given)});
    finish(n, nameless(*n.cache, in.shape));
    return out;
  }

  const Vector& on_date(const Call& call, std::int64_t t) {
    auto& n = node(call);
    if (call.args.empty()) {
      cleared(n);
      single(n, {}, call.function->on_date(static_cast<double>(t) / 1000));
      return n.out;
    }
    const auto& in = vector(*call.args[0], t);
    auto& out = cleared(n);
    for (const auto& s : in.samples) out.samples.push_back({s.series, call.function->on_date(s.value)});
    finish(n, nameless(*n.cache, in.shape));
    return out;
  }

  const Vector& on_range(const Call& call, std::int64_t t) {
    const auto& f = *call.function;
    double args[2] = {};
    std::size_t count = 0;
    for (std::size_t i = 0; i < call.args.size(); ++i)
      if (i != f.range_arg) args[count++] = scalar(*call.args[i], t);
    auto& n = node(call);
    auto& out = cleared(n);
    RangeContext context;
    const auto shape = each_series(*call.args[f.range_arg], t, context, [&](std::uint32_t i, const Points& p) {
      if (const auto v = f.on_range(p, {args, count}, context)) out.samples.push_back({i, *v});
    });
    if (f.keeps_name) out.shape = shape;
    else finish(n, nameless(*n.cache, shape));
    return out;
  }

  // Calls f(series, points) for the series of a range selector or a subquery, also for those without points.
  template <class F>
  ShapePtr each_series(const Expr& arg, std::int64_t t, RangeContext& context, F&& f) {
    const Expr& e = bare(arg);
    context.eval_ms = t;
    context.dialect = options_.dialect;
    if (e.kind == Kind::subquery) return each_of_subquery(static_cast<const Subquery&>(e), t, context, f);
    const auto& m = static_cast<const MatrixSelector&>(e);
    context.end_ms = shifted(m.selector->shift, t);
    context.start_ms = context.end_ms - m.range_ms;
    const auto first = options_.dialect == Dialect::v3 ? context.start_ms + 1 : context.start_ms;
    const auto& selection = source_.select(nodes_[m.selector->id].handle);
    auto& buffer = node(e).cache->buffer;
    for (std::uint32_t i = 0; i < selection.ids.size() && error_.empty(); ++i) {
      const auto points = source_.range(selection.ids[i], first, context.end_ms, buffer);
      spend(1 + points.count);
      f(i, points);
    }
    return selection.shape;
  }

  template <class F>
  ShapePtr each_of_subquery(const Subquery& s, std::int64_t t, RangeContext& context, F&& f) {
    auto& c = *node(s).cache;
    const auto step = step_of(s);
    context.end_ms = shifted(s.shift, t);
    context.start_ms = context.end_ms - s.range_ms;
    auto at = step * (context.start_ms / step);
    while (at < context.start_ms || (at == context.start_ms && options_.dialect == Dialect::v3)) at += step;

    auto shape = std::make_shared<Shape>();
    std::unordered_map<Labels, std::uint32_t, Labels::Hash> by_labels;
    ShapePtr last;
    std::vector<std::uint32_t> series_of;
    for (auto& column : c.columns) column.times.clear(), column.values.clear();
    for (; at <= context.end_ms && error_.empty(); at += step) {
      const auto& v = vector(*s.inner, at);
      spend(kSubqueryPointWork * (1 + v.samples.size()));
      if (v.shape != last) {
        last = v.shape;
        series_of.assign(last->series.size(), UINT32_MAX);
      }
      for (const auto& sample : v.samples) {
        auto& to = series_of[sample.series];
        if (to == UINT32_MAX) {
          to = by_labels.try_emplace(v.labels(sample), static_cast<std::uint32_t>(shape->series.size())).first->second;
          if (to == shape->series.size()) shape->series.push_back(v.labels(sample));
          if (c.columns.size() < shape->series.size()) c.columns.resize(shape->series.size());
        }
        c.columns[to].times.push_back(at);
        c.columns[to].values.push_back(sample.value);
      }
    }
    for (std::uint32_t i = 0; i < shape->series.size(); ++i) {
      const auto& column = c.columns[i];
      f(i, Points{column.times.data(), column.values.data(), column.times.size(), 0});
    }
    return keep_if_equal(c.in, std::move(shape));
  }

  void timestamp(const Call& call, std::int64_t t, Node& n) {
    const Expr& arg = bare(*call.args[0]);
    const bool of_samples = arg.kind == Kind::selector;
    const auto& in = of_samples ? selector(static_cast<const Selector&>(arg), t, true) : vector(arg, t);
    for (const auto& s : in.samples)
      n.out.samples.push_back({s.series, of_samples ? s.value : static_cast<double>(t) / 1000});
    finish(n, nameless(*n.cache, in.shape));
  }

  void absent(const Call& call, bool is_absent, Node& n) {
    if (!is_absent) return;
    const Expr& arg = bare(*call.args[0]);
    const Selector* s = arg.kind == Kind::selector ? static_cast<const Selector*>(&arg)
                        : arg.kind == Kind::matrix ? static_cast<const MatrixSelector&>(arg).selector.get()
                                                   : nullptr;
    // The labels one would expect: those that the selector fixes to one value, once.
    LabelsBuilder b;
    if (s)
      for (const auto& m : s->matchers) {
        if (m.name == kMetricName) continue;
        const auto uses = std::ranges::count(s->matchers, m.name, &Matcher::name);
        if (m.op == MatchOp::equal && uses == 1) b.set(m.name, m.value);
      }
    single(n, b.labels(), 1);
  }

  void absent_over_time(const Call& call, std::int64_t t, Node& n) {
    bool any = false;
    RangeContext context;
    each_series(*call.args[0], t, context, [&](std::uint32_t, const Points& p) { any = any || p.count > 0; });
    absent(call, !any, n);
  }

  void sort(bool down, const Vector& in, Node& n) {
    n.out = in;
    std::ranges::stable_sort(n.out.samples, [&](const Sample& a, const Sample& b) {
      if (std::isnan(a.value) || std::isnan(b.value)) return !std::isnan(a.value) && std::isnan(b.value);
      return down ? a.value > b.value : a.value < b.value;
    });
  }

  // Numbers inside the values count as numbers: eth2 before eth10.
  void sort_by_label(const Call& call, std::int64_t t, Node& n) {
    n.out = vector(*call.args[0], t);
    const bool down = call.name == "sort_by_label_desc";
    std::ranges::stable_sort(n.out.samples, [&](const Sample& a, const Sample& b) {
      for (std::size_t i = 1; i < call.args.size(); ++i) {
        const auto x = n.out.labels(a).get(text(*call.args[i])), y = n.out.labels(b).get(text(*call.args[i]));
        if (x != y) return down ? natural_less(y, x) : natural_less(x, y);
      }
      return down ? n.out.labels(b).text() < n.out.labels(a).text() : n.out.labels(a).text() < n.out.labels(b).text();
    });
  }

  Labels with_label(const Labels& labels, const std::string& name, const std::string& value) {
    if (value.size() > kMaxLabelBytes)
      fail(fmt::format("label {} would be longer than {} bytes", name, kMaxLabelBytes));
    spend(value.size());
    if (!error_.empty()) return labels;
    LabelsBuilder b(labels);
    b.set(name, value);
    return b.labels();
  }

  void label_replace(const Call& call, std::int64_t t, Node& n) {
    const auto& in = vector(*call.args[0], t);
    const auto &dst = text(*call.args[1]), &replacement = text(*call.args[2]), &src = text(*call.args[3]);
    auto& c = *n.cache;
    n.out.samples = in.samples;
    if (c.in == in.shape) return finish(n, c.relabelled);
    RE2::Options options;
    options.set_log_errors(false);
    options.set_dot_nl(true);
    const RE2 re(text(*call.args[4]), options);
    if (!re.ok()) return fail(fmt::format("invalid regular expression in label_replace(): {}", text(*call.args[4])));
    if (!valid_label_name(dst)) return fail(fmt::format("invalid destination label name in label_replace(): {}", dst));
    const auto& r = relabel(c, in.shape, [&](const Labels& l) {
      const auto value = l.get(src);
      std::vector<re2::StringPiece> groups(static_cast<std::size_t>(re.NumberOfCapturingGroups()) + 1);
      if (!re.Match({value.data(), value.size()}, 0, value.size(), RE2::ANCHOR_BOTH, groups.data(),
                    static_cast<int>(groups.size())))
        return l;
      return with_label(l, dst, expand(replacement, re, groups));
    });
    finish(n, r);
  }

  void label_join(const Call& call, std::int64_t t, Node& n) {
    const auto& in = vector(*call.args[0], t);
    const auto &dst = text(*call.args[1]), &separator = text(*call.args[2]);
    n.out.samples = in.samples;
    if (!valid_label_name(dst)) return fail(fmt::format("invalid destination label name in label_join(): {}", dst));
    for (std::size_t i = 3; i < call.args.size(); ++i)
      if (!valid_label_name(text(*call.args[i])))
        return fail(fmt::format("invalid source label name in label_join(): {}", text(*call.args[i])));
    const auto& r = relabel(*n.cache, in.shape, [&](const Labels& l) {
      std::string joined;
      for (std::size_t i = 3; i < call.args.size() && joined.size() <= kMaxLabelBytes; ++i) {
        if (i > 3) joined += separator;
        joined += l.get(text(*call.args[i]));
      }
      return with_label(l, dst, joined);
    });
    finish(n, r);
  }

  void quantile_of_histogram(const Call& call, std::int64_t t, Node& n) {
    const double q = scalar(*call.args[0], t);
    const auto& in = vector(*call.args[1], t);
    auto& c = *n.cache;
    if (c.in != in.shape) {
      c.in = in.shape;
      c.groups = group(in.shape, [](const Labels& l) { return drop_labels(l, {"le"}); });
      c.bounds.clear();
      for (const auto& l : in.shape->series) c.bounds.push_back(parse_double(l.get("le")).value_or(kNaN));
    }
    c.buckets.resize(c.groups.shape->series.size());
    for (auto& b : c.buckets) b.clear();
    for (const auto& s : in.samples)
      if (!std::isnan(c.bounds[s.series])) c.buckets[c.groups.of[s.series]].push_back({c.bounds[s.series], s.value});
    n.out.shape = c.groups.shape;
    for (std::uint32_t g = 0; g < c.buckets.size(); ++g)
      if (!c.buckets[g].empty()) n.out.samples.push_back({g, histogram_quantile(q, c.buckets[g])});
  }

  // ---- the whole expression is a range

  void matrix(const Expr& e, std::int64_t t, Value& v) {
    RangeContext context;
    std::vector<std::pair<std::uint32_t, std::vector<Point>>> rows;
    const auto shape = each_series(e, t, context, [&](std::uint32_t i, const Points& p) {
      if (p.count == 0) return;
      auto& row = rows.emplace_back(i, std::vector<Point>{}).second;
      for (std::size_t k = 0; k < p.count; ++k) row.push_back({p.time(k), p.values[k]});
    });
    for (auto& [i, points] : rows) v.matrix.emplace_back(shape->series[i], std::move(points));
  }

  const Expr& root_;
  SeriesSource& source_;
  EvalOptions options_;
  std::vector<Node> nodes_;
  std::int64_t start_ = 0, end_ = 0;
  const Vector nothing_{empty_shape(), {}};
  std::string error_;
  std::int64_t work_left_ = 0;
};

Evaluator::Evaluator(const Expr& root, SeriesSource& source, EvalOptions options)
    : impl_(std::make_unique<Impl>(root, source, options)) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Result<Value> Evaluator::eval(std::int64_t t_ms, std::int64_t start_ms, std::int64_t end_ms) {
  return impl_->eval(t_ms, start_ms, end_ms);
}

}  // namespace vitald::promql
