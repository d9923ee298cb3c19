// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rules/promql/check.h"
#include "rules/promql/labels.h"

namespace vitald::promql {

namespace {

// Thrown and caught in this file only: a syntax error ends the parse from any depth.
struct SyntaxError {
  Problem problem;
};

struct OpRow {
  Tok tok;
  BinaryOp op;
  int precedence;  // or < and, unless < comparison < + - < * / % atan2 < unary < ^
};
constexpr OpRow kOps[] = {
    {Tok::eqlc, BinaryOp::eql, 3},
    {Tok::neq, BinaryOp::neq, 3},
    {Tok::lte, BinaryOp::lte, 3},
    {Tok::lss, BinaryOp::lss, 3},
    {Tok::gte, BinaryOp::gte, 3},
    {Tok::gtr, BinaryOp::gtr, 3},
    {Tok::trim_upper, BinaryOp::trim_upper, 3},
    {Tok::trim_lower, BinaryOp::trim_lower, 3},
    {Tok::add, BinaryOp::add, 4},
    {Tok::sub, BinaryOp::sub, 4},
    {Tok::mul, BinaryOp::mul, 5},
    {Tok::div, BinaryOp::div, 5},
    {Tok::mod, BinaryOp::mod, 5},
    {Tok::pow, BinaryOp::pow, 6},
};
struct OpWord {
  std::string_view word;
  BinaryOp op;
  int precedence;
};
constexpr OpWord kOpWords[] = {
    {"or", BinaryOp::lor, 1},
    {"and", BinaryOp::land, 2},
    {"unless", BinaryOp::lunless, 2},
    {"atan2", BinaryOp::atan2, 5},
};
constexpr int kPowPrecedence = 6;

constexpr AggregateOp kAggregates[] = {
    AggregateOp::sum,      AggregateOp::avg,          AggregateOp::min,    AggregateOp::max,
    AggregateOp::count,    AggregateOp::group,        AggregateOp::stddev, AggregateOp::stdvar,
    AggregateOp::topk,     AggregateOp::bottomk,      AggregateOp::limitk, AggregateOp::limit_ratio,
    AggregateOp::quantile, AggregateOp::count_values,
};

constexpr int kMaxDepth = 250;  // the parser and everything after it recurse
// Nodes, matchers and names in lists. a + a + a + ... is a tree as deep as it is long.
constexpr int kMaxParts = 5000;

bool same_word(std::string_view a, std::string_view lower) {
  return std::ranges::equal(a, lower, [](char x, char y) { return (x >= 'A' && x <= 'Z' ? x | 0x20 : x) == y; });
}

class Parser {
 public:
  Parser(std::string_view text, std::vector<Token> tokens, PatternBudget& budget)
      : text_(text), tokens_(std::move(tokens)), budget_(budget) {}

  ExprPtr whole() {
    if (now().kind == Tok::end) fail(now().where, "no expression; expected e.g. node_load1 > 10");
    auto e = binary(1);
    if (now().kind != Tok::end) unexpected("an operator or the end");
    return e;
  }

  std::unique_ptr<Selector> whole_selector(bool any_name) {
    any_name_ = any_name;
    auto s = selector();
    if (now().kind != Tok::end) unexpected("the end");
    return s;
  }

 private:
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead(std::size_t n) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  bool word(std::string_view lower) const { return now().kind == Tok::identifier && same_word(now().text, lower); }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  std::uint32_t last_end() const { return at_ > 0 ? tokens_[at_ - 1].where.end : 0; }

  [[noreturn]] static void fail(Span where, std::string what) { throw SyntaxError{{where, std::move(what)}}; }
  [[noreturn]] void unexpected(std::string_view expected) const {
    const auto& t = now();
    const auto found = t.kind == Tok::end ? std::string("the expression ends") : fmt::format("unexpected '{}'", t.text);
    fail(t.where, fmt::format("{}; expected {}", found, expected));
  }
  Token expect(Tok kind, std::string_view expected = {}) {
    if (now().kind != kind) unexpected(expected.empty() ? describe(kind) : expected);
    return take();
  }

  void count_part() {
    if (++parts_ > kMaxParts)
      fail(now().where, fmt::format("more than {} parts; expected less, e.g. with recording rules", kMaxParts));
  }
  template <class T>
  std::unique_ptr<T> make(std::uint32_t begin) {
    count_part();
    auto e = std::make_unique<T>();
    e->where.begin = begin;
    return e;
  }
  template <class P>
  P done(P e) {
    e->where.end = last_end();
    return e;
  }

