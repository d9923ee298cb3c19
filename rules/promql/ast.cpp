// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/ast.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <charconv>
#include <cmath>

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
  static constexpr std::string_view kText[] = {
      "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<=", "<", ">=", ">", "and", "or", "unless"};
  return kText[static_cast<std::size_t>(op)];
}

std::string_view to_string(AggregateOp op) {
  static constexpr std::string_view kText[] = {"sum",    "avg",    "min",  "max",     "count",    "group",
                                               "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values"};
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

std::string number_text(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  char buf[400];  // 1e308 has 309 digits
  const auto [end, ec] = std::to_chars(buf, buf + sizeof buf, v, std::chars_format::fixed);
  return {buf, end};
}

namespace {

std::string join(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::string shift_text(const TimeShift& s) {
  std::string out;
  if (s.at == TimeShift::At::time) out += fmt::format(" @ {:.3f}", static_cast<double>(s.at_ms) / 1000);
  if (s.at == TimeShift::At::start) out += " @ start()";
  if (s.at == TimeShift::At::end) out += " @ end()";
  if (s.offset_ms > 0) out += " offset " + duration_text(s.offset_ms);
  if (s.offset_ms < 0) out += " offset -" + duration_text(-s.offset_ms);
  return out;
}

std::string selector_text(const Selector& s) {
  static constexpr std::string_view kOps[] = {"=", "!=", "=~", "!~"};
  std::string out = s.name;
  std::string matchers;
  for (const auto& m : s.matchers) {
    if (m.name == kMetricName && m.op == MatchOp::equal && m.value == s.name) continue;
    if (!matchers.empty()) matchers += ',';
    matchers += m.name;
    matchers += kOps[static_cast<std::size_t>(m.op)];
    matchers += quoted(m.value);
  }
  if (!matchers.empty() || out.empty()) out += '{' + matchers + '}';
  return out;
}

std::string matching_text(const Binary& b) {
  std::string out = b.return_bool ? " bool" : "";
  const auto& m = b.matching;
  if (m.written && (m.on || !m.labels.empty()))
    out += fmt::format(" {} ({})", m.on ? "on" : "ignoring", join(m.labels));
  if (m.card == Matching::Card::many_to_one) out += fmt::format(" group_left ({})", join(m.include));
  if (m.card == Matching::Card::one_to_many) out += fmt::format(" group_right ({})", join(m.include));
  return out;
}

}  // namespace

std::string to_string(const Expr& e) {
  switch (e.kind) {
    case Kind::number: return number_text(static_cast<const NumberLiteral&>(e).value);
    case Kind::string: return quoted(static_cast<const StringLiteral&>(e).value);
    case Kind::selector: {
      const auto& s = static_cast<const Selector&>(e);
      return selector_text(s) + shift_text(s.shift);
    }
    case Kind::matrix: {
      const auto& m = static_cast<const MatrixSelector&>(e);
      return fmt::format("{}[{}]{}", selector_text(*m.selector), duration_text(m.range_ms),
                         shift_text(m.selector->shift));
    }
    case Kind::subquery: {
      const auto& s = static_cast<const Subquery&>(e);
      return fmt::format("{}[{}:{}]{}", to_string(*s.inner), duration_text(s.range_ms),
                         s.step_ms > 0 ? duration_text(s.step_ms) : "", shift_text(s.shift));
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
      return fmt::format("{} {}{} {}", to_string(*b.lhs), to_string(b.op), matching_text(b), to_string(*b.rhs));
    }
    case Kind::aggregate: {
      const auto& a = static_cast<const Aggregate&>(e);
      std::string out(to_string(a.op));
      if (a.without) out += fmt::format(" without ({}) ", join(a.grouping));
      else if (!a.grouping.empty()) out += fmt::format(" by ({}) ", join(a.grouping));
      out += '(';
      if (a.parameter) out += to_string(*a.parameter) + ", ";
      return out + to_string(*a.inner) + ')';
    }
    case Kind::paren: return '(' + to_string(*static_cast<const Paren&>(e).inner) + ')';
  }
  return {};
}

}  // namespace vitald::promql
