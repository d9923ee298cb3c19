// SPDX-License-Identifier: Apache-2.0
// Rackscope's check libraries: what is read, what is left out and told, and what objects become of results.
#include "rules/checks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "rules/promql/memory_source.h"
#include "tests/rules/corpus.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;
constexpr const char* kHost = "node-1:9100";

CheckLibrary library(std::string_view yaml, std::vector<std::string>* warnings = nullptr) {
  CheckLibrary out;
  std::vector<std::string> told;
  load_checks(yaml, "c.yaml", kHost, out, told);
  if (warnings) *warnings = told;
  else EXPECT_TRUE(told.empty()) << fmt::format("{}", fmt::join(told, "\n"));
  return out;
}

std::string check(std::string_view rules, std::string_view more = "",
                  std::string_view expr = "x{instance=~\\\"$instances\\\"}") {
  return fmt::format("checks:\n  - {{id: c, name: C, scope: node, expr: \"{}\", rules: [{}]{}}}\n", expr, rules, more);
}

constexpr std::string_view kWarnCrit = "{op: '>', value: 75, severity: WARN}, {op: '>', value: 90, severity: CRIT}";

// Cycle by cycle, five seconds apart.
class Cycles {
 public:
  explicit Cycles(std::string_view yaml) : checks_(library(yaml), kHost, source_, promql::Dialect::v3) {}
  // Series as text with their values; what is not named has ended.
  std::string cycle(const std::vector<std::pair<std::string, double>>& series) {
    now_ms_ += 5000;
    for (const auto& [text, was] : last_) end(text);
    for (const auto& [text, value] : series) {
      last_[text] = value;
      std::string error;
      promql::MemorySource one;
      EXPECT_TRUE(one.load(text + " 0", 1, error)) << error;
      source_.add(one.series()[0].labels, now_ms_, value);
    }
    checks_.evaluate(now_ms_, now_ms_);
    std::string out;
    const auto view = checks_.view();
    for (const auto& o : view->checks.at(0).objects)
      out += fmt::format("{}{}={}{}", out.empty() ? "" : " ", o.name, to_string(o.state),
                         o.pending ? fmt::format("({}?)", to_string(*o.pending)) : "");
    return out;
  }
  Checks& checks() { return checks_; }

 private:
  void end(const std::string& text) {
    std::string error;
    promql::MemorySource one;
    one.load(text + " 0", 1, error);
    source_.add(one.series()[0].labels, now_ms_ - 1, promql::stale_marker());
  }
  promql::MemorySource source_;
  Checks checks_;
  std::map<std::string, double> last_;
  std::int64_t now_ms_ = 1'000'000;
};

const std::string kX = R"(x{instance="node-1:9100"})";