  // The operator at this place, if its precedence is at least `least`.
  bool operator_here(int least, BinaryOp& op, int& precedence) const {
    const auto& t = now();
    if (t.kind == Tok::identifier) {
      for (const auto& row : kOpWords)
        if (same_word(t.text, row.word)) return op = row.op, precedence = row.precedence, row.precedence >= least;
      return false;
    }
    for (const auto& row : kOps)
      if (row.tok == t.kind) return op = row.op, precedence = row.precedence, row.precedence >= least;
    return false;
  }

  [[noreturn]] void too_deep() const { fail(now().where, fmt::format("nested deeper than {} levels", kMaxDepth)); }

  ExprPtr binary(int least) {
    if (++depth_ > kMaxDepth) too_deep();
    ExprPtr lhs = unary();
    BinaryOp op{};
    int precedence = 0;
    while (operator_here(least, op, precedence)) {
      auto b = make<Binary>(lhs->where.begin);
      b->op = op;
      b->op_where = take().where;
      modifiers(*b);
      b->lhs = std::move(lhs);
      b->rhs = binary(op == BinaryOp::pow ? precedence : precedence + 1);  // only ^ is right-associative
      lhs = done(std::move(b));
    }
    --depth_;
    return lhs;
  }

  void modifiers(Binary& b) {
    if (is_set(b.op)) b.matching.card = Matching::Card::many_to_many;
    if (word("bool")) {
      b.return_bool = true;
      b.matching.where = take().where;
    }
    // `on` may also be a metric: on + 1. A label list makes it the keyword.
    if ((word("on") || word("ignoring")) && ahead(1).kind == Tok::left_paren) matching(b);
    while ((word("fill") || word("fill_left") || word("fill_right")) && ahead(1).kind == Tok::left_paren) fill(b);
  }

  // fill(0), fill_left(0), fill_right(0)
  void fill(Binary& b) {
    const auto name = take();
    auto& m = b.matching;
    if (is_set(b.op)) fail(name.where, fmt::format("no {} for '{}': it makes no pairs", name.text, to_string(b.op)));
    if ((m.fill_left && !same_word(name.text, "fill_right")) || (m.fill_right && !same_word(name.text, "fill_left")))
      fail(name.where, fmt::format("{}: this side is filled already", name.text));
    expect(Tok::left_paren);
    double sign = 1;
    if (now().kind == Tok::sub || now().kind == Tok::add) sign = take().kind == Tok::sub ? -1 : 1;
    const auto value = sign * expect(Tok::number, "a number").number;
    expect(Tok::right_paren);
    if (!same_word(name.text, "fill_right")) m.fill_left = value;
    if (!same_word(name.text, "fill_left")) m.fill_right = value;
    if (m.where.end == 0) m.where = name.where;
    m.where.end = last_end();
  }

  void matching(Binary& b) {
    auto& m = b.matching;
    m.where = now().where;
    m.written = true;
    m.on = same_word(take().text, "on");
    m.labels = label_list();
    if (word("group_left") || word("group_right")) {
      const bool left = same_word(now().text, "group_left");
      const auto where = take().where;
      if (is_set(b.op))
        fail(where, fmt::format("no grouping allowed for '{}': it matches many to many", to_string(b.op)));
      m.card = left ? Matching::Card::many_to_one : Matching::Card::one_to_many;
      if (now().kind == Tok::left_paren) m.include = label_list();
    }
    m.where.end = last_end();
  }

  std::vector<std::string> label_list() {
    expect(Tok::left_paren);
    std::vector<std::string> names;
    while (now().kind != Tok::right_paren) {
      count_part();
      names.push_back(label_name("a label name or ')'"));
      if (now().kind != Tok::comma) break;
      take();
    }
    expect(Tok::right_paren, "',' or ')'");
    return names;
  }

  // a, or "a.b" in quotes
  std::string label_name(std::string_view expected) {
    const auto t = now().kind == Tok::string ? take() : expect(Tok::identifier, expected);
    const bool text = t.kind == Tok::string;
    if (text ? !valid_quoted_name(t.value) : !valid_label_name(t.text))
      fail(t.where, fmt::format("{} is not a label name; expected {}",
                                text ? promql::quoted(t.value) : fmt::format("'{}'", t.text),
                                text ? "text that is UTF-8" : "letters, digits and _, or any text in quotes"));
    return text ? t.value : std::string(t.text);
  }

