// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "rules/promql/check.h"
#include "rules/promql/lexer.h"
#include "rules/promql/parser.h"

namespace vitald::promql {
namespace {

TEST(Lexer, Tokens) {
  struct Case {
    const char *text, *want;
  };
  const Case cases[] = {
      {"", "the end"},
      {" # only a comment\n", "the end"},
      {"a_b:c", "a name 0-5; the end"},
      {"1 1. .5 1e3 1E-3 0x1F inf NaN",
       "a number 0-1; a number 2-4; a number 5-7; a number 8-11; a number 12-16; a number 17-21; "
       "a number 22-25; a number 26-29; the end"},
      {"1_000 .5_0 1.2_5 1e1_0 0xFF_FF 0x_1f 0_1",
       "a number 0-5; a number 6-10; a number 11-16; a number 17-22; a number 23-30; a number 31-36; a number 37-40; "
       "the end"},
      {"1_", "0-2: '1_' is neither a number nor a duration; write e.g. 10, 1e6, 5m, 1h30m"},
      {"1__0", "0-4: '1__0' is neither a number nor a duration; write e.g. 10, 1e6, 5m, 1h30m"},
      {"1._5", "0-4: '1._5' is not a number"},
      {"1e_5", "0-4: '1e_5' is not a number"},
      {"0x__1", "0-5: '0x__1' is not a number"},
      {"0o17", "0-4: '0o17' is neither a number nor a duration; write e.g. 10, 1e6, 5m, 1h30m"},
      {"5m 1h30m 100ms", "a duration 0-2; a duration 3-8; a duration 9-14; the end"},
      {"==!==~!~<=<>=>=",
       "'==' 0-2; '!=' 2-4; '=~' 4-6; '!~' 6-8; '<=' 8-10; '<' 10-11; '>=' 11-13; '>=' 13-15; the end"},
      {"'a\\'b' \"\\x41\\n\\u00e9\" `raw\\n`",
       "a string 0-6 a'b; a string 7-21 A\n\xc3\xa9; a string 22-29 raw\\n; the end"},
      {"[5m:1m]", "'[' 0-1; a duration 1-3; ':' 3-4; a duration 4-6; ']' 6-7; the end"},
      {"a]:b", "a name 0-1; ']' 1-2; a name 2-4; the end"},
      {"{inf=\"x\"}", "'{' 0-1; a name 1-4; '=' 4-5; a string 5-8 x; '}' 8-9; the end"},
      {"a ! b", "2-3: '!' alone; expected != or !~"},
      {"a \xc3\xa9", "2-4: unexpected character '\xc3\xa9'"},
      {"\"abc", "0-4: string without closing quote"},
      {"\"a\nb\"", "0-2: string without closing quote"},
      {"\"a\\qb\"", "2-4: unknown escape '\\q'; write \\\\ for a backslash"},
      {"5x", "0-2: '5x' is neither a number nor a duration; write e.g. 10, 1e6, 5m, 1h30m"},
      {"5m1h", "0-4: '5m1h' is neither a number nor a duration; write e.g. 10, 1e6, 5m, 1h30m"},
      {"1e", "0-2: '1e' is not a number"},
      {"0xZ", "0-3: '0xZ' is not a number"},
      {"x > 1e400", "4-9: '1e400' is beyond the largest number, 1.8e308"},
      {"1e-400", "a number 0-6; the end"},
      {"1.5m", "0-4: '1.5m' is not a number"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<Problem> problems;
    std::string got;
    for (const auto& t : lex(c.text, problems)) {
      if (!got.empty()) got += "; ";
      got += describe(t.kind);
      if (t.kind != Tok::end) got += fmt::format(" {}-{}", t.where.begin, t.where.end);
      if (t.kind == Tok::string) got += ' ' + t.value;
    }
    if (!problems.empty())
      got = fmt::format("{}-{}: {}", problems[0].where.begin, problems[0].where.end, problems[0].what);
    EXPECT_EQ(got, c.want);
  }
}

TEST(Lexer, Durations) {
  struct Case {
    std::int64_t ms;
    const char* text;
  };
  const Case cases[] = {{0, "0s"},           {1, "1ms"},
                        {300'000, "5m"},     {5'400'000, "1h30m"},
                        {86'400'000, "1d"},  {93'600'000, "1d2h"},
                        {604'800'000, "1w"}, {31'536'000'000, "1y"},
                        {691'200'000, "8d"}, {90'061'001, "1d1h1m1s1ms"}};
  for (const auto& c : cases) {
    EXPECT_EQ(duration_text(c.ms), c.text);
    EXPECT_EQ(parse_duration_ms(c.text), c.ms);
  }
  for (const char* bad : {"", "5", "m", "5m ", "5 m", "-5m", "1m1m", "1s1m", "99999999999999999999s"})
    EXPECT_EQ(parse_duration_ms(bad), -1) << bad;
  for (const char* longer : {"293y", "292y52w", "99999999999y", "999999999999y999999999999w999999999999s"})
    EXPECT_EQ(parse_duration_ms(longer), kTooLong) << longer;
}

// What Prometheus prints for them; `=` where that is the text itself.
TEST(Parser, PrintsAsPrometheus) {
  struct Case {
    const char *text, *want;
  };
  const Case cases[] = {
      {"1", "="},
      {"-1", "="},
      {"1e3", "1000"},
      {"1_000_000", "1e+06"},
      {"100_000", "100000"},
      {"123456789", "1.23456789e+08"},
      {"1e-7", "1e-07"},
      {"0.0001", "="},
      {"0.00001", "1e-05"},
      {"-1e21", "-1e+21"},
      {"1e100", "1e+100"},
      {".123_456_789", "0.123456789"},
      {"0x_53_AB_F3_82", "1.403777922e+09"},
      {"017", "15"},
      {"0_17", "15"},
      {"08", "8"},
      {"017.5", "17.5"},
      {"017e1", "170"},
      {"00", "0"},
      {"+Inf", "="},
      {"a", "="},
      {"{a=\"b\"}", "="},
      {"a{b!=\"c\",d=~\"e\",f!~\"g\"}", "="},
      {"a{b=\"2\",a=~\"x\",a=\"3\"}", "a{a=\"3\",a=~\"x\",b=\"2\"}"},
      {"a{b='c'  ,}", "a{b=\"c\"}"},
      {"{__name__=~\"a.*\"}", "="},
      {"a[5m]", "="},
      {"a[1h30m] offset 2d", "="},
      {"a offset -5m", "="},
      {"a @ 10", "a @ 10.000"},
      {"a[5m] @ start() offset 1m", "="},
      {"rate(a[5m])", "="},
      {"a+b*c^d", "a + b * c ^ d"},
      {"(a+b)*c", "(a + b) * c"},
      {"-a^2", "-a ^ 2"},
      {"a > bool 1", "="},
      {"a + on (x, y) b", "="},
      {"a + ignoring () b", "a + b"},
      {"a > on () 3", "a > 3"},
      {"a * on () group_left () 2", "a * 2"},
      {"a * on (x) group_left (y) b", "="},
      {"a / ignoring (x) group_right () b", "="},
      {"a and b or c unless d", "="},
      {"a atan2 b", "="},
      {"sum(a)", "="},
      {"SUM(a) BY (x,y)", "sum by (x, y) (a)"},
      {"sum without () (a)", "="},
      {"topk(3, a)", "="},
      {"count_values without (x) (\"v\", a)", "="},
      {"sum", "="},
      {"avg + by", "="},
      {"on + ignoring", "="},
      {"offset offset 5m", "="},
      {"max_over_time(rate(a[1m])[5m:30s])", "="},
      {"a[5m:]", "="},
      {"label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\\\\d\")", "="},
      {"time()", "="},
      {"# comment\nup # more\n == 0", "up == 0"},
      {"1 + Inf ^ -1", "="},
      {"{\"a.b\"}", "="},
      {"{'plain', x='y'}", "plain{x=\"y\"}"},
      {"{\"a.b\",\"c.d\"=\"e\"}", "="},
      {"sum by (\"c.d\", x) (a)", "="},
      {"a @ 1m", "a @ 60.000"},
      {"a[2m * (10 + 5)]", "a[30m]"},
      {"a[60*5:30+30] offset -(1m * 2)", "a[5m:1m] offset -2m"},
      {"a offset 5m + 1", "="},
      {"a[step() + 1m]", "="},
      {"a[max_of(step(), 5m):range() / 4s] offset (step() * (range() - 1m))", "="},
      {"limitk by (x) (3, a)", "limitk by (x) (3, a)"},
      {"limit_ratio(-0.1, a)", "="},
      {"a </ 5 >/ 1", "="},
      {"a + on (x) fill (0) b", "="},
      {"a + fill_left(1) fill_right(-2) b", "a + fill_left (1) fill_right (-2) b"},
      {"increase(a[5m] anchored offset 1m)", "="},
      {"a smoothed", "="},
      {"info(a, {data=~\".+\"})", "="},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<Problem> problems;
    const auto e = compile(c.text, problems, {.experimental = true});
    ASSERT_TRUE(e) << problems[0].what;
    const std::string want = c.want == std::string_view("=") ? c.text : c.want;
    EXPECT_EQ(to_string(*e), want);
    const auto again = compile(want, problems, {.experimental = true});
    ASSERT_TRUE(again);
    EXPECT_EQ(to_string(*again), want);
  }
}

TEST(Parser, NumbersAsGoWritesThem) {
  const struct {
    double v;
    std::string sample, literal;  // 'f' and 'g', the shortest
  } cases[] = {
      {0, "0", "0"},
      {-1.5, "-1.5", "-1.5"},
      {1e-7, "0.0000001", "1e-07"},
      {123456789.125, "123456789.125", "1.23456789125e+08"},
      {999999, "999999", "999999"},
      {1e6, "1000000", "1e+06"},
      {-12345678901234567890.0, "-12345678901234567000", "-1.2345678901234567e+19"},
      {1e21, "1" + std::string(21, '0'), "1e+21"},
      {1.5e300, "15" + std::string(299, '0'), "1.5e+300"},
      {5e-324, "0." + std::string(323, '0') + "5", "5e-324"},
      {-HUGE_VAL, "-Inf", "-Inf"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(number_text(c.v), c.sample);
    EXPECT_EQ(go_number(c.v), c.literal);
  }
}

// The shape of the tree: every binary operator in parentheses.
std::string grouped(const Expr& e) {
  if (e.kind == Kind::binary) {
    const auto& b = static_cast<const Binary&>(e);
    return fmt::format("({} {} {})", grouped(*b.lhs), to_string(b.op), grouped(*b.rhs));
  }
  if (e.kind == Kind::unary) {
    const auto& u = static_cast<const Unary&>(e);
    return fmt::format("({}{})", u.negative ? "-" : "+", grouped(*u.inner));
  }
  return to_string(e);
}

TEST(Parser, Precedence) {
  struct Case {
    const char *text, *want;
  };
  const Case cases[] = {
      {"a or b and c", "(a or (b and c))"},
      {"a unless b and c", "((a unless b) and c)"},
      {"a and b > c", "(a and (b > c))"},
      {"a > b + c", "(a > (b + c))"},
      {"a - b - c", "((a - b) - c)"},
      {"a + b % c", "(a + (b % c))"},
      {"a * b atan2 c", "((a * b) atan2 c)"},
      {"a ^ b ^ c", "(a ^ (b ^ c))"},
      {"-a * b", "((-a) * b)"},
      {"-a ^ b", "(-(a ^ b))"},
      {"a ^ -b * c", "((a ^ (-b)) * c)"},
      {"- - a", "(-(-a))"},
      {"a * -b", "(a * (-b))"},
  };
  for (const auto& c : cases) {
    std::vector<Problem> problems;
    const auto e = parse(c.text, problems);
    ASSERT_TRUE(e) << c.text;
    EXPECT_EQ(grouped(*e), c.want) << c.text;
  }
}

// Where the experimental is allowed, what it may stand with.
TEST(Parser, ExperimentalErrors) {
  struct Case {
    const char *text, *want;
  };
  const Case cases[] = {
      {"info(a, b + c)", "8-13: argument 2 of info: expected labels in braces, e.g. {data=~\".+\"}"},
      {"a + fill(0) 1", "4-11: fill() needs an instant vector on both sides"},
      {"a[5m] smoothed",
       "0-14: anchored and smoothed ranges need a function around them, e.g. increase(x[5m] anchored)"},
      {"deriv(a[5m] smoothed)",
       "0-21: smoothed modifier can only be used with: delta, increase, rate - not with deriv"},
      {"sum_over_time(a[5m] anchored)",
       "0-29: anchored modifier can only be used with: changes, delta, increase, rate, resets - not with "
       "sum_over_time"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<Problem> problems;
    EXPECT_FALSE(compile(c.text, problems, {.experimental = true}));
    ASSERT_FALSE(problems.empty());
    EXPECT_EQ(fmt::format("{}-{}: {}", problems[0].where.begin, problems[0].where.end, problems[0].what), c.want);
  }
}

// begin-end: what, bytes of the expression.
TEST(Parser, Errors) {
  struct Case {
    const char *text, *want;
  };
  const Case cases[] = {
      {"", "0-0: no expression; expected e.g. node_load1 > 10"},
      {"a +", "3-3: the expression ends; expected a metric, a number, a function or '('"},
      {"a b", "2-3: unexpected 'b'; expected an operator or the end"},
      {"(a", "2-2: the expression ends; expected an operator or ')'"},
      {"a)", "1-2: unexpected ')'; expected an operator or the end"},
      {"a{b}", "3-4: unexpected '}'; expected =, !=, =~ or !~"},
      {"a{b=c}", "4-5: unexpected 'c'; expected a string in quotes"},
      {"a{b=\"c\"", "7-7: the expression ends; expected ',' or '}'"},
      {"a{b=~\"(\"}", "5-8: \"(\" is no regular expression: missing ): ("},
      {"a{__name__=\"b\"}", "2-10: the metric name is set twice: 'a' and \"b\""},
      {"a[5m", "4-4: the expression ends; expected ']' or ':'"},
      {"a[x]", "2-3: unexpected 'x'; expected a range like 5m"},
      {"a[0s]", "1-4: a range has to be longer than 0"},
      {"(a)[5m]", "3-7: a range needs a selector before it; for expressions write a subquery, e.g. (...)[5m:1m]"},
      {"a offset 5m [1m]", "12-13: 'offset' comes after the range: x[5m] offset 1h"},
      {"a offset 5m offset 1m", "12-18: 'offset' is there twice"},
      {"1 offset 5m", "2-8: 'offset' needs a selector, a range or a subquery before it"},
      {"a @ b", "4-5: unexpected 'b'; expected a time in seconds, a duration, start() or end()"},
      {"sum()", "0-5: sum has 0 arguments; expected 1: (vector)"},
      {"topk(a)", "0-7: topk has 1 argument; expected 2: (parameter, vector)"},
      {"a and on(x) group_left b", "12-22: no grouping allowed for 'and': it matches many to many"},
      {"rate(a[5m],)", "11-12: unexpected ')'; expected another argument"},
      {"a + on(1) b", "7-8: unexpected '1'; expected a label name or ')'"},
      {"a[5m -]", "6-7: unexpected ']'; expected a duration like 5m"},
      {"a[(5m]", "5-6: unexpected ']'; expected an operator or ')'"},
      {"a[5m / 0]", "5-8: '/' by zero in a duration"},
      {"a[1m - 2m]", "1-9: a range has to be longer than 0"},
      {"a offset 1e30", "9-13: '1e30' is no duration; expected less than 292 years"},
      {"a offset min_of(1m)", "18-19: unexpected ')'; expected ','"},
      {"a + fill(b) c", "9-10: unexpected 'b'; expected a number"},
      {"a and fill(0) c", "6-10: no fill for 'and': it makes no pairs"},
      {"a + fill_left(0) fill_left(1) c", "17-26: fill_left: this side is filled already"},
      {"{\"a\", \"b\"}", "6-9: the metric name is set twice: 'a' and \"b\""},
      {"{\"a\", \"\"=\"b\"}", "6-8: \"\" is not a label name; expected text that is UTF-8"},
      {"sum(a) smoothed", "7-15: 'smoothed' needs a selector or a range before it"},
      {"a smoothed anchored", "11-19: 'anchored' after anchored or smoothed; expected one"},
      // types
      {"info(a)", "0-4: info() is experimental; expected --rules.promql.experimental to use it"},
      {"a + fill(0) b", "4-11: fill() is experimental; expected --rules.promql.experimental to use it"},
      {"a smoothed", "0-10: 'smoothed' is experimental; expected --rules.promql.experimental to use it"},
      {"rte(a[5m])", "0-3: unknown function 'rte'; did you mean 'rate'?"},
      {"nonsense(a)", "0-8: unknown function 'nonsense'"},
      {"rate(a)", "5-6: argument 1 of rate: instant vector given, expected range vector"},
      {"rate(a[5m], 1)", "0-14: rate has 2 arguments; expected 1"},
      {"round(a, 1, 2)", "0-14: round has 3 arguments; expected 1 to 2"},
      {"label_join(a, \"b\")", "0-18: label_join has 2 arguments; expected at least 3"},
      {"sum(1)", "4-5: sum: scalar given, expected instant vector"},
      {"topk(a, b)", "5-6: parameter of topk: instant vector given, expected scalar"},
      {"1 > 2", "2-3: comparing two scalars needs 'bool': > bool"},
      {"1 and 2", "2-5: 'and' needs an instant vector on both sides"},
      {"a + bool b", "2-3: 'bool' only goes with comparisons, not with '+'"},
      {"a + on(x) 1", "4-9: 'on' and 'ignoring' need an instant vector on both sides"},
      {"a + on(x) group_left(x) b", "4-23: label 'x' stands in 'on' and in the group; expected in one of them"},
      {"a[5m] + 1", "0-5: '+' on a range vector; expected scalar or instant vector"},
      {"-\"x\"", "0-4: string has no sign; expected scalar or instant vector"},
      {"{}", "0-2: this selects everything; expected at least one matcher that does not match the empty string"},
      {"{a=~\".*\"}",
       "0-9: this selects everything; expected at least one matcher that does not match the empty string"},
      {"histogram_quantiles(a, \"q\", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)", "0-62: 11 quantiles; expected 1 to 10"},
      {"sum(1) + rate(a)",
       "4-5: sum: scalar given, expected instant vector|"
       "14-15: argument 1 of rate: instant vector given, expected range vector"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<Problem> problems;
    EXPECT_FALSE(compile(c.text, problems));
    std::string got;
    for (const auto& p : problems)
      got += fmt::format("{}{}-{}: {}", got.empty() ? "" : "|", p.where.begin, p.where.end, p.what);
    EXPECT_EQ(got, c.want);
  }
}

TEST(Parser, DepthIsLimited) {
  std::vector<Problem> problems;
  EXPECT_FALSE(parse(std::string(100'000, '('), problems));
  EXPECT_EQ(problems.at(0).what, "nested deeper than 250 levels");
  problems.clear();
  EXPECT_FALSE(parse(std::string(100'000, '-') + "1", problems));
  EXPECT_TRUE(parse(std::string(100, '(') + "1" + std::string(100, ')'), problems));
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

// What is only long is deep, too, as a tree; and what is checked pairwise takes long.
TEST(Parser, LengthIsLimited) {
  const auto many = [](std::string_view text) { return repeated(text, 100'000); };
  const std::pair<const char*, std::string> cases[] = {
      {"a chain", "1" + many("+1")},
      {"subqueries", "up" + many("[5m:1m]")},
      {"matchers", "{" + many("a=\"b\",") + "}"},
      {"names", "sum by (" + many("a,") + "b) (up)"},
      {"arguments", "label_join(" + many("1,") + "1)"},
  };
  for (const auto& [name, text] : cases) {
    SCOPED_TRACE(name);
    std::vector<Problem> problems;
    EXPECT_FALSE(compile(text, problems));
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].what, name == std::string_view("subqueries")
                                    ? "nested deeper than 250 levels"
                                    : "more than 5000 parts; expected less, e.g. with recording rules");
  }
  std::vector<Problem> problems;
  EXPECT_TRUE(compile("up" + repeated(" or up", 1000), problems));
  EXPECT_FALSE(compile(repeated("f", 1'000'000) + "(up)", problems));  // looks for no name like it
}

TEST(Check, NumbersTheNodes) {
  std::vector<Problem> problems;
  const auto e = compile("sum by (x) (rate(a[5m])) / on (x) group_left () (b offset 1m) > 2 * 3", problems);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->type, ValueType::vector);
  EXPECT_EQ(node_count(*e), 11u);
}

}  // namespace
}  // namespace vitald::promql
