// SPDX-License-Identifier: Apache-2.0
// Answers of queries as Prometheus' API writes them: native histograms, notes, and the tree of a query.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/query_json.h"
#include "agent/api/query_tree.h"
#include "rules/promql/memory_source.h"

namespace vitald {
namespace {

using nlohmann::json;

promql::MemorySource& source() {
  static promql::MemorySource s = [] {
    promql::MemorySource out;
    out.load(
        "h{a=\"x\"} 1 {{schema:0 count:12 sum:20 z_bucket:2 z_bucket_w:0.5 buckets:[3 0 4] n_buckets:[3]}} "
        "{{schema:-53 count:3 sum:2 custom_values:[1 2] buckets:[1 1 1]}}",
        60'000);
    out.load("f{a=\"x\"} 1 2 3", 60'000);
    return out;
  }();
  return s;
}

json ask(const std::string& text, std::int64_t at_ms, bool range = false) {
  const auto expr = parse_query(text);
  EXPECT_TRUE(expr) << expr.error().text;
  const auto answer =
      range ? range_query(**expr, source(), 0, at_ms, 60'000, {}) : instant_query(**expr, source(), at_ms, {});
  EXPECT_TRUE(answer) << answer.error().text;
  Notes notes;
  add_annotations(notes, *answer, text);
  return json::parse(query_json(*answer, range ? 0 : at_ms, notes));
}

TEST(QueryJson, NativeHistograms) {
  const auto exponential = json::parse(R"({"count":"12","sum":"20","buckets":[
    [1,"-1","-0.5","3"],[3,"-0.5","0.5","2"],[0,"0.5","1","3"],[0,"2","4","4"]]})");
  const auto custom = json::parse(R"({"count":"3","sum":"2","buckets":[
    [3,"-Inf","1","1"],[0,"1","2","1"],[0,"2","+Inf","1"]]})");
  const json metric{{"__name__", "h"}, {"a", "x"}};
  EXPECT_EQ(ask("h", 60'000)["data"],
            (json{{"resultType", "vector"}, {"result", {{{"metric", metric}, {"histogram", {60, exponential}}}}}}));
  EXPECT_EQ(ask("h", 120'000)["data"]["result"][0]["histogram"], (json{120, custom}));
  EXPECT_EQ(ask("h * 0", 60'000)["data"]["result"][0]["histogram"][1], (json{{"count", "0"}, {"sum", "0"}}))
      << "buckets without observations are not there";
  // Numbers and histograms of one series are two lists, each only where it has something.
  const auto both = ask("h", 120'000, true)["data"]["result"][0];
  EXPECT_EQ(both["values"], (json{{0, "1"}}));
  EXPECT_EQ(both["histograms"], (json{{60, exponential}, {120, custom}}));
  EXPECT_FALSE(ask("f", 120'000, true)["data"]["result"][0].contains("histograms"));
  EXPECT_EQ(ask("h[3m]", 120'000)["data"]["result"][0]["histograms"].size(), 2U);
}

TEST(QueryJson, WarningsAndInfos) {
  const auto odd = ask("quantile(2, f)", 60'000);
  EXPECT_EQ(odd["warnings"], (json{"PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"}));
  EXPECT_FALSE(odd.contains("infos"));
  const auto infos = ask("rate(f[3m])", 120'000);
  EXPECT_FALSE(infos.contains("warnings"));
  std::string many = "quantile(2, f)";
  for (int i = 0; i < 11; ++i) many += " or quantile(2, f)";
  const auto warnings = ask(many, 60'000)["warnings"];
  ASSERT_EQ(warnings.size(), 11U);
  EXPECT_EQ(warnings[10], "2 more warning annotations omitted");
  EXPECT_EQ(ask("quantile(2, f)", 120'000, true)["warnings"].size(), 1U) << "once, not once for each step";
  EXPECT_FALSE(ask("f", 60'000).contains("warnings"));
}

TEST(QueryTree, AsPrometheusGivesIt) {
  const std::string selector = R"({"type":"vectorSelector","name":"m","offset":0,"timestamp":null,"startOrEnd":null,
    "matchers":[{"name":"__name__","value":"m","type":"="}],"anchored":false,"smoothed":false})";
  struct Case {
    const char* query;
    std::string want;
  };
  const Case cases[] = {
      {"1.5", R"({"type":"numberLiteral","val":"1.5"})"},
      {"\"a\"", R"({"type":"stringLiteral","val":"a"})"},
      {"m", selector},
      {"(m)", R"({"type":"parenExpr","expr":)" + selector + "}"},
      {"-m", R"({"type":"unaryExpr","op":"-","expr":)" + selector + "}"},
      {"m{a!=\"x\",b=~\"y\",c!~\"z\"} offset 1m @ 5",
       R"({"type":"vectorSelector","name":"m","offset":60000,"timestamp":5000,"startOrEnd":null,"matchers":[
         {"name":"a","value":"x","type":"!="},{"name":"b","value":"y","type":"=~"},{"name":"c","value":"z","type":"!~"},
         {"name":"__name__","value":"m","type":"="}],"anchored":false,"smoothed":false})"},
      {"m[5m] @ end()",
       R"({"type":"matrixSelector","name":"m","range":300000,"offset":0,"timestamp":null,"startOrEnd":"end",
         "matchers":[{"name":"__name__","value":"m","type":"="}],"anchored":false,"smoothed":false})"},
      {"m[5m:10s]", R"({"type":"subquery","range":300000,"step":10000,"offset":0,"timestamp":null,"startOrEnd":null,
         "expr":)" + selector +
                        "}"},
      {"round(m)",
       R"({"type":"call","func":{"name":"round","argTypes":["vector","scalar"],"variadic":1,"returnType":"vector"},
         "args":[)" +
           selector + "]}"},
      {"topk by (a) (2, m)", R"({"type":"aggregation","op":"topk","expr":)" + selector +
                                 R"(,"param":{"type":"numberLiteral","val":"2"},"grouping":["a"],"without":false})"},
      {"sum without (a) (m)",
       R"({"type":"aggregation","op":"sum","expr":)" + selector + R"(,"param":null,"grouping":["a"],"without":true})"},
      {"m > bool 1", R"({"type":"binaryExpr","op":">","lhs":)" + selector +
                         R"(,"rhs":{"type":"numberLiteral","val":"1"},"bool":true,"matching":null})"},
      {"m * on (a) group_left (b) m",
       R"({"type":"binaryExpr","op":"*","lhs":)" + selector + R"(,"rhs":)" + selector +
           R"(,"bool":false,"matching":{"card":"many-to-one","labels":["a"],"on":true,"include":["b"],
           "fillValues":{"lhs":null,"rhs":null}}})"},
      {"m and m", R"({"type":"binaryExpr","op":"and","lhs":)" + selector + R"(,"rhs":)" + selector +
                      R"(,"bool":false,"matching":{"card":"many-to-many","labels":[],"on":false,"include":[],
           "fillValues":{"lhs":null,"rhs":null}}})"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.query);
    const auto expr = parse_query(c.query);
    ASSERT_TRUE(expr) << expr.error().text;
    EXPECT_EQ(json::parse(query_tree_json(**expr)), json::parse(c.want)) << query_tree_json(**expr);
  }
}

}  // namespace
}  // namespace vitald
