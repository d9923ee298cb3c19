// SPDX-License-Identifier: Apache-2.0
#include "rules/load/load.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace vitald {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Each bad/NAME.bad.yaml has its whole expected text beside it in NAME.txt. VITALD_REWRITE=1 writes them anew;
// the diff is then reviewed like code.
TEST(Load, BadFiles) {
  const auto folder = std::filesystem::path(VITALD_SOURCE_DIR) / "tests/rules/bad";
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(".bad.yaml")) continue;
    SCOPED_TRACE(name);
    ++files;
    std::vector<std::string> problems, warnings;
    load_rules(read(entry.path()), name, problems, &warnings);
    for (const auto& w : warnings) problems.push_back("warning: " + w);
    const auto got = fmt::format("{}\n", fmt::join(problems, "\n"));
    const auto expected = folder / (name.substr(0, name.size() - std::string_view(".bad.yaml").size()) + ".txt");
    if (std::getenv("VITALD_REWRITE")) std::ofstream(expected) << got;
    EXPECT_EQ(got, read(expected));
  }
  EXPECT_GE(files, 6u);
}

TEST(Load, Groups) {
  std::vector<std::string> problems;
  const auto groups = load_rules(R"(
groups:
  - name: g
    interval: 1m
    limit: 7
    query_offset: 10s
    labels: {team: a, severity: low}
    rules:
      - alert: A
        expr: up == 0
        for: 1h30m
        keep_firing_for: 5m
        labels: {severity: high}
        annotations: {summary: "{{ $labels.x }}"}
      - record: a:b
        expr: sum(up)
  - name: empty
)",
                                 "f.yaml", problems);
  ASSERT_EQ(fmt::format("{}", fmt::join(problems, "\n")), "");
  ASSERT_EQ(groups.size(), 2u);
  const auto& g = groups[0];
  EXPECT_EQ(g.interval_ms, 60'000);
  EXPECT_EQ(g.limit, 7u);
  EXPECT_EQ(g.query_offset_ms, 10'000);
  ASSERT_EQ(g.rules.size(), 2u);
  EXPECT_EQ(g.rules[0].for_ms, 5'400'000);
  EXPECT_EQ(g.rules[0].keep_firing_for_ms, 300'000);
  ASSERT_EQ(g.rules[0].labels.size(), 2u);
  EXPECT_EQ(g.rules[0].labels[0].second.text(), "high");
  EXPECT_EQ(g.rules[0].labels[1].second.text(), "a");
  EXPECT_FALSE(g.rules[1].alert);
}

// Numbers as Go's reader of YAML takes them; promtool 2.42 says the same to each.
TEST(Load, LimitsAsPromtoolTakesThem) {
  const struct {
    const char* text;
    std::optional<std::size_t> want;
  } cases[] = {{"-1", 0},
               {"0x10", 16},
               {"-0x1", 0},
               {"0X1F", 31},
               {"1e3", 1000},
               {"1e+3", 1000},
               {"+5", 5},
               {"1_000", 1000},
               {"0_x1", 1},
               {"1__0", 10},
               {"1.5", 1},
               {"5.", 5},
               {".5", 0},
               {"017", 15},
               {"08", 8},
               {"0o17", 15},
               {"0b11", 3},
               {"~", 0},
               {"9223372036854775807", INT64_MAX},
               {"9223372036854775808", {}},
               {"1e30", {}},
               {"_1", {}},
               {"true", {}},
               {".inf", {}},
               {"1x", {}}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<std::string> problems;
    const auto groups = load_rules(
        fmt::format("groups: [{{name: g, limit: {}, rules: [{{record: a, expr: '1'}}]}}]", c.text), "f", problems);
    EXPECT_EQ(problems.empty(), c.want.has_value());
    if (c.want && problems.empty()) {
      EXPECT_EQ(groups.at(0).limit, *c.want);
    }
  }
}

TEST(Load, AThresholdHasASummaryUnlessItSaysOne) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "a is {{ $value }} (> 1)"},
      {", annotations: {runbook: b}", "a is {{ $value }} (> 1)"},
      {", annotations: {summary: b}", "b"},
      {", summary: b, annotations: {runbook: c}", "b"},
  };
  for (const auto& [more, want] : cases) {
    std::vector<std::string> problems;
    const auto groups =
        load_rules(fmt::format("thresholds: [{{metric: a, op: '>', value: 1{}}}]", more), "f", problems);
    ASSERT_TRUE(problems.empty()) << problems[0];
    const auto& annotations = groups.at(0).rules.at(0).annotations;
    const auto summary = std::ranges::find(annotations, "summary", [](const auto& a) { return a.first; });
    ASSERT_NE(summary, annotations.end()) << more;
    EXPECT_EQ(summary->second.text(), want);
  }
}