  ExprPtr unary() {
    if (now().kind != Tok::add && now().kind != Tok::sub) return postfix(primary());
    const auto sign = take();
    const bool negative = sign.kind == Tok::sub;
    ExprPtr inner = binary(kPowPrecedence);
    if (inner->kind == Kind::number) {
      auto& n = static_cast<NumberLiteral&>(*inner);
      if (negative) n.value = -n.value;
      n.where.begin = sign.where.begin;
      return inner;
    }
    auto u = make<Unary>(sign.where.begin);
    u->negative = negative;
    u->inner = std::move(inner);
    return done(std::move(u));
  }

  // [range], [range:step], offset, @ - any number of times, each on what came before.
  ExprPtr postfix(ExprPtr e) {
    for (int depth = depth_;;) {
      if (now().kind == Tok::left_bracket) {
        if (++depth > kMaxDepth) too_deep();
        e = brackets(std::move(e));
      } else if (word("offset")) offset(*e);
      else if (now().kind == Tok::at) at_modifier(*e);
      else if (word("anchored") || word("smoothed")) ends(*e);
      else return e;
      e->where.end = last_end();
    }
  }

  ExprPtr brackets(ExprPtr e) {
    const auto open = take();
    DurationExprPtr range_expr, step_expr;
    const auto range = length("a range like 5m", range_expr);
    if (range <= 0 && !range_expr) fail({open.where.begin, last_end()}, "a range has to be longer than 0");
    if (now().kind == Tok::colon) {
      take();
      auto s = make<Subquery>(e->where.begin);
      s->range_ms = range;
      s->range_expr = std::move(range_expr);
      if (now().kind != Tok::right_bracket) {
        s->step_ms = length("a step like 1m or ']'", step_expr);
        s->step_expr = std::move(step_expr);
        if (s->step_ms <= 0 && !s->step_expr) fail({open.where.begin, last_end()}, "a step has to be longer than 0");
      }
      expect(Tok::right_bracket);
      s->inner = std::move(e);
      return s;
    }
    expect(Tok::right_bracket, "']' or ':'");
    if (e->kind != Kind::selector)
      fail({open.where.begin, last_end()},
           "a range needs a selector before it; for expressions write a subquery, e.g. (...)[5m:1m]");
    auto* s = static_cast<Selector*>(e.get());
    if (s->shift.offset_ms != 0 || has_offset(*s)) fail(open.where, "'offset' comes after the range: x[5m] offset 1h");
    if (s->shift.at != TimeShift::At::none) fail(open.where, "'@' comes after the range: x[5m] @ 0");
    if (s->ends != Ends::plain)
      fail(open.where,
           fmt::format("'{0}' comes after the range: x[5m] {0}", s->ends == Ends::anchored ? "anchored" : "smoothed"));
    auto m = make<MatrixSelector>(e->where.begin);
    m->selector.reset(static_cast<Selector*>(e.release()));
    m->range_ms = range;
    m->range_expr = std::move(range_expr);
    return m;
  }

  void ends(Expr& e) {
    const auto name = take();
    const auto which = same_word(name.text, "anchored") ? Ends::anchored : Ends::smoothed;
    auto* s = e.kind == Kind::selector ? static_cast<Selector*>(&e)
              : e.kind == Kind::matrix ? static_cast<MatrixSelector&>(e).selector.get()
                                       : nullptr;
    if (!s) fail(name.where, fmt::format("'{}' needs a selector or a range before it", name.text));
    if (s->ends != Ends::plain)
      fail(name.where, fmt::format("'{}' after anchored or smoothed; expected one", name.text));
    s->ends = which;
  }

  // Durations: 5m, 300 (seconds), 2 * (1h + step()), min_of(range(), 5m).
  using Op = DurationExpr::Op;
  static DurationExprPtr duration_node(Op op, DurationExprPtr a = {}, DurationExprPtr b = {}) {
    auto d = std::make_unique<DurationExpr>();
    d->op = op;
    d->a = std::move(a);
    d->b = std::move(b);
    return d;
  }