TEST(Checks, FromResultToState) {
  struct Case {
    const char* name;
    std::string yaml;
    std::vector<std::pair<std::string, double>> series;
    std::string want;
  };
  const auto of = [](const char* labels) { return fmt::format("x{{instance=\"node-1:9100\", {}}}", labels); };
  const std::string core = ", expand_by_label: core";
  const Case cases[] = {
      {"below", check(kWarnCrit), {{kX, 70}}, "node-1:9100=OK"},
      {"above one", check(kWarnCrit), {{kX, 80}}, "node-1:9100=WARN"},
      {"above both: the most severe", check(kWarnCrit), {{kX, 95}}, "node-1:9100=CRIT"},
      {"unknown is worse than ok",
       check("{op: '==', value: 3, severity: UNKNOWN}, {op: '>', value: 0, severity: OK}"),
       {{kX, 3}},
       "node-1:9100=UNKNOWN"},
      {"no number", check(kWarnCrit), {{kX, std::nan("")}}, "node-1:9100=OK"},
      {"no number, and not equal",
       check("{op: '!=', value: 1, severity: CRIT}"),
       {{kX, std::nan("")}},
       "node-1:9100=CRIT"},
      {"a number in quotes", check("{op: '==', value: '0', severity: CRIT}"), {{kX, 0}}, "node-1:9100=CRIT"},
      {"the worst series",
       check(kWarnCrit),
       {{of("s=\"1\""), 10}, {of("s=\"2\""), 95}, {of("s=\"3\""), 80}},
       "node-1:9100=CRIT"},
      {"no result", check(kWarnCrit), {}, "node-1:9100=UNKNOWN"},
      {"another host", check(kWarnCrit), {{R"(x{instance="node-12:9100"})", 95}}, "node-1:9100=UNKNOWN"},
      {"a host whose name fits as a pattern",
       check(kWarnCrit),
       {{R"(x{instance="node-1:91000"})", 95}},
       "node-1:9100=UNKNOWN"},
      {"its own label",
       check(kWarnCrit, ", selectors: [gpu]"),
       {{of("gpu=\"0\""), 95}, {of("gpu=\"1\""), 5}, {kX, 99}},
       "0=CRIT 1=OK"},
      {"a rack",
       "checks: [{id: c, name: C, scope: rack, expr: 'x{rack_id=~\"$racks\"}', rules: [{op: '>', value: 1, severity: "
       "WARN}]}]",
       {{R"(x{rack_id="r1"})", 2}, {R"(x{rack_id="r2"})", 0}},
       "r1=WARN r2=OK"},
      {"a rack nobody knows",
       "checks: [{id: c, name: C, scope: rack, expr: 'x{rack_id=~\"$racks\"}', rules: []}]",
       {},
       ""},
      {"virtual nodes",
       check(kWarnCrit, core),
       {{of("core=\"0\""), 10}, {of("core=\"1\""), 95}},
       "node-1:9100=CRIT node-1:9100:core0=OK node-1:9100:core1=CRIT"},
      {"too few critical ones",
       check(kWarnCrit, core + ", expand_crit_threshold: 2"),
       {{of("core=\"0\""), 10}, {of("core=\"1\""), 95}},
       "node-1:9100=WARN node-1:9100:core0=OK node-1:9100:core1=CRIT"},
      {"enough critical ones",
       check(kWarnCrit, core + ", expand_crit_threshold: 2"),
       {{of("core=\"0\""), 99}, {of("core=\"1\""), 95}},
       "node-1:9100=CRIT node-1:9100:core0=CRIT node-1:9100:core1=CRIT"},
      {"one that only discovery knows",
       check(kWarnCrit, core + ", expand_discovery_expr: all, expand_absent_state: WARN"),
       {{of("core=\"0\""), 1},
        {R"(all{instance="node-1:9100", core="0"})", 1},
        {R"(all{instance="node-1:9100", core="1"})", 1}},
       "node-1:9100=WARN node-1:9100:core0=OK node-1:9100:core1=WARN"},
      {"a scalar", check("{op: '>', value: 1, severity: CRIT}", "", "scalar(x)"), {{kX, 7}}, "node-1:9100=CRIT"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(Cycles(c.yaml).cycle(c.series), c.want);
  }
}

TEST(Checks, AFailureMustLast) {
  Cycles run(check(kWarnCrit, ", for: 10s"));
  const struct {
    double value;
    const char* want;
  } cycles[] = {
      {10, "node-1:9100=OK"},   {80, "node-1:9100=OK(WARN?)"},   {80, "node-1:9100=OK(WARN?)"},
      {80, "node-1:9100=WARN"}, {80, "node-1:9100=WARN"},        {95, "node-1:9100=WARN(CRIT?)"},
      {80, "node-1:9100=WARN"}, {95, "node-1:9100=WARN(CRIT?)"}, {95, "node-1:9100=WARN(CRIT?)"},
      {95, "node-1:9100=CRIT"}, {10, "node-1:9100=OK"},          {95, "node-1:9100=OK(CRIT?)"},
  };
  for (const auto& c : cycles) EXPECT_EQ(run.cycle({{kX, c.value}}), c.want);
  // The first thing that is seen is a failure: nobody knows until it has lasted.
  Cycles fresh(check(kWarnCrit, ", for: 10s"));
  EXPECT_EQ(fresh.cycle({{kX, 95}}), "node-1:9100=UNKNOWN(CRIT?)");
}

TEST(Checks, SeriesAndReload) {
  const auto yaml = check(kWarnCrit, ", output: numeric, kind: server, for: 5s");
  Cycles run(yaml);
  run.cycle({{kX, 95}});
  run.cycle({{kX, 95}});
  std::string out;
  const auto write = [&out](const MetricDesc& desc, std::span<const std::string_view> labels, double value) {
    out += fmt::format("{}({}) {}; ", desc.name, fmt::join(labels, ","), value);
  };
  run.checks().each_series(write);
  EXPECT_EQ(out, "vitald_check_state(c,server,node,node-1:9100) 2; vitald_check_value(c,node-1:9100) 95; ");
  promql::MemorySource source;
  Checks next(library(yaml), kHost, source, promql::Dialect::v3),
      other(library(check("")), kHost, source, promql::Dialect::v3);
  next.adopt(run.checks());
  EXPECT_EQ(next.view()->checks[0].objects.at(0).state, CheckState::crit);
}

TEST(Checks, WhatDoesNotFitIsToldAndCostsItself) {
  struct Case {
    const char* name;
    std::string yaml;
    const char* want;  // nullptr: nothing
    std::size_t checks;
  };
  const std::string good = "  - {id: good, name: G, scope: node, expr: up, rules: []}\n";
  const auto with = [&](std::string_view one) { return fmt::format("checks:\n  - {}\n{}", one, good); };
  const Case cases[] = {
      {"unknown keys",
       "version: 2\n" + with("{id: a, name: A, scope: node, expr: up, severity: WARN, owner: {team: x}}"), nullptr, 2},
      {"nothing in it", "checks:\n", nullptr, 0},
      {"an empty file", "", nullptr, 0},
      {"kinds", "kinds:\n  ipmi:\n    - {id: a, name: A, scope: node, expr: up}\n", nullptr, 1},
      {"no scope", with("{id: a, name: A, expr: up}"), "c.yaml:2:5: no scope, expected one", 1},
      {"a scope that is none", with("{id: a, name: A, scope: room, expr: up}"),
       "c.yaml:2:29: scope: 'room', expected one of node, chassis, rack", 1},
      {"an expression that is none", with("{id: a, name: A, scope: node, expr: 'up{'}"), "c.yaml:2:41: expr: ", 1},
      {"a range", with("{id: a, name: A, scope: node, expr: 'up[5m]'}"),
       "c.yaml:2:41: expr gives a range vector, expected an instant vector", 1},
      {"a severity that is none",
       with("{id: a, name: A, scope: node, expr: up, rules: [{op: '>', value: 1, severity: BAD}]}"),
       "severity: 'BAD', expected one of OK, WARN, CRIT, UNKNOWN", 1},
      {"an operator that is none",
       with("{id: a, name: A, scope: node, expr: up, rules: [{op: '=>', value: 1, severity: OK}]}"),
       "op: '=>', expected one of == != > >= < <=", 1},
      {"an id twice", with("{id: good, name: A, scope: node, expr: up}"), "the check 'good' is there already", 1},
      {"no YAML", "checks: [", "c.yaml:", 0},
      {"no map", "- a\n", "c.yaml:1:1: the file is a list, expected checks: [...], kinds: {...} or metrics: [...]", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> warnings;
    const auto loaded = library(c.yaml, &warnings);
    EXPECT_EQ(loaded.checks.size(), c.checks);
    if (!c.want) EXPECT_TRUE(warnings.empty()) << warnings[0];
    else if (warnings.empty()) ADD_FAILURE() << "nothing told";
    else EXPECT_NE(warnings[0].find(c.want), std::string::npos) << warnings[0];
  }
}

TEST(Checks, NamesInExpressions) {
  const struct {
    const char *expr, *want;
  } cases[] = {
      {R"(up{instance=~"$instances"})", R"(up{instance=~"^(?:node-1:9100)$"})"},
      {R"(up{job=~"$jobs",rack_id=~"$racks"})", R"(up{job=~".*",rack_id=~".*"})"},
  };
  for (const auto& c : cases) {
    const auto loaded = library(fmt::format("checks: [{{id: a, name: A, scope: node, expr: '{}'}}]", c.expr));
    EXPECT_EQ(loaded.checks.at(0).text, c.want);
  }
  CheckLibrary dotted;
  std::vector<std::string> told;
  load_checks(R"(checks: [{id: a, name: A, scope: node, expr: 'up{instance=~"$instances"}'}])", "c", "a.b:1", dotted,
              told);
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(dotted.checks.at(0).text, R"(up{instance=~"^(?:a\\.b:1)$"})");
  const auto metrics = library(
      "metrics:\n  - id: p\n    name: Power\n    metric: ipmi_power_watts{instance=\"$instance\"}\n"
      "    display: {unit: W, thresholds: {warn: 300, crit: 400}}\n    tags: [power]\n");
  ASSERT_EQ(metrics.metrics.size(), 1U);
  EXPECT_EQ(metrics.metrics[0].expr, "ipmi_power_watts{instance=\"node-1:9100\"}");
  EXPECT_EQ(metrics.metrics[0].crit, 400);
  EXPECT_EQ(metrics.metrics[0].chart_type, "line");
}

TEST(Checks, RackscopesOwnLibrariesLoad) {
  const auto folder = corpus() / "rackscope";
  if (!fs::exists(folder)) GTEST_SKIP() << "no ../shared/corpus/rackscope beside the checkout";
  std::size_t checks = 0, metrics = 0;
  for (const auto* site : {"homelab", "small-cluster", "simple-room"}) {
    std::vector<std::string> problems, warnings;
    CheckLibrary all;
    for (const auto& file : find_check_files({(folder / site).string()}, problems)) {
      std::ifstream in(file);
      load_checks(std::string(std::istreambuf_iterator<char>(in), {}), file, kHost, all, warnings);
    }
    EXPECT_TRUE(problems.empty()) << problems[0];
    EXPECT_TRUE(warnings.empty()) << warnings[0];
    checks += all.checks.size();
    metrics += all.metrics.size();
  }
  EXPECT_EQ(checks, 30U);
  EXPECT_EQ(metrics, 4U);
}

}  // namespace
}  // namespace vitald