TEST(Load, WhatSaysNothingInARecordingRule) {
  const std::pair<const char*, bool> cases[] = {{"for: 0s", true},
                                                {"for: 0", true},
                                                {"for: ~", true},
                                                {"keep_firing_for: 0s", true},
                                                {"annotations: {}", true},
                                                {"annotations: ~", true},
                                                {"for: 5m", false},
                                                {"annotations: {a: b}", false},
                                                {"keep_firing_for: 1s", false}};
  for (const auto& [key, good] : cases) {
    std::vector<std::string> problems;
    load_rules(fmt::format("groups: [{{name: g, rules: [{{record: a, expr: '1', {}}}]}}]", key), "f", problems);
    EXPECT_EQ(problems.empty(), good) << key;
  }
}

TEST(Load, MergeKeys) {
  std::vector<std::string> problems;
  const auto groups = load_rules(R"(
groups:
  - name: g
    rules:
      - &base
        alert: A
        expr: up == 0
        labels: &common {team: storage, severity: critical}
      - <<: *base
        alert: B
        labels: {<<: *common, severity: warning}
)",
                                 "f.yaml", problems);
  ASSERT_EQ(fmt::format("{}", fmt::join(problems, "\n")), "");
  ASSERT_EQ(groups[0].rules.size(), 2u);
  const auto& b = groups[0].rules[1];
  EXPECT_EQ(b.name, "B");
  ASSERT_EQ(b.labels.size(), 2u);
  EXPECT_EQ(b.labels[0].second.text(), "warning");
  EXPECT_EQ(b.labels[1].second.text(), "storage");
}

// What is short and says much, and what is long: one line that says so, soon.
TEST(Load, Bombs) {
  const auto many = [](std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  std::string labels;
  for (int i = 0; i < 100'000; ++i) labels += fmt::format("l{}: x, ", i * 7919 % 100'003);
  const std::tuple<const char*, std::string, const char*> cases[] = {
      {"aliases",
       "x: &r {alert: A, expr: up}\ny: &g {name: n, rules: [" + many("*r,", 3000) + "]}\ngroups: [" +
           many("*g,", 3000) + "]",
       "more than 8 MiB with all aliases, expected less in one file"},
      {"labels", "groups: [{name: g, rules: [{alert: A, expr: up, labels: {" + labels + "}}]}]",
       "100000 names in labels, expected at most 1000"},
      {"lists", "groups: " + many("[", 10'000), "nested too deep"},
      {"NUL", std::string("groups: \"\\\0\"", 12), "control character 0x00, expected"},
  };
  for (const auto& [name, yaml, want] : cases) {
    SCOPED_TRACE(name);
    std::vector<std::string> problems;
    load_rules(yaml, "f.yaml", problems);
    const auto all = fmt::format("{}", fmt::join(problems, "\n"));
    EXPECT_LE(problems.size(), 5000u);
    EXPECT_NE(all.find(want), all.npos) << all.substr(0, 1000);
  }
}

TEST(Load, Files) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "vitald_rule_files";
  std::filesystem::create_directories(folder);
  for (const char* name : {"b.yaml", "a.yaml", "c.txt"}) std::ofstream(folder / name) << "";
  std::vector<std::string> problems;
  const auto files = find_rule_files({folder / "*.yaml", folder / "a.yaml", folder / "*.none"}, problems);
  EXPECT_EQ(files, (std::vector<std::string>{folder / "a.yaml", folder / "b.yaml"}));
  EXPECT_TRUE(problems.empty());
  find_rule_files({folder / "no.yaml", folder / "no/*.yaml"}, problems);
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0], (folder / "no.yaml: no such file, expected one or a glob like 'rules/*.yaml'").string());
  EXPECT_EQ(problems[1], (folder / "no/*.yaml: no folder '").string() + (folder / "no").string() +
                             "', expected one with rule files");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace vitald