  DurationExprPtr duration_sum(std::string_view expected) {
    if (++depth_ > kMaxDepth) too_deep();
    auto left = duration_product(expected);
    while (now().kind == Tok::add || now().kind == Tok::sub) {
      const auto op = take().kind == Tok::add ? Op::add : Op::sub;
      count_part();
      left = duration_node(op, std::move(left), duration_product("a duration like 5m"));
    }
    --depth_;
    return left;
  }
  DurationExprPtr duration_product(std::string_view expected) {
    auto left = duration_power(expected);
    while (now().kind == Tok::mul || now().kind == Tok::div || now().kind == Tok::mod) {
      const auto token = take();
      const auto op = token.kind == Tok::mul ? Op::mul : token.kind == Tok::div ? Op::div : Op::mod;
      count_part();
      auto right = duration_power("a duration like 5m");
      if (op != Op::mul && right->is_constant() && right->value(0, 0) == 0)
        fail({token.where.begin, last_end()}, fmt::format("'{}' by zero in a duration", token.text));
      left = duration_node(op, std::move(left), std::move(right));
    }
    return left;
  }
  // -2 ^ 2 is -4, and 2 ^ -1 is allowed.
  DurationExprPtr duration_power(std::string_view expected) {
    if (now().kind == Tok::sub || now().kind == Tok::add) {
      if (++depth_ > kMaxDepth) too_deep();
      const bool negative = take().kind == Tok::sub;
      auto inner = duration_power("a duration like 5m");
      --depth_;
      return negative ? duration_node(Op::negative, std::move(inner)) : std::move(inner);
    }
    auto base = duration_atom(expected);
    if (now().kind != Tok::pow) return base;
    if (++depth_ > kMaxDepth) too_deep();
    take();
    count_part();
    auto exponent = duration_power("a number");
    --depth_;
    return duration_node(Op::pow, std::move(base), std::move(exponent));
  }
  DurationExprPtr duration_atom(std::string_view expected) {
    if (now().kind == Tok::duration || now().kind == Tok::number) {
      const auto t = take();
      auto d = duration_node(Op::number);
      d->seconds = t.kind == Tok::duration ? static_cast<double>(t.duration_ms) / 1000 : t.number;
      return d;
    }
    if (now().kind == Tok::left_paren) {
      take();
      auto d = duration_sum("a duration like 5m");
      expect(Tok::right_paren, "an operator or ')'");
      return d;
    }
    if (ahead(1).kind == Tok::left_paren) {
      const bool step = word("step"), range = word("range"), least = word("min_of"), most = word("max_of");
      if (step || range || least || most) {
        take(), take();
        auto d = duration_node(step ? Op::step : range ? Op::range : least ? Op::min_of : Op::max_of);
        if (least || most) {
          d->a = duration_sum("a duration like 5m");
          expect(Tok::comma);
          d->b = duration_sum("a duration like 5m");
        }
        expect(Tok::right_paren);
        return d;
      }
    }
    unexpected(expected);
  }

  // Milliseconds, or `expr` where the query decides.
  std::int64_t to_length(DurationExprPtr d, std::uint32_t begin, DurationExprPtr& expr) {
    if (!d->is_constant()) {
      expr = std::move(d);
      return 0;
    }
    const double seconds = d->value(0, 0);
    if (!(std::abs(seconds) < kMaxDurationMs / 1000))
      fail({begin, last_end()},
           fmt::format("'{}' is no duration; expected less than 292 years", text_.substr(begin, last_end() - begin)));
    return static_cast<std::int64_t>(std::llround(seconds * 1000));
  }
  std::int64_t length(std::string_view expected, DurationExprPtr& expr) {
    const auto begin = now().where.begin;
    return to_length(duration_sum(expected), begin, expr);
  }

  static TimeShift* shift_of(Expr& e) {
    if (e.kind == Kind::selector) return &static_cast<Selector&>(e).shift;
    if (e.kind == Kind::matrix) return &static_cast<MatrixSelector&>(e).selector->shift;
    if (e.kind == Kind::subquery) return &static_cast<Subquery&>(e).shift;
    return nullptr;
  }
  bool has_offset(const Expr& e) const { return std::ranges::find(offset_seen_, &e) != offset_seen_.end(); }

  void offset(Expr& e) {
    const auto where = take().where;
    auto* shift = shift_of(e);
    if (!shift) fail(where, "'offset' needs a selector, a range or a subquery before it");
    if (has_offset(e)) fail(where, "'offset' is there twice");
    // Without parentheses only one number is of the offset: x offset 5m * 2 is (x offset 5m) * 2.
    const auto begin = now().where.begin;
    bool negative = false;
    if (now().kind == Tok::sub || now().kind == Tok::add) negative = take().kind == Tok::sub;
    auto d = duration_atom("a duration like 5m");
    if (negative) d = duration_node(Op::negative, std::move(d));
    shift->offset_ms = to_length(std::move(d), begin, shift->offset_expr);
    offset_seen_.push_back(&e);
  }

