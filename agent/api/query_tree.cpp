// SPDX-License-Identifier: Apache-2.0
#include "agent/api/query_tree.h"

#include <fmt/format.h>

#include "agent/api/json.h"
#include "rules/promql/functions.h"
#include "rules/promql/labels.h"

namespace vitald {

namespace {

using namespace promql;

class Tree {
 public:
  explicit Tree(std::string& out) : json_(out) {}

  void expr(const Expr& e) {
    json_.open('{');
    switch (e.kind) {
      case Kind::number:
        json_.text("type", "numberLiteral");
        json_.text("val", number_text(static_cast<const NumberLiteral&>(e).value));
        break;
      case Kind::string:
        json_.text("type", "stringLiteral");
        json_.text("val", static_cast<const StringLiteral&>(e).value);
        break;
      case Kind::selector:
        json_.text("type", "vectorSelector");
        selector(static_cast<const Selector&>(e));
        break;
      case Kind::matrix: {
        const auto& m = static_cast<const MatrixSelector&>(e);
        json_.text("type", "matrixSelector");
        json_.whole("range", m.range_ms);
        selector(*m.selector);
        break;
      }
      case Kind::subquery: {
        const auto& s = static_cast<const Subquery&>(e);
        json_.text("type", "subquery");
        json_.whole("range", s.range_ms);
        json_.whole("step", s.step_ms);
        shift(s.shift);
        member("expr", s.inner.get());
        break;
      }
      case Kind::call: call(static_cast<const promql::Call&>(e)); break;
      case Kind::unary: {
        const auto& u = static_cast<const Unary&>(e);
        json_.text("type", "unaryExpr");
        json_.text("op", u.negative ? "-" : "+");
        member("expr", u.inner.get());
        break;
      }
      case Kind::binary: binary(static_cast<const Binary&>(e)); break;
      case Kind::aggregate: {
        const auto& a = static_cast<const Aggregate&>(e);
        json_.text("type", "aggregation");
        json_.text("op", to_string(a.op));
        member("expr", a.inner.get());
        member("param", a.parameter.get());
        json_.list("grouping", a.grouping);
        json_.flag("without", a.without);
        break;
      }
      case Kind::paren:
        json_.text("type", "parenExpr");
        member("expr", static_cast<const Paren&>(e).inner.get());
        break;
    }
    json_.close('}');
  }

 private:
  void null(std::string_view name) {
    json_.key(name);
    json_.raw("null");
  }
  void member(std::string_view name, const Expr* e) {
    if (!e) return null(name);
    json_.key(name);
    expr(*e);
  }

  void shift(const TimeShift& s) {
    json_.whole("offset", s.offset_ms);
    if (s.at == TimeShift::At::time) json_.whole("timestamp", s.at_ms);
    else null("timestamp");
    if (s.at == TimeShift::At::start || s.at == TimeShift::At::end)
      json_.text("startOrEnd", s.at == TimeShift::At::start ? "start" : "end");
    else null("startOrEnd");
  }

  void matcher(const Matcher& m) {
    static constexpr std::string_view kOps[] = {"=", "!=", "=~", "!~"};
    json_.open('{');
    json_.text("name", m.name);
    json_.text("value", m.value);
    json_.text("type", kOps[static_cast<std::size_t>(m.op)]);
    json_.close('}');
  }

  void selector(const Selector& s) {
    json_.text("name", s.name);
    shift(s.shift);
    json_.key("matchers");
    json_.open('[');
    // That of a name in front of the braces comes last, as there.
    const std::size_t named = !s.name.empty() && !s.matchers.empty() && s.matchers[0].name == kMetricName ? 1 : 0;
    for (auto i = named; i < s.matchers.size(); ++i) matcher(s.matchers[i]);
    if (named > 0) matcher(s.matchers[0]);
    json_.close(']');
    json_.flag("anchored", s.ends == Ends::anchored);
    json_.flag("smoothed", s.ends == Ends::smoothed);
  }

  // The types as Go's names of them are, which an error's text is not.
  static std::string_view type_name(ValueType type) {
    static constexpr std::string_view kNames[] = {"none", "scalar", "vector", "matrix", "string"};
    return kNames[static_cast<std::size_t>(type)];
  }

  void call(const promql::Call& c) {
    json_.text("type", "call");
    json_.key("func");
    json_.open('{');
    json_.text("name", c.function->name);
    json_.key("argTypes");
    json_.open('[');
    for (const auto type : c.function->args) json_.text(type_name(type));
    json_.close(']');
    json_.whole("variadic", c.function->optional_args);
    json_.text("returnType", type_name(c.function->result));
    json_.close('}');
    json_.key("args");
    json_.open('[');
    for (const auto& arg : c.args) expr(*arg);
    json_.close(']');
  }

  void binary(const Binary& b) {
    json_.text("type", "binaryExpr");
    json_.text("op", to_string(b.op));
    member("lhs", b.lhs.get());
    member("rhs", b.rhs.get());
    json_.flag("bool", b.return_bool);
    if (b.lhs->type != ValueType::vector || b.rhs->type != ValueType::vector) return null("matching");
    static constexpr std::string_view kCards[] = {"one-to-one", "many-to-one", "one-to-many", "many-to-many"};
    const auto& m = b.matching;
    json_.key("matching");
    json_.open('{');
    json_.text("card", kCards[static_cast<std::size_t>(is_set(b.op) ? Matching::Card::many_to_many : m.card)]);
    json_.list("labels", m.labels);
    json_.flag("on", m.on);
    json_.list("include", m.include);
    json_.key("fillValues");
    json_.open('{');
    for (const bool left : {true, false}) {
      const auto& fill = left ? m.fill_left : m.fill_right;
      if (fill) json_.number(left ? "lhs" : "rhs", *fill);
      else null(left ? "lhs" : "rhs");
    }
    json_.close('}');
    json_.close('}');
  }

  Json json_;
};

}  // namespace

std::string query_tree_json(const promql::Expr& query) {
  std::string out;
  Tree(out).expr(query);
  return out;
}

}  // namespace vitald
