// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/ast.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "core/text/scan.h"
#include "rules/promql/labels.h"

namespace vitald::promql {

std::string_view to_string(ValueType type) {
  switch (type) {
    case ValueType::none: return "nothing";
    case ValueType::scalar: return "scalar";
    case ValueType::vector: return "instant vector";
    case ValueType::matrix: return "range vector";
    case ValueType::string: return "string";
  }
  return "?";
}

std::string_view to_string(BinaryOp op) {
  static constexpr std::string_view kText[] = {"+",  "-",  "*",  "/", "%",  "^", "atan2", "</", ">/",
                                               "==", "!=", "<=", "<", ">=", ">", "and",   "or", "unless"};
  return kText[static_cast<std::size_t>(op)];
}

std::string_view to_string(AggregateOp op) {
  static constexpr std::string_view kText[] = {"sum",    "avg",         "min",      "max",         "count",
                                               "group",  "stddev",      "stdvar",   "topk",        "bottomk",
                                               "limitk", "limit_ratio", "quantile", "count_values"};
  return kText[static_cast<std::size_t>(op)];
}

bool Matcher::matches(std::string_view v) const {
  switch (op) {
    case MatchOp::equal: return v == value;
    case MatchOp::not_equal: return v != value;
    case MatchOp::regex: return RE2::FullMatch({v.data(), v.size()}, *pattern);
    case MatchOp::not_regex: return !RE2::FullMatch({v.data(), v.size()}, *pattern);
  }
  return false;
}

const Expr& bare(const Expr& e) {
  const Expr* at = &e;
  while (at->kind == Kind::paren) at = static_cast<const Paren&>(*at).inner.get();
  return *at;
}

double DurationExpr::value(double step_s, double range_s) const {
  const auto left = [&] { return a->value(step_s, range_s); };
  const auto right = [&] { return b->value(step_s, range_s); };
  switch (op) {
    case Op::number: return seconds;
    case Op::step: return step_s;
    case Op::range: return range_s;
    case Op::negative: return -left();
    case Op::add: return left() + right();
    case Op::sub: return left() - right();
    case Op::mul: return left() * right();
    case Op::div: return left() / right();
    case Op::mod: return std::fmod(left(), right());
    case Op::pow: return std::pow(left(), right());
    case Op::min_of: return std::min(left(), right());
    case Op::max_of: return std::max(left(), right());
  }
  return 0;
}

bool DurationExpr::is_constant() const {
  return op != Op::step && op != Op::range && (!a || a->is_constant()) && (!b || b->is_constant());
}

std::string number_text(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  char buf[400];  // 5e-324 has 324 digits behind the point
  if (std::abs(v) < 1e16) return {buf, std::to_chars(buf, buf + sizeof buf, v, std::chars_format::fixed).ptr};
  // Every digit would be that of the double, not of its shortest text.
  const std::string_view text(buf, std::to_chars(buf, buf + sizeof buf, v, std::chars_format::scientific).ptr);
  const auto e = text.find('e');  // 1.5e+20
  std::string digits(text.substr(0, e));
  std::erase(digits, '.');
  digits.resize(parse_int<std::size_t>(text.substr(e + 2)).value_or(0) + (v < 0 ? 2 : 1), '0');
  return digits;
}

std::string go_number(double v) {
  // Six digits decide, however many the shortest text has.
  if (!std::isfinite(v) || v == 0 || (std::abs(v) >= 1e-4 && std::abs(v) < 1e6)) return number_text(v);
  char buf[32];
  return {buf, std::to_chars(buf, buf + sizeof buf, v, std::chars_format::scientific).ptr};
}

namespace {

std::string join(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

// Label names; in quotes where they are not what a name always could be.
std::string join_names(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const auto& n : names) out.push_back(name_text(n));
  return join(out);
}

std::string text_of(const DurationExpr& d, bool inside = false) {
  using Op = DurationExpr::Op;
  const auto both = [&](std::string_view op) {
    const auto text = fmt::format("{} {} {}", text_of(*d.a, true), op, text_of(*d.b, true));
    return inside ? '(' + text + ')' : text;
  };
  switch (d.op) {
    case Op::number: {
      const double ms = d.seconds * 1000;
      if (ms == std::floor(ms) && ms > 0 && ms < 9e15) return duration_text(static_cast<std::int64_t>(ms));
      return number_text(d.seconds);
    }
    case Op::step: return "step()";
    case Op::range: return "range()";
    case Op::negative: return "-" + text_of(*d.a, true);
    case Op::add: return both("+");
    case Op::sub: return both("-");
    case Op::mul: return both("*");
    case Op::div: return both("/");
    case Op::mod: return both("%");
    case Op::pow: return both("^");
    case Op::min_of: return fmt::format("min_of({}, {})", text_of(*d.a), text_of(*d.b));
    case Op::max_of: return fmt::format("max_of({}, {})", text_of(*d.a), text_of(*d.b));
  }
  return {};
}

std::string length_text(std::int64_t ms, const DurationExprPtr& expr) {
  return expr ? text_of(*expr) : duration_text(ms);
}

std::string ends_text(Ends ends) {
  return ends == Ends::anchored ? " anchored" : ends == Ends::smoothed ? " smoothed" : "";
}

std::string shift_text(const TimeShift& s) {
  std::string out;
  if (s.at == TimeShift::At::time) out += fmt::format(" @ {:.3f}", static_cast<double>(s.at_ms) / 1000);
  if (s.at == TimeShift::At::start) out += " @ start()";
  if (s.at == TimeShift::At::end) out += " @ end()";
  if (s.offset_expr) out += fmt::format(" offset ({})", text_of(*s.offset_expr));
  else if (s.offset_ms > 0) out += " offset " + duration_text(s.offset_ms);
  if (!s.offset_expr && s.offset_ms < 0) out += " offset -" + duration_text(-s.offset_ms);
  return out;
}

std::string selector_text(const Selector& s) {
  static constexpr std::string_view kOps[] = {"=", "!=", "=~", "!~"};
  const bool plain = s.name.empty() || valid_metric_name(s.name);
  std::string out = plain ? s.name : "";
  std::string matchers = plain ? "" : promql::quoted(s.name);
  std::vector<std::string> sorted;
  for (const auto& m : s.matchers) {
    if (m.name == kMetricName && m.op == MatchOp::equal && m.value == s.name) continue;
    sorted.push_back(
        fmt::format("{}{}{}", name_text(m.name), kOps[static_cast<std::size_t>(m.op)], promql::quoted(m.value)));
  }
  std::ranges::sort(sorted);
  for (const auto& m : sorted) {
    if (!matchers.empty()) matchers += ',';
    matchers += m;
  }
  if (!matchers.empty() || out.empty()) out += '{' + matchers + '}';
  return out;
}

std::string matching_text(const Binary& b) {
  std::string out = b.return_bool ? " bool" : "";
  const auto& m = b.matching;
  if (m.written && (m.on || !m.labels.empty()))
    out += fmt::format(" {} ({})", m.on ? "on" : "ignoring", join_names(m.labels));
  if (m.card == Matching::Card::many_to_one) out += fmt::format(" group_left ({})", join_names(m.include));
  if (m.card == Matching::Card::one_to_many) out += fmt::format(" group_right ({})", join_names(m.include));
  if (m.fill_left && m.fill_right && *m.fill_left == *m.fill_right)
    return out + fmt::format(" fill ({})", go_number(*m.fill_left));
  if (m.fill_left) out += fmt::format(" fill_left ({})", go_number(*m.fill_left));
  if (m.fill_right) out += fmt::format(" fill_right ({})", go_number(*m.fill_right));
  return out;
}

}  // namespace

std::string to_string(const Expr& e) {
  switch (e.kind) {
    case Kind::number: return go_number(static_cast<const NumberLiteral&>(e).value);
    case Kind::string: return promql::quoted(static_cast<const StringLiteral&>(e).value);
    case Kind::selector: {
      const auto& s = static_cast<const Selector&>(e);
      return selector_text(s) + ends_text(s.ends) + shift_text(s.shift);
    }
    case Kind::matrix: {
      const auto& m = static_cast<const MatrixSelector&>(e);
      return fmt::format("{}[{}]{}{}", selector_text(*m.selector), length_text(m.range_ms, m.range_expr),
                         ends_text(m.selector->ends), shift_text(m.selector->shift));
    }
    case Kind::subquery: {
      const auto& s = static_cast<const Subquery&>(e);
      return fmt::format("{}[{}:{}]{}", to_string(*s.inner), length_text(s.range_ms, s.range_expr),
                         s.step_ms > 0 || s.step_expr ? length_text(s.step_ms, s.step_expr) : "", shift_text(s.shift));
    }
    case Kind::call: {
      const auto& c = static_cast<const Call&>(e);
      std::vector<std::string> args;
      for (const auto& a : c.args) args.push_back(to_string(*a));
      return fmt::format("{}({})", c.name, join(args));
    }
    case Kind::unary: {
      const auto& u = static_cast<const Unary&>(e);
      return (u.negative ? "-" : "+") + to_string(*u.inner);
    }
    case Kind::binary: {
      const auto& b = static_cast<const Binary&>(e);
      // A sign would be that of the whole power.
      const bool unsigned_inf = b.op == BinaryOp::pow && b.lhs->kind == Kind::number &&
                                static_cast<const NumberLiteral&>(*b.lhs).value > std::numeric_limits<double>::max();
      return fmt::format("{} {}{} {}", unsigned_inf ? "Inf" : to_string(*b.lhs), to_string(b.op), matching_text(b),
                         to_string(*b.rhs));
    }
    case Kind::aggregate: {
      const auto& a = static_cast<const Aggregate&>(e);
      std::string out(to_string(a.op));
      if (a.without) out += fmt::format(" without ({}) ", join_names(a.grouping));
      else if (!a.grouping.empty()) out += fmt::format(" by ({}) ", join_names(a.grouping));
      out += '(';
      if (a.parameter) out += to_string(*a.parameter) + ", ";
      return out + to_string(*a.inner) + ')';
    }
    case Kind::paren: return '(' + to_string(*static_cast<const Paren&>(e).inner) + ')';
  }
  return {};
}

}  // namespace vitald::promql