  void at_modifier(Expr& e) {
    const auto where = take().where;
    auto* shift = shift_of(e);
    if (!shift) fail(where, "'@' needs a selector, a range or a subquery before it");
    if (shift->at != TimeShift::At::none) fail(where, "'@' is there twice");
    if (word("start") || word("end")) {
      shift->at = word("start") ? TimeShift::At::start : TimeShift::At::end;
      take();
      expect(Tok::left_paren);
      expect(Tok::right_paren);
      return;
    }
    bool negative = false;
    if (now().kind == Tok::sub || now().kind == Tok::add) negative = take().kind == Tok::sub;
    const auto t =
        now().kind == Tok::duration ? take() : expect(Tok::number, "a time in seconds, a duration, start() or end()");
    const double seconds = t.kind == Tok::duration ? static_cast<double>(t.duration_ms) / 1000 : t.number;
    if (!(std::abs(seconds) < 9e15)) fail(t.where, fmt::format("'{}' is no time", t.text));
    shift->at = TimeShift::At::time;
    shift->at_ms = static_cast<std::int64_t>(std::llround((negative ? -seconds : seconds) * 1000));
  }

  ExprPtr primary() {
    const auto& t = now();
    switch (t.kind) {
      case Tok::number: {
        auto n = make<NumberLiteral>(t.where.begin);
        n->value = take().number;
        return done(std::move(n));
      }
      case Tok::duration: {
        auto n = make<NumberLiteral>(t.where.begin);
        n->value = static_cast<double>(take().duration_ms) / 1000;
        return done(std::move(n));
      }
      case Tok::string: {
        auto s = make<StringLiteral>(t.where.begin);
        s->value = take().value;
        return done(std::move(s));
      }
      case Tok::left_paren: {
        auto p = make<Paren>(take().where.begin);
        p->inner = binary(1);
        expect(Tok::right_paren, "an operator or ')'");
        return done(std::move(p));
      }
      case Tok::left_brace: return selector();
      case Tok::identifier: break;
      default: unexpected("a metric, a number, a function or '('");
    }
    if (auto e = aggregate()) return e;
    if (ahead(1).kind == Tok::left_paren) return call();
    for (const auto& row : kOpWords)
      if (same_word(t.text, row.word) && row.op != BinaryOp::atan2 && ahead(1).kind != Tok::end)
        unexpected("a metric, a number, a function or '('");
    return selector();
  }

  // sum(x), sum by (a) (x), sum(x) by (a), topk(3, x); null when it is a metric of that name.
  ExprPtr aggregate() {
    const auto* op = std::ranges::find_if(kAggregates, [&](AggregateOp a) { return word(to_string(a)); });
    if (op == std::end(kAggregates)) return nullptr;
    const auto& next = ahead(1);
    const bool modifier =
        next.kind == Tok::identifier && (same_word(next.text, "by") || same_word(next.text, "without"));
    if (next.kind != Tok::left_paren && !modifier) return nullptr;
    auto a = make<Aggregate>(take().where.begin);
    a->op = *op;
    bool grouped = modifier;
    if (modifier) grouping(*a);
    expect(Tok::left_paren);
    std::vector<ExprPtr> args;
    while (now().kind != Tok::right_paren) {
      args.push_back(binary(1));
      if (now().kind != Tok::comma) break;
      take();
    }
    expect(Tok::right_paren, "an operator, ',' or ')'");
    if (!grouped && (word("by") || word("without"))) grouping(*a);
    const std::size_t want = takes_parameter(*op) ? 2 : 1;
    if (args.size() != want)
      fail({a->where.begin, last_end()},
           fmt::format("{} has {} argument{}; expected {}", to_string(*op), args.size(), args.size() == 1 ? "" : "s",
                       want == 2 ? "2: (parameter, vector)" : "1: (vector)"));
    if (want == 2) a->parameter = std::move(args[0]);
    a->inner = std::move(args.back());
    return done(std::move(a));
  }

  void grouping(Aggregate& a) {
    a.without = same_word(take().text, "without");
    a.grouping = label_list();
  }

  ExprPtr call() {
    auto c = make<Call>(now().where.begin);
    const auto name = take();
    c->name = std::string(name.text);
    c->name_where = name.where;
    expect(Tok::left_paren);
    while (now().kind != Tok::right_paren) {
      c->args.push_back(binary(1));
      if (now().kind != Tok::comma) break;
      take();
      if (now().kind == Tok::right_paren) unexpected("another argument");
    }
    expect(Tok::right_paren, "an operator, ',' or ')'");
    return done(std::move(c));
  }

