// SPDX-License-Identifier: Apache-2.0
// Unit tests of rules in promtool's format: what passes, what does not and how that reads, and that Debian's promtool
// says the same.
#include "rules/unit/unit_test.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace vitald {
namespace {

constexpr char kRules[] = R"(groups:
- name: one
  interval: 10m
  rules:
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.i }} is {{ $value }} in {{ $externalLabels.dc }} {{ $externalURL }}"}
  - {record: up_total, expr: sum(up)}
- name: two
  rules:
  - {record: pending_total, expr: 'count(ALERTS{alertstate="pending"})'}
  - {record: since, expr: 'ALERTS_FOR_STATE{i="1"}'}
  - {alert: Empty, expr: empty, annotations: {summary: "", description: "x"}}
  - {alert: Slow, expr: 'avg by (i) (rate(work_total[5m])) < 1', keep_firing_for: 3m}
)";

struct Case {
  const char *name, *tests;
  const char* failures;  // empty: it passes
  bool promtool = true;  // Debian's says the same
  const char* every = "1m";
};
const Case kCases[] = {
    {"an alert that waits, fires and has its texts", R"_(
  external_labels: {dc: a}
  external_url: http://x/y
  input_series:
  - {series: 'up{i="1"}', values: '0x10'}
  - {series: 'up{i="2"}', values: '1 1 1 0x3 1x4'}
  alert_rule_test:
  - {eval_time: 1m, alertname: Down}
  - {eval_time: 119s, alertname: Down}
  - {eval_time: 2m, alertname: Down, exp_alerts: [{exp_labels: {severity: page, i: "1"}, exp_annotations: {summary: "1 is 0 in a http://x/y"}}]}
  - {eval_time: 5m, alertname: Down, exp_alerts: [
      {exp_labels: {severity: page, i: "2"}, exp_annotations: {summary: "2 is 0 in a http://x/y"}},
      {exp_labels: {severity: page, i: "1"}, exp_annotations: {summary: "1 is 0 in a http://x/y"}}]}
  - {eval_time: 8m, alertname: Down, exp_alerts: [{exp_labels: {severity: page, i: "1"}, exp_annotations: {summary: "1 is 0 in a http://x/y"}}]}
  - {eval_time: 8m, alertname: Nothing}
)_",
     ""},
    {"without a time it is the beginning, without values there is nothing", R"_(
  input_series:
  - {series: 'up{i="1"}', values: '7'}
  - {series: 'up{i="2"}'}
  alert_rule_test:
  - {alertname: Down}
  promql_expr_test:
  - {expr: up, exp_samples: [{labels: 'up{i="1"}', value: 7}]}
)_",
     ""},
    {"of a series that is given twice the last one counts", R"_(
  input_series:
  - {series: 'up{i="1", j="2"}', values: '1x10'}
  - {series: 'up{j="2", i="1"}', values: '5 6'}
  promql_expr_test:
  - {expr: up, eval_time: 1m, exp_samples: [{labels: 'up{i="1",j="2"}', value: 6}]}
  - {expr: 'count_over_time(up[10m])', eval_time: 4m, exp_samples: [{labels: '{i="1",j="2"}', value: 2}]}
)_",
     ""},
    {"an annotation may be empty, and is one", R"_(
  input_series:
  - {series: 'empty', values: '1x10'}
  alert_rule_test:
  - {eval_time: 1m, alertname: Empty, exp_alerts: [{exp_annotations: {summary: "", description: "x"}}]}
)_",
     ""},
    {"one that is empty is not none", R"_(
  input_series:
  - {series: 'empty', values: '1x10'}
  alert_rule_test:
  - {eval_time: 1m, alertname: Empty, exp_alerts: [{exp_annotations: {description: "x"}}]}
)_",
     R"(    alertname: Empty, time: 1m, 
        exp:[
            0:
              Labels:{alertname="Empty"}
              Annotations:{description="x"}
            ], 
        got:[
            0:
              Labels:{alertname="Empty"}
              Annotations:{description="x", summary=""}
            ])"},
    {"more points than anything looks at", R"_(
  input_series:
  - {series: 'up{i="1"}', values: '1+1x5000000 3'}
  promql_expr_test:
  - {expr: up, eval_time: 3m, exp_samples: [{labels: 'up{i="1"}', value: 4}]}
)_",
     "", false},  // promtool makes them all
    {"what rules record, and that it ends", R"_(
  input_series:
  - {series: 'up{i="1"}', values: '0 0 0 1 1 stale'}
  - {series: 'up{i="2"}', values: '1 1 1 1 1 stale'}
  promql_expr_test:
  - {expr: up_total, eval_time: 2m, exp_samples: [{labels: up_total, value: 1}]}
  - {expr: up_total, eval_time: 4m, exp_samples: [{labels: 'up_total{}', value: 2}]}
  - {expr: up_total, eval_time: 5m}
  - {expr: pending_total, eval_time: 1m, exp_samples: [{labels: pending_total, value: 1}]}
  - {expr: pending_total, eval_time: 2m}
  - {expr: since, eval_time: 2m, exp_samples: [{labels: 'since{alertname="Down",i="1",severity="page"}', value: 0}]}
  - {expr: 'ALERTS', eval_time: 2m, exp_samples: [{labels: 'ALERTS{alertname="Down",alertstate="firing",i="1",severity="page"}', value: 1}]}
  - {expr: 'scalar(up_total) + 1', eval_time: 3m, exp_samples: [{value: 3}]}
  - {expr: 'nothing', eval_time: 3m, exp_samples: []}
  - {expr: 'vector(-Inf)', eval_time: 3m, exp_samples: [{labels: '{}', value: -.Inf}]}
)_",
     ""},
    {"a subquery without a step has that of the evaluations", R"_(
  input_series: [{series: m, values: '1x10'}]
  promql_expr_test:
  - {expr: 'sum_over_time(m[210s:])', eval_time: 9m, exp_samples: [{labels: '{}', value: 2}]}
  - {expr: 'sum_over_time(m[210s:1m])', eval_time: 9m, exp_samples: [{labels: '{}', value: 4}]}
)_",
     "", true, "2m"},
    {"keeps firing", R"_(
  input_series:
  - {series: 'work_total{i="1"}', values: '0+30x10 1000+600x10'}
  alert_rule_test:
  - {eval_time: 6m, alertname: Slow, exp_alerts: [{exp_labels: {i: "1"}}]}
  - {eval_time: 13m, alertname: Slow, exp_alerts: [{exp_labels: {i: "1"}}]}
  - {eval_time: 20m, alertname: Slow}
)_",
     "", false},  // 2.42 does not know keep_firing_for
    {"an alert that does not fire", R"_(
  input_series: [{series: 'up{i="1"}', values: '1x10'}]
  alert_rule_test:
  - {eval_time: 5m, alertname: Down, exp_alerts: [{exp_labels: {i: "1"}, exp_annotations: {summary: "s"}}]}
)_",
     R"_(    alertname: Down, time: 5m, 
        exp:[
            0:
              Labels:{alertname="Down", i="1"}
              Annotations:{summary="s"}
            ], 
        got:[])_"},
    {"another text", R"_(
  name: texts
  input_series: [{series: 'up{i="1"}', values: '0x10'}]
  alert_rule_test:
  - {eval_time: 5m, alertname: Down, exp_alerts: [{exp_labels: {i: "1", severity: page}}]}
)_",
     R"_(    name: texts,
    alertname: Down, time: 5m, 
        exp:[
            0:
              Labels:{alertname="Down", i="1", severity="page"}
              Annotations:{}
            ], 
        got:[
            0:
              Labels:{alertname="Down", i="1", severity="page"}
              Annotations:{summary="1 is 0 in  "}
            ])_"},
    {"another value", R"_(
  input_series: [{series: 'up{i="1"}', values: '1x10'}]
  promql_expr_test:
  - {expr: 'up / 8', eval_time: 5m, exp_samples: [{labels: '{i="1"}', value: 0.25}, {labels: '{i="2"}', value: 1}]}
)_",
     R"_(    expr: "up / 8", time: 5m,
        exp: {i="1"} 2.5E-01, {i="2"} 1E+00
        got: {i="1"} 1.25E-01)_"},
    {"nothing", R"_(
  promql_expr_test:
  - {expr: 'vector(1)', eval_time: 70s}
)_",
     R"_(    expr: "vector(1)", time: 1m10s,
        exp: nil
        got: {} 1E+00)_"},
    {"no vector", R"_(
  promql_expr_test:
  - {expr: '"x"', eval_time: 1m}
)_",
     R"_(    expr: "\"x\"", time: 1m, err: rule result is not a vector or scalar)_"},
    {"no expression", R"_(
  promql_expr_test:
  - {expr: '1 +', eval_time: 1m}
)_",
     R"_(    expr: "1 +", time: 1m, err: 1:4: the expression ends; expected a metric, a number, a function or '(')_"},
    {"numbers as Go reads them", R"_(
  input_series:
  - {series: 'n', values: '017 08 017.5 -017 +017 017+010x2 00 01e1 inf -Inf 5. .5'}
  promql_expr_test:
  - {expr: n, eval_time: 0m, exp_samples: [{labels: n, value: 15}]}
  - {expr: n, eval_time: 1m, exp_samples: [{labels: n, value: 08}]}
  - {expr: n, eval_time: 2m, exp_samples: [{labels: n, value: 017.5}]}
  - {expr: n, eval_time: 3m, exp_samples: [{labels: n, value: -017}]}
  - {expr: n, eval_time: 4m, exp_samples: [{labels: n, value: 0o17}]}
  - {expr: n, eval_time: 7m, exp_samples: [{labels: n, value: 0x1F}]}
  - {expr: n, eval_time: 8m, exp_samples: [{labels: n, value: 0b0}]}
  - {expr: n, eval_time: 9m, exp_samples: [{labels: n, value: 1_0}]}
  - {expr: n, eval_time: 10m, exp_samples: [{labels: n, value: +.inf}]}
  - {expr: n, eval_time: 11m, exp_samples: [{labels: n, value: -.inf}]}
  - {expr: n, eval_time: 12m, exp_samples: [{labels: n, value: 5}]}
)_",
     ""},
    {"native histograms", R"_(
  input_series:
  - {series: 'h', values: '{{schema:0 count:4 sum:5 buckets:[1 2 1]}}+{{count:2 sum:1 buckets:[1 1]}}x5'}
  promql_expr_test:
  - {expr: h, eval_time: 1m, exp_samples: [{labels: h, histogram: '{{schema:0 count:6 sum:6 buckets:[2 3 1]}}'}]}
  - {expr: 'histogram_count(h)', eval_time: 2m, exp_samples: [{labels: '{}', value: 8}]}
  - {expr: h, eval_time: 0m, exp_samples: [{labels: h, histogram: '{{count:5}}'}]}
)_",
     R"_(    expr: "h", time: 0s,
        exp: {__name__="h"} {{count:5}}
        got: {__name__="h"} {{count:4 sum:5 buckets:[1 2 1]}})_",
     false},
    {"a time to begin at", R"_(
  start_timestamp: 2021-01-01T01:00:00+01:00
  input_series: [{series: 'x', values: '1 2 3'}]
  promql_expr_test:
  - {expr: 'time()', eval_time: 1m, exp_samples: [{value: 1609459260}]}
  - {expr: 'x', eval_time: 1m, exp_samples: [{labels: x, value: 2}]}
)_",
     "", false},
};

