// SPDX-License-Identifier: Apache-2.0
// Queries that somebody asks once: their limits hold for whatever they are made of.
#include "rules/query.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/rules/memory_source.h"

namespace vitald {
namespace {

using promql::Labels;
using Kind = QueryError::Kind;

constexpr std::int64_t kNow = 600'000;

// 100 series m{i="..."} and 100 n{i="..."}, a sample every ten seconds for ten minutes.
promql::MemorySource& hundred() {
  static promql::MemorySource source = [] {
    promql::MemorySource s;
    for (int i = 0; i < 100; ++i)
      for (const auto* name : {"m", "n"})
        for (std::int64_t t = 0; t <= kNow; t += 10'000)
          s.add(Labels({{"__name__", name}, {"i", fmt::format("{}", i)}}), t, static_cast<double>(i + t % 7));
    return s;
  }();
  return source;
}

Queried<QueryAnswer> ask(const std::string& text, const QueryLimits& limits, bool range = false) {
  const auto expr = parse_query(text, limits.language);
  if (!expr) return tl::unexpected(expr.error());
  return range ? range_query(**expr, hundred(), 0, kNow, 60'000, limits)
               : instant_query(**expr, hundred(), kNow, limits);
}

// What somebody sends must not cost seconds and megabytes for a few bytes of a regular expression, and what people do
// send must go through.
TEST(Query, RegularExpressionsAreBounded) {
  std::string hosts, uuids, many, plain;
  for (int i = 0; i < 200; ++i) {
    hosts += fmt::format("{}compute-{}\\\\.rack{}\\\\.dc1\\\\.example\\\\.com:9100", i > 0 ? "|" : "", i * 37, i % 17);
    uuids += fmt::format("{}{:08x}-4d2f-4a1b-9c3e-{:012x}", i > 0 ? "|" : "", i * 2'654'435U, i * 40'503U);
    many += fmt::format("{}a{{a=~\"\\\\PL{{12}}\"}}", i > 0 ? "+" : "");
    plain += fmt::format("{}a{{a=~\"b{}.*\"}}", i > 0 ? "+" : "", i);
  }
  const struct {
    const char* name;
    std::string query;
    const char* problem;  // a part of it; null: it is fine
  } cases[] = {
      {"200 hosts", fmt::format("up{{instance=~\"{}\"}}", hosts), nullptr},
      {"200 UUIDs", fmt::format("up{{uuid=~\"{}\"}}", uuids), nullptr},
      {"200 selectors", plain, nullptr},
      {"a UUID", "up{uuid=~\"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\"}", nullptr},
      {"letters", "up{a=~\"(?i)\\\\p{L}+[^\\\\pN]*\"}", nullptr},
      {"a large count of a large class", "a{a=~\"\\\\PL{333}\"}",
       "is too large a regular expression: pattern too large"},
      {"nested counts", "a{a=~\"((.{10}){10}){10}((.{10}){10}){10}((.{10}){10}){10}((.{10}){10}){10}\"}",
       "is too large a regular expression"},
      {"large together", many, "the regular expressions are too large together"},
      {"counts of counts", fmt::format("a{{a=~\"{}\"}}", std::string(60'000, 'a') + "{1000}"), "of 60006 bytes"},
      {"one more than 200", plain + "+a{a=~\"b.*\"}", "too many regular expressions at once"},
      {"any byte", "a{a=~\"\\\\C\"}", "is no regular expression: invalid escape sequence: \\C"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto expr = parse_query(c.query, QueryLimits{});
    if (!c.problem) {
      EXPECT_TRUE(expr) << expr.error().text;
      continue;
    }
    ASSERT_FALSE(expr);
    EXPECT_EQ(expr.error().kind, QueryError::Kind::bad_query);
    EXPECT_NE(expr.error().text.find(c.problem), std::string::npos) << expr.error().text;
    EXPECT_LT(expr.error().text.size(), 400U);
  }
  // The owner's files may have more, and not all there is.
  EXPECT_TRUE(parse_query("a{a=~\"\\\\PL{333}\"}"));
  EXPECT_FALSE(parse_query(fmt::format("a{{a=~\"{}\"}}", std::string(60'000, 'a') + "{1000}")));
  // label_replace() compiles when it is evaluated, once.
  QueryLimits limits;
  const auto replaced = ask("label_replace(m, \"a\", \"b\", \"i\", \"\\\\PL{333}\")", limits);
  ASSERT_FALSE(replaced);
  EXPECT_NE(replaced.error().text.find("too large a regular expression in label_replace()"), std::string::npos)
      << replaced.error().text;
  // Nobody waits any more: seen between two.
  int looks = 0;
  limits.given_up = [&looks] { return ++looks > 3; };
  const auto late = parse_query(plain, limits);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind, QueryError::Kind::given_up);
  EXPECT_EQ(looks, 4);
}

TEST(Query, SamplesInMemoryAreBoundedWhateverTheOperator) {
  // None of these ends with more than 100 samples.
  const char* cases[] = {
      "sort(m + 1)",
      "sort_by_label(m, \"i\")",
      "m and n",
      "m or n",
      "m unless m",
      "m > 1e9",
      "(m > 1e9) or (n > 1e9)",
      "m * on (i) n",
      "m == bool n",
      "count(sum by (i) (m))",
      "count_values(\"v\", m)",
      "topk(1, abs(m))",
      "limitk(1, -m)",
      "label_replace(m, \"j\", \"$1\", \"i\", \"(.*)\")",
      "count_over_time(m[10m]) > 1e9",
      "max_over_time(sort(m)[1m:10s]) > 1e9",
      "quantile_over_time(0.5, vector(1)[10m:1s])",
      "absent(m + n)",
      "scalar(sum(m)) + scalar(sum(n))",
      "m[5m]",
  };
  QueryLimits small, large;
  small.max_samples = 120;
  large.max_samples = 10'000;
  for (const auto* text : cases)
    for (const bool range : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", text, range ? "range" : "instant"));
      if (range && std::string_view(text) == "m[5m]") continue;
      const auto refused = ask(text, small, range);
      ASSERT_FALSE(refused);
      EXPECT_TRUE(refused.error().text.starts_with("query processing would load too many samples into memory"))
          << refused.error().text;
      const auto good = ask(text, large, range);
      EXPECT_TRUE(good) << good.error().text;
    }
  EXPECT_TRUE(ask("sum(m)", small)) << "what is in memory, not what was read in all";
  EXPECT_TRUE(ask("count_over_time(m{i=\"1\"}[10m])", small, true));
}

TEST(Query, WhoeverAsksIsAskedWhileItIsEvaluated) {
  // Each takes long in a single evaluation and reads few samples for it.
  const char* cases[] = {
      "count_over_time(sort(sort(sort(m)))[10m:100ms])",
      "count_over_time((m and n)[10m:100ms])",
      "count_over_time((m or n)[10m:100ms])",
      "count_over_time((m unless n)[10m:100ms])",
      "count_over_time((m > n)[10m:100ms])",
      "count_over_time(count_values(\"v\", m)[10m:100ms])",
      "count_over_time(vector(1)[10m:1ms])",
      "count_over_time(topk(1, m)[10m:100ms])",
      "max_over_time(quantile_over_time(0.5, vector(1)[10m:100ms])[10m:10s])",
  };
  for (const auto* text : cases) {
    SCOPED_TRACE(text);
    QueryLimits limits;
    limits.max_samples = 100'000'000;
    int asked = 0;
    limits.given_up = [&asked] { return ++asked > 12; };
    const auto answer = ask(text, limits);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, Kind::given_up) << answer.error().text;
    EXPECT_LE(asked, 14) << "it ends when it is told to";
  }
  // Each selector looks through all series before anything is evaluated.
  std::string many = "m";
  for (int i = 0; i < 50; ++i) many += " + m";
  QueryLimits limits;
  int asked = 0;
  limits.given_up = [&asked] { return ++asked > 12; };
  const auto answer = ask(many, limits);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, Kind::given_up);
}

TEST(Query, TheLanguageIsTheOneOfTheSettings) {
  struct Case {
    const char* name;
    const char* text;
    promql::Dialect dialect;
    bool experimental, range;
    const char* want;  // the last value, or how the error begins
  };
  using enum promql::Dialect;
  const Case cases[] = {
      {"not allowed", "m{i=\"1\"} smoothed", v3, false, false, "1:"},
      {"allowed", "count_over_time(m{i=\"1\"}[50s] anchored)", v3, true, false, "1:"},
      {"left end is out", "count_over_time(m{i=\"1\"}[50s])", v3, false, false, "5"},
      {"left end is in", "count_over_time(m{i=\"1\"}[50s])", v2, false, false, "6"},
      {"step of an instant query", "step()", v3, false, false, "0"},
      {"step of a range query", "step()", v3, false, true, "60"},
      {"range of a range query", "range()", v3, false, true, "600"},
      {"as a duration", "count_over_time(m{i=\"1\"}[step()])", v3, false, true, "6"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    QueryLimits limits;
    limits.dialect = c.dialect;
    limits.language.experimental = c.experimental;
    const auto answer = ask(c.text, limits, c.range);
    if (!answer) {
      EXPECT_TRUE(answer.error().text.starts_with(c.want)) << answer.error().text;
      continue;
    }
    const auto value = c.range ? answer->matrix.at(0).second.back().value : answer->rows.at(0).value;
    EXPECT_EQ(fmt::format("{}", value), c.want);
  }
}

}  // namespace
}  // namespace vitald