  std::unique_ptr<Selector> selector() {
    auto s = make<Selector>(now().where.begin);
    if (now().kind == Tok::identifier) {
      s->name = std::string(take().text);
      s->matchers.push_back({std::string(kMetricName), MatchOp::equal, s->name, nullptr});
    }
    if (now().kind == Tok::left_brace) {
      take();
      while (now().kind != Tok::right_brace) {
        matcher(*s);
        if (now().kind != Tok::comma) break;
        take();
      }
      expect(Tok::right_brace, "',' or '}'");
    } else if (s->matchers.empty()) {
      unexpected("a metric name or '{'");
    }
    return done(std::move(s));
  }

  void matcher(Selector& s) {
    count_part();
    const auto where = now().where;
    if (now().kind == Tok::string && (ahead(1).kind == Tok::comma || ahead(1).kind == Tok::right_brace)) {
      const auto t = take();  // {"a.metric", ...}
      if (!valid_quoted_name(t.value))
        fail(where, fmt::format("{} is not a metric name; expected text that is UTF-8", promql::quoted(t.value)));
      if (!s.name.empty())
        fail(where, fmt::format("the metric name is set twice: '{}' and {}", s.name, promql::quoted(t.value)));
      s.name = t.value;
      s.matchers.push_back({std::string(kMetricName), MatchOp::equal, s.name, nullptr});
      return;
    }
    Matcher m;
    m.name = label_name("a label name or '}'");
    switch (now().kind) {
      case Tok::eql: m.op = MatchOp::equal; break;
      case Tok::neq: m.op = MatchOp::not_equal; break;
      case Tok::eql_regex: m.op = MatchOp::regex; break;
      case Tok::neq_regex: m.op = MatchOp::not_regex; break;
      default: unexpected("=, !=, =~ or !~");
    }
    take();
    const auto value = expect(Tok::string, "a string in quotes");
    m.value = value.value;
    if (m.op == MatchOp::regex || m.op == MatchOp::not_regex) {
      auto made = compile_pattern(m.value, budget_);
      if (!made)
        fail(value.where,
             made.error().too_large
                 ? fmt::format("{} is too large a regular expression: {}", shortened(m.value), made.error().text)
                 : fmt::format("{} is no regular expression: {}", promql::quoted(m.value), made.error().text));
      m.pattern = std::move(*made);
    }
    if (m.name == kMetricName && !s.name.empty() && !any_name_)
      fail(where, fmt::format("the metric name is set twice: '{}' and {}", s.name, promql::quoted(m.value)));
    s.matchers.push_back(std::move(m));
  }

  static std::string shortened(std::string_view pattern) {
    std::size_t shown = 60;
    if (pattern.size() <= shown) return promql::quoted(pattern);
    while (shown > 0 && (static_cast<unsigned char>(pattern[shown]) & 0xc0) == 0x80) --shown;  // not within a character
    return fmt::format("{}... of {} bytes", promql::quoted(pattern.substr(0, shown)), pattern.size());
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  PatternBudget& budget_;
  std::size_t at_ = 0;
  int depth_ = 0, parts_ = 0;
  bool any_name_ = false;
  std::vector<const Expr*> offset_seen_;
};

template <class F>
auto guarded(std::string_view text, std::vector<Problem>& problems, PatternBudget* budget, F&& f)
    -> decltype(f(std::declval<Parser&>())) {
  const auto before = problems.size();
  auto tokens = lex(text, problems);
  if (problems.size() != before) return nullptr;
  PatternBudget own = PatternBudget::of_owner();
  Parser parser(text, std::move(tokens), budget ? *budget : own);
  try {
    return f(parser);
  } catch (SyntaxError& e) {
    problems.push_back(std::move(e.problem));
    return nullptr;
  }
}

}  // namespace

ExprPtr parse(std::string_view text, std::vector<Problem>& problems, PatternBudget* budget) {
  return guarded(text, problems, budget, [](Parser& p) { return p.whole(); });
}

std::unique_ptr<Selector> parse_selector(std::string_view text, std::vector<Problem>& problems, PatternBudget* budget,
                                         bool any_name) {
  return guarded(text, problems, budget, [&](Parser& p) { return p.whole_selector(any_name); });
}

ExprPtr compile(std::string_view text, std::vector<Problem>& problems, const Language& language,
                PatternBudget* budget) {
  auto e = parse(text, problems, budget);
  if (e && !check(*e, problems, language)) return nullptr;
  return e;
}

}  // namespace vitald::promql