struct Folder {
  Folder() : path(fmt::format("{}/unit-{}", testing::TempDir(), getpid())) {
    std::filesystem::create_directories(path);
    std::ofstream(path + "/rules.yaml") << kRules;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& text) const {
    std::ofstream(path + "/test.yaml") << text;
    return path + "/test.yaml";
  }
  std::string path;
};

std::string yaml_of(const Case& c) {  // without an order promtool takes the groups as they come
  return fmt::format(
      "rule_files: [rules.yaml]\nevaluation_interval: {}\ngroup_eval_order: [one, two]\ntests:\n- interval: 1m{}",
      c.every, c.tests);
}

TEST(UnitTests, SayWhatCameOut) {
  const Folder folder;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto report = run_unit_tests(folder.file(yaml_of(c)));
    EXPECT_EQ(fmt::format("{}", fmt::join(report.problems, "\n")), "");
    EXPECT_EQ(fmt::format("{}", fmt::join(report.failures, "\n")), c.failures);
    EXPECT_GT(report.tests, 0u);
  }
}

TEST(UnitTests, PromtoolSaysTheSame) {
  if (access("/usr/bin/promtool", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/promtool (Debian package prometheus)";
  const Folder folder;
  // 2.42 knows neither keep_firing_for nor histograms.
  std::string rules = kRules;
  rules.erase(rules.find(", keep_firing_for: 3m"), std::string_view(", keep_firing_for: 3m").size());
  std::ofstream(folder.path + "/rules.yaml") << rules;
  for (const auto& c : kCases) {
    if (!c.promtool) continue;
    SCOPED_TRACE(c.name);
    const auto file = folder.file(yaml_of(c));
    const int rc = std::system(fmt::format("/usr/bin/promtool test rules {} >{}/out 2>&1", file, folder.path).c_str());
    EXPECT_EQ(WEXITSTATUS(rc), *c.failures ? 1 : 0);
    EXPECT_EQ(run_unit_tests(file, {.dialect = promql::Dialect::v2}).passed(), rc == 0);
  }
}

TEST(UnitTests, OrderOfGroupsAndTheLastBits) {
  const Folder folder;
  std::ofstream(folder.path + "/rules.yaml") << R"(groups:
- {name: a, rules: [{record: x, expr: count(y)}]}
- {name: b, rules: [{record: y, expr: vector(time())}]}
)";
  const auto at_zero = R"(
tests:
- promql_expr_test:
  - {expr: x, eval_time: 0m, exp_samples: [{labels: x, value: 1}]}
)";
  EXPECT_FALSE(run_unit_tests(folder.file(std::string("rule_files: [rules.yaml]") + at_zero)).passed());
  EXPECT_TRUE(run_unit_tests(folder.file(std::string("rule_files: [rules.yaml]\ngroup_eval_order: [b, a]") + at_zero))
                  .passed());
  const auto sum = R"(
tests:
- promql_expr_test:
  - {expr: 'vector(0.1 + 0.2)', eval_time: 0m, exp_samples: [{labels: '{}', value: 0.3}]}
)";
  EXPECT_FALSE(run_unit_tests(folder.file(sum)).passed());
  EXPECT_TRUE(run_unit_tests(folder.file(std::string("fuzzy_compare: true") + sum)).passed());
}

TEST(UnitTests, HistogramsInTextsAndNamesOfAnyText) {
  Folder folder;
  std::ofstream(folder.path + "/odd.yaml") << R"_(
groups:
- name: g
  rules:
  - {alert: Hist, expr: h, annotations: {v: 'it is {{ $value }}'}}
  - {alert: Number, expr: 'up > 0', annotations: {v: '{{ $value | humanize }}'}}
  - {record: my.metric, expr: sum(up)}
)_";
  const auto report = run_unit_tests(folder.file(R"_(
rule_files: [odd.yaml]
tests:
- interval: 1m
  input_series:
  - {series: h, values: '{{schema:0 count:3 sum:4 buckets:[1 2]}}x5'}
  - {series: up, values: '1500x5'}
  alert_rule_test:
  - eval_time: 1m
    alertname: Hist
    exp_alerts:
    - exp_annotations:
        v: 'it is {count:3, sum:4, (0.5,1]:1, (1,2]:2}'
  - {eval_time: 1m, alertname: Number, exp_alerts: [{exp_annotations: {v: 1.5k}}]}
  promql_expr_test:
  - {expr: '{"my.metric"}', eval_time: 2m, exp_samples: [{labels: '{"my.metric"}', value: 1500}]}
)_"));
  EXPECT_TRUE(report.problems.empty()) << report.problems[0];
  for (const auto& f : report.failures) ADD_FAILURE() << f;
}

TEST(UnitTests, BadFiles) {
  const Folder folder;
  struct Row {
    const char *name, *yaml, *problem;
  };
  const Row rows[] = {
      {"no YAML", "tests: [", "test.yaml:1:1: end of sequence flow not found"},
      {"unknown key", "tets: []", "test.yaml:1:1: unknown key 'tets', expected 'tests'?"},
      {"no points", "tests: [{input_series: [{series: x, values: '1 q'}]}]",
       "values: 'q' is no point, expected e.g. 1, 1+2x3, _, stale or {{count:1}}"},
      {"a number in another base", "tests: [{input_series: [{series: x, values: '0o17'}]}]",
       "values: '0o17' is no point, expected e.g. 1, 1+2x3, _, stale or {{count:1}}"},
      {"infinity in full", "tests: [{input_series: [{series: x, values: 'infinity'}]}]",
       "values: 'infinity' is no point, expected e.g. 1, 1+2x3, _, stale or {{count:1}}"},
      {"no series", "tests: [{input_series: [{series: 'x{', values: '1'}]}]",
       "'x{' is no series, expected e.g. up{job=\"x\"}"},
      {"no duration", "tests: [{alert_rule_test: [{eval_time: 1x, alertname: a}]}]",
       "eval_time: '1x' is not a duration, expected e.g. 30s, 5m, 1h30m"},
      {"no time", "tests: [{start_timestamp: noon}]",
       "'noon' is no time, expected seconds since 1970 or e.g. 2021-01-01T00:00:00Z"},
      {"no histogram",
       "tests: [{promql_expr_test: [{expr: x, eval_time: 1m, exp_samples: [{histogram: '{{schema:9}}'}]}]}]",
       "schema:9, expected -4 to 8, or -53"},
      {"a bad rule", "rule_files: [bad.yaml]\ntests: []", "bad.yaml:1:50: expr: the expression ends"},
  };
  std::ofstream(folder.path + "/bad.yaml") << "groups: [{name: a, rules: [{record: x, expr: '1 +'}]}]\n";
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto report = run_unit_tests(folder.file(row.yaml));
    EXPECT_FALSE(report.passed());
    ASSERT_FALSE(report.problems.empty());
    EXPECT_NE(report.problems[0].find(row.problem), std::string::npos) << report.problems[0];
  }
  EXPECT_EQ(run_unit_tests(folder.file("rule_files: [none.yaml]")).warnings,
            std::vector{"no file match pattern " + folder.path + "/none.yaml: none of its rules is tested"});
  EXPECT_FALSE(run_unit_tests(folder.path + "/none.yaml").problems.empty());
}

}  // namespace
}  // namespace vitald
