// SPDX-License-Identifier: Apache-2.0
#include "rules/engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/clock.h"
#include "rules/history/store.h"
#include "rules/promql/eval.h"
#include "rules/promql/parser.h"
#include "tests/rules/corpus.h"
#include "tests/rules/rule_machine.h"

namespace vitald {
namespace {

using Machine = RuleMachine;

TEST(Engine, AlertGoesThroughItsStates) {
  Machine m(R"(
groups:
  - name: g
    rules:
      - alert: Hot
        expr: temp > 70
        for: 10s
        labels: {severity: warning, where: "{{ $labels.device }}"}
        annotations: {summary: '{{ $labels.device }} is {{ printf "%.1f" $value }}'}
)");
  EXPECT_EQ(m.cycle({{"temp", "a", 60}}), "");
  const auto active = std::to_string((m.clock.wall + 5'000'000'000) / 1'000'000'000);
  const std::string labels = R"(alertname="Hot",)", rest = R"(device="a",severity="warning",where="a"})";
  EXPECT_EQ(m.cycle({{"temp", "a", 71}}), "ALERTS_FOR_STATE{" + labels + rest + " " + active + "\nALERTS{" + labels +
                                              R"(alertstate="pending",)" + rest + " 1");
  EXPECT_EQ(m.transitions(), "");
  EXPECT_NE(m.cycle({{"temp", "a", 72}}).find("pending"), std::string::npos);
  EXPECT_NE(m.cycle({{"temp", "a", 73}}).find("firing"), std::string::npos);
  EXPECT_EQ(m.transitions(), "Hot+a ");
  const auto view = m.engine->view();
  ASSERT_EQ(view->groups.at(0).rules.at(0).alerts.size(), 1u);
  EXPECT_EQ(view->groups[0].rules[0].alerts[0].annotations.at("summary"), "a is 73.0");
  EXPECT_EQ(view->groups[0].rules[0].health, "ok");
  EXPECT_EQ(view->groups[0].rules[0].state, AlertState::firing);
  EXPECT_EQ(m.cycle({{"temp", "a", 65}}), "");
  EXPECT_EQ(m.transitions(), "Hot-a ");
  // Active again is a new alert that waits again.
  EXPECT_NE(m.cycle({{"temp", "a", 80}}).find("pending"), std::string::npos);
  // Gone with its series: a pending alert ends without a word.
  EXPECT_EQ(m.cycle({}), "");
  EXPECT_EQ(m.transitions(), "");
}

// Also while nothing is recorded and nothing fires.
TEST(Engine, WhatIsItsOwn) {
  const Machine m("groups: [{name: g, rules: [{alert: A, expr: x > 0}, {record: 'job:x', expr: x}]}]");
  EXPECT_EQ(m.engine->own_families(), (std::set<std::string, std::less<>>{"ALERTS", "ALERTS_FOR_STATE", "job:x"}));
}

// Receivers keep it: it must not change with a build or a library.
TEST(Engine, FingerprintsAreAlertmanagers) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  struct Case {
    Pairs labels;
    std::uint64_t want;
  };
  const Case cases[] = {
      {{}, 14695981039346656037U},
      {{{"name", "garland, briggs"}, {"fear", "love is not enough"}}, 5799056148416392346U},
      {{{"alertname", "TooHot"}, {"device", "a"}}, 7381211183411354426U},
  };
  for (const auto& c : cases) EXPECT_EQ(promql::Labels(c.labels).fingerprint(), c.want) << c.want;
  Machine m("groups: [{name: g, rules: [{alert: TooHot, expr: x > 0}]}]");
  m.cycle({{"x", "a", 1}});
  EXPECT_EQ(m.engine->view()->groups[0].rules[0].alerts.at(0).fingerprint, 7381211183411354426U);
}

TEST(Engine, KeepFiringFor) {
  Machine m("groups: [{name: g, rules: [{alert: A, expr: x > 0, keep_firing_for: 12s}]}]");
  m.cycle({{"x", "", 1}});
  EXPECT_EQ(m.transitions(), "A+ ");
  for (int i = 0; i < 3; ++i) EXPECT_NE(m.cycle({{"x", "", 0}}).find("firing"), std::string::npos) << i;
  EXPECT_EQ(m.cycle({{"x", "", 0}}), "");
  EXPECT_EQ(m.transitions(), "A- ");
}

TEST(Engine, ReloadKeepsStateOfUnchangedRules) {
  const std::string kept =
      "groups: [{name: g, rules: [{alert: A, expr: x > 0}, {alert: C, expr: 'rate(x[1m]) > 0', for: 1m}";
  Machine m(kept + ", {alert: B, expr: x > 0}]}]");
  m.cycle({{"x", "", 1}});
  EXPECT_EQ(m.transitions(), "A+ B+ ");
  m.cycle({{"x", "", 2}});
  m.reload(kept + "]}]");
  EXPECT_EQ(m.transitions(), "B- ");
  const auto text = m.cycle({{"x", "", 3}});
  EXPECT_EQ(m.transitions(), "");
  EXPECT_NE(text.find(R"(ALERTS{alertname="C",alertstate="pending"} 1)"), std::string::npos)
      << "history is kept: " << text;
}

// An evaluation that fails changes no alert and sends nothing.
TEST(Engine, FailedEvaluationChangesNoAlert) {
  Machine m(R"(
groups:
  - {name: limited, limit: 2, rules: [{alert: L, expr: x > 0}]}
  - {name: twins, rules: [{alert: T, expr: y > 0, labels: {device: ""}}]}
  - {name: kept, limit: 2, rules: [{alert: K, expr: x > 0, keep_firing_for: 1m}]}
)");
  m.cycle({{"x", "a", 1}, {"y", "a", 1}});
  EXPECT_EQ(m.transitions(), "L+a T+ K+a ");
  const auto state = m.cycle({{"x", "a", 1}, {"y", "a", 1}});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(m.cycle({{"x", "b", 1}, {"x", "c", 1}, {"x", "d", 1}, {"y", "a", 1}, {"y", "b", 1}}), state);
  EXPECT_EQ(m.transitions(), "");
  const auto view = m.engine->view();
  EXPECT_EQ(view->groups[0].rules[0].health, "err");
  EXPECT_EQ(view->groups[0].rules[0].last_error, "3 alerts, more than the group's limit of 2; they stay as they were");
  EXPECT_EQ(view->groups[0].rules[0].alerts.size(), 1u);
  EXPECT_EQ(view->groups[1].rules[0].health, "err");
  EXPECT_EQ(view->groups[2].rules[0].last_error, "4 alerts, more than the group's limit of 2; they stay as they were")
      << "those that are kept firing count";
  // It goes on from where it was.
  m.cycle({{"x", "b", 1}, {"y", "a", 1}});
  EXPECT_EQ(m.transitions(), "L-a L+b K+b ");
  EXPECT_EQ(m.engine->view()->groups[0].rules[0].health, "ok");
}

// What makes an alert the same one: its name and labels, wherever its rule stands and whatever else was edited.
TEST(Engine, ReloadKeepsAlertsOfEditedRules) {
  struct Case {
    const char *name, *before, *after, *told, *label = nullptr;
    bool kept = true;
  };
  const Case cases[] = {
      {"threshold", "{alert: A, expr: x > 80, for: 10s}", "{alert: A, expr: x > 75, for: 10s}", ""},
      {"expression", "{alert: A, expr: x > 80}", "{alert: A, expr: 'sum by (device) (x) >= 90'}", ""},
      {"not true any more", "{alert: A, expr: x > 80}", "{alert: A, expr: x > 95}", "A- ", nullptr, false},
      {"annotations", "{alert: A, expr: x > 80}", "{alert: A, expr: x > 80, annotations: {a: b}}", ""},
      {"longer for", "{alert: A, expr: x > 80}", "{alert: A, expr: x > 80, for: 1h}", ""},
      {"moved in its group", "{alert: A, expr: x > 80}, {alert: B, expr: x > 99}",
       "{alert: B, expr: x > 99}, {alert: A, expr: x > 80}", ""},
      {"moved to another group", "{alert: A, expr: x > 80}",
       "{alert: B, expr: x > 99}]}, {name: other, rules: [{alert: A, expr: x > 85}", ""},
      {"twins are told apart by their expression",
       "{alert: A, expr: x > 99, labels: {l: a}}, {alert: A, expr: x > 80, labels: {l: a}}",
       "{alert: A, expr: x > 80, labels: {l: a}}, {alert: A, expr: x > 99, labels: {l: a}}", ""},
      {"a label's text, not its value", "{alert: A, expr: x > 80, labels: {l: a}}",
       "{alert: A, expr: x > 80, labels: {l: '{{ if true }}a{{ end }}'}}", "", "a"},
      // Another alert to whoever was told of it, but no other trouble: no second `for`.
      {"a label's value", "{alert: A, expr: x > 80, for: 10s, labels: {l: a}}",
       "{alert: A, expr: x > 80, for: 10s, labels: {l: b}}", "A- A+ ", "b"},
      {"a label more", "{alert: A, expr: x > 80, for: 10s}", "{alert: A, expr: x > 80, for: 10s, labels: {l: b}}",
       "A- A+ ", "b"},
      {"renamed", "{alert: A, expr: x > 80}", "{alert: B, expr: x > 80}", "A- B+ ", nullptr, false},
      {"gone", "{alert: A, expr: x > 80}", "{alert: B, expr: x > 99}", "A- ", nullptr, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto file = [](const char* rules) { return fmt::format("groups: [{{name: g, rules: [{}]}}]", rules); };
    Machine m(file(c.before));
    const auto since = [&] {
      const auto view = m.engine->view();
      for (const auto& g : view->groups)
        for (const auto& r : g.rules)
          for (const auto& a : r.alerts) {
            EXPECT_EQ(a.state, AlertState::firing);
            return a.active_at_ms;
          }
      return std::int64_t{0};
    };
    for (int i = 0; i < 4; ++i) m.cycle({{"x", "", 90}});
    EXPECT_EQ(m.transitions(), "A+ ");
    const auto first = since();
    m.reload(file(c.after));
    m.cycle({{"x", "", 90}});
    EXPECT_EQ(m.transitions(), c.told);
    EXPECT_EQ(since() == first, c.kept);
    const auto view = m.engine->view();
    for (const auto& r : view->groups[0].rules)
      for (const auto& a : r.alerts) EXPECT_TRUE(!c.label || a.labels.at("l") == c.label);
    m.cycle({{"x", "", 90}});
    EXPECT_EQ(m.transitions(), "");
  }
}

// What is over is told with the value that ended it, where the expression has a condition to look behind.
TEST(Engine, ResolvedCarriesTheNewValue) {
  struct Case {
    const char *expr, *summary;
  };
  const Case cases[] = {
      {"x > 80", "is 70"},
      {"80 < x", "is 70"},
      {"(x > 80) and on () (y == 1)", "is 70"},
      {"(z > 1) or (x > 80)", "is 70"},
      {"x / 2 > 40 unless y == 2", "is 35"},
      {"max by (device) (x) > 80", "is 70"},
      {"count by (device) (x > 80)", "is 1"},  // nothing to look behind: the last one
      {"x > bool 80 == 1", "is 0"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.expr);
    Machine m(
        fmt::format("groups: [{{name: g, rules: [{{alert: A, expr: '{}', labels: {{severity: '{{{{ if gt "
                    "$value 1000.0 }}}}high{{{{ else }}}}low{{{{ end }}}}'}}, annotations: {{s: 'is {{{{ $value "
                    "}}}}'}}}}]}}]",
                    c.expr));
    m.cycle({{"x", "a", 90}, {"x", "b", 20}, {"y", "", 1}});
    EXPECT_EQ(m.transitions(), "A+a ");
    m.cycle({{"x", "a", 70}, {"x", "b", 30}, {"y", "", 1}});
    const auto told = m.engine->take_transitions();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_FALSE(told[0].firing);
    EXPECT_EQ(told[0].alert.annotations.at("s"), c.summary);
  }
  // With its series gone there is no new value.
  Machine m("groups: [{name: g, rules: [{alert: A, expr: x > 80}]}]");
  m.cycle({{"x", "a", 90}});
  m.engine->take_transitions();
  m.cycle({});
  const auto told = m.engine->take_transitions();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].alert.value, 90);
}

// Durations are not of the wall clock, and an alert never ends before it began.
TEST(Engine, ClockSetBack) {
  Machine m("groups: [{name: g, rules: [{alert: A, expr: x > 0, for: 12s}]}]");
  m.cycle({{"x", "", 1}});
  m.clock.wall -= 3'600'000'000'000;
  m.cycle({{"x", "", 1}});
  EXPECT_EQ(m.transitions(), "");
  m.cycle({{"x", "", 1}});
  m.clock.wall -= 3'600'000'000'000;
  m.cycle({{"x", "", 1}});
  EXPECT_EQ(m.transitions(), "A+ ");
  m.cycle({{"x", "", 0}});
  const auto told = m.engine->take_transitions();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_GE(told[0].alert.fired_at_ms, told[0].alert.active_at_ms);
  EXPECT_GE(told[0].alert.resolved_at_ms, told[0].alert.fired_at_ms);
}

// ALERTS has each label once and each series once, whatever the alerts were made from.
TEST(Engine, AlertsOnAlerts) {
  Machine m(R"(
groups:
  - name: g
    rules:
      - {alert: Base, expr: x > 0}
      - {alert: Slow, expr: x > 0, for: 1h}
      - {alert: Meta, expr: 'ALERTS{alertname="Base"} == 1'}
      - {alert: Own, expr: x > 0, labels: {alertstate: mine, alertname: other}}
      - {alert: Both, expr: 'ALERTS{alertname=~"Base|Slow"}'}
      - {alert: Twice, expr: x > 0}
      - {alert: Twice, expr: x > 0}
)");
  const std::vector<Machine::Row> rows = {{"x", "", 1}};
  m.cycle(rows);
  const auto text = m.cycle(rows);
  std::string alerts;
  for (auto rest = std::string_view(text); !rest.empty();)
    if (const auto line = take_line(rest); line.starts_with("ALERTS{")) alerts += std::string(line) + '\n';
  EXPECT_EQ(alerts, R"(ALERTS{alertname="Base",alertstate="firing"} 1
ALERTS{alertname="Both",alertstate="firing"} 1
ALERTS{alertname="Meta",alertstate="firing"} 1
ALERTS{alertname="Own",alertstate="firing"} 1
ALERTS{alertname="Slow",alertstate="pending"} 1
ALERTS{alertname="Twice",alertstate="firing"} 1
)");
  EXPECT_NE(text.find(R"(ALERTS_FOR_STATE{alertname="Own",alertstate="mine"} )"), text.npos) << text;
  EXPECT_EQ(m.transitions(), "Base+ Own+ Twice+ Twice+ Meta+ Both+ Both+ ");
}

// One bad template costs its text, in Prometheus' words, and nothing else.
TEST(Engine, BadTemplatesCostThemselves) {
  RuleSettings settings;
  settings.external_labels = {{"site", "lab"}};
  settings.external_url = "http://host:9100";
  Machine m(R"(
groups:
  - name: g
    rules:
      - {alert: Parse, expr: x > 0, annotations: {bad: '{{ humanise $value }}', good: '{{ $value }}'}}
      - {alert: Run, expr: x > 0, annotations: {bad: '{{ $value.x }}', good: '{{ $labels.device }}'}}
      - {alert: Label, expr: x > 0, labels: {severity: '{{ nosuch }}'}}
      - {alert: Good, expr: x > 0, annotations: {out: '{{ externalURL }} {{ $externalLabels.site }}'}}
      - alert: Asks
        expr: x > 0
        annotations: {out: '{{ range query "y" | sortByLabel "device" }}{{ .Labels.device }}={{ .Value }} {{ end }}'}
)",
            settings);
  m.cycle({{"x", "a", 1}, {"y", "b", 2}, {"y", "a", 3}});
  EXPECT_EQ(m.transitions(), "Parse+a Run+a Label+a Good+a Asks+a ");
  const auto rules = m.engine->view()->groups.at(0).rules;
  const auto text = [&](std::size_t rule, const char* name) {
    return rules.at(rule).alerts.at(0).annotations.at(name);
  };
  EXPECT_EQ(text(0, "bad"),
            "<error expanding template: error parsing template __alert_Parse: template: __alert_Parse:1: function "
            "\"humanise\" not defined>");
  EXPECT_EQ(text(0, "good"), "1");
  EXPECT_EQ(text(1, "bad"),
            "<error expanding template: error executing template __alert_Run: template: __alert_Run:1:121: executing "
            "\"__alert_Run\" at <$value.x>: can't evaluate field x in type float64>");
  EXPECT_EQ(text(1, "good"), "a");
  EXPECT_EQ(rules[2].alerts[0].labels.at("severity").substr(0, 26), "<error expanding template:");
  EXPECT_EQ(text(3, "out"), "http://host:9100 lab");
  EXPECT_EQ(text(4, "out"), "a=3 b=2 ");
  // An alert is known by its labels: a bad one is an error of the rule, a bad annotation only a word about it.
  std::string health;
  for (const auto& r : rules) health += std::string(r.health) + (r.last_error.empty() ? " " : "! ");
  EXPECT_EQ(health, "ok! ok! err! ok ok ");
  ASSERT_EQ(m.engine->warnings().size(), 2u);
  EXPECT_NE(m.engine->warnings()[0].find(":5:56: bad: template: function \"humanise\" not defined, did you mean "
                                         "'humanize'? (at character 4)"),
            std::string::npos)
      << m.engine->warnings()[0];
}

// Queries with labels of alerts in them: over days there are always others, at one time few.
TEST(Engine, QueriesOfTemplatesAreForgotten) {
  Machine m(R"yaml(
groups:
  - name: g
    rules:
      - alert: Failed
        expr: failed == 1
        annotations:
          uses: '{{ with query (printf "uses{device=\"%s\"}" $labels.device) }}{{ . | first | value }}{{ end }}'
          all: '{{ query "count(uses)" | first | value }}'
)yaml");
  for (int round = 0; round < 8; ++round) {
    std::vector<Machine::Row> rows;
    for (int i = 0; i < 200; ++i)
      for (const auto* name : {"failed", "uses"})
        rows.push_back({name, fmt::format("d{}", 200 * round + i), name[0] == 'f' ? 1.0 : i + 0.5});
    m.cycle(rows);
    const auto view = m.engine->view();
    const auto& alerts = view->groups.at(0).rules.at(0).alerts;
    ASSERT_EQ(alerts.size(), 200U);
    for (const auto& a : alerts) {
      const auto n = std::stoi(a.labels.at("device").substr(1)) % 200;
      ASSERT_EQ(a.annotations.at("uses"), fmt::format("{}.5", n)) << round;
      ASSERT_EQ(a.annotations.at("all"), "200");
    }
  }
  // Too many at one time cost those that are too many.
  std::vector<Machine::Row> rows;
  for (int i = 0; i < 1200; ++i)
    for (const auto* name : {"failed", "uses"}) rows.push_back({name, fmt::format("e{}", i), 1});
  m.cycle(rows);
  std::size_t good = 0, bad = 0;
  const auto view = m.engine->view();
  for (const auto& a : view->groups.at(0).rules.at(0).alerts) ++(a.annotations.at("uses") == "1" ? good : bad);
  EXPECT_EQ(good, 1000U);
  EXPECT_EQ(bad, 200U);
}

TEST(Engine, RecordsSeriesThatLaterRulesSee) {
  Machine m(R"(
groups:
  - name: g
    rules:
      - {record: "device:x:double", expr: x * 2, labels: {by: rules}}
      - {record: total, expr: 'sum(device:x:double)'}
      - {alert: Many, expr: 'count(ALERTS{alertname="Any"}) > 1'}
      - {alert: Any, expr: x > 0}
)");
  EXPECT_EQ(m.cycle({{"x", "a", 1}, {"x", "b", 2}}).substr(0, 6), "ALERTS");
  const auto text = m.cycle({{"x", "a", 1}, {"x", "b", 3}});
  EXPECT_NE(text.find("device:x:double{by=\"rules\",device=\"b\"} 6\n"), std::string::npos) << text;
  EXPECT_NE(text.find("total 8"), std::string::npos) << text;
  EXPECT_EQ(m.transitions(), "Any+a Any+b Many+ ");
  // A recorded series ends with its source.
  EXPECT_NE(m.cycle({{"x", "a", 1}}).find("total 2"), std::string::npos);
}

// What somebody may ask of the past: the collectors' series, the rules' own, and alerts; over a reload too.
// Groups may have intervals of their own: the series is the first one's for as long as that has it.
TEST(Engine, OneSeriesOfTwoRules) {
  Machine m(R"(
groups:
  - name: first
    interval: 10s
    rules:
      - {record: "level:x", expr: "temp{device='a'}"}
  - name: second
    rules:
      - {record: "level:x", expr: temp * 2}
      - {record: sees, expr: 'sum(level:x)'}
)");
  const auto second = [&] { return m.engine->view()->groups.at(1).rules.at(0); };
  EXPECT_EQ(m.cycle({{"temp", "a", 1}, {"temp", "b", 5}}),
            "level:x{device=\"a\"} 1\nlevel:x{device=\"b\"} 10\nsees 11");
  EXPECT_EQ(second().health, "err");
  EXPECT_EQ(second().last_error,
            "level:x{device=\"a\"}: another rule of this name (temp{device=\"a\"}) records the series already, and it "
            "stays");
  // Not due, but its series still is there.
  EXPECT_EQ(m.cycle({{"temp", "a", 2}, {"temp", "b", 6}}),
            "level:x{device=\"a\"} 1\nlevel:x{device=\"b\"} 12\nsees 13");
  EXPECT_EQ(m.cycle({{"temp", "b", 7}}), "level:x{device=\"b\"} 14\nsees 14");
  EXPECT_EQ(second().health, "ok");
  EXPECT_EQ(m.cycle({{"temp", "a", 3}}), "level:x{device=\"a\"} 6\nsees 6");
  EXPECT_EQ(m.engine->view()->groups.at(0).rules.at(0).health, "ok");
  EXPECT_EQ(m.cycle({{"temp", "a", 4}}), "level:x{device=\"a\"} 8\nsees 8");
  EXPECT_EQ(m.engine->view()->groups.at(0).rules.at(0).health, "err");
}

TEST(Engine, HistoryHasEverySeries) {
  const std::string rules = "groups: [{name: g, rules: [{alert: A, expr: x > 0}";
  Machine m(rules + ", {record: twice, expr: x * 2}]}]");
  m.cycle({{"x", "a", 1}, {"nobody_asks", "a", 5}});
  m.cycle({{"x", "a", 2}, {"nobody_asks", "a", 6}});
  const auto ask = [&](std::string_view text) {
    const auto view = m.engine->history()->view();
    std::vector<promql::Problem> problems;
    const auto expr = promql::compile(text, problems);
    promql::Evaluator evaluator(*expr, *view);
    const auto v = evaluator.eval(view->now_wall_ms());
    std::string out;
    for (const auto& s : v->vector->samples)
      out += v->vector->labels(s).text() + "=" + promql::number_text(s.value) + " ";
    return out;
  };
  const auto since = promql::number_text(static_cast<double>(m.clock.wall / 1'000'000'000 - 5));
  EXPECT_EQ(ask("nobody_asks"), "nobody_asks{device=\"a\"}=6 ");
  EXPECT_EQ(ask("sum_over_time(twice[1m])"), "{device=\"a\"}=6 ");
  EXPECT_EQ(ask("ALERTS"), "ALERTS{alertname=\"A\", alertstate=\"firing\", device=\"a\"}=1 ");
  EXPECT_EQ(ask("ALERTS_FOR_STATE"), "ALERTS_FOR_STATE{alertname=\"A\", device=\"a\"}=" + since + " ");
  m.reload(rules + "]}]");
  EXPECT_EQ(ask("sum_over_time(nobody_asks[1m])"), "{device=\"a\"}=11 ");
  m.cycle({{"x", "a", 0}});
  EXPECT_EQ(ask("twice"), "") << "no rule records it any more";
  EXPECT_EQ(ask("sum_over_time(twice[1m])"), "{device=\"a\"}=6 ");
  EXPECT_EQ(ask("ALERTS"), "");
  EXPECT_EQ(ask("count_over_time(ALERTS[1m])"), "{alertname=\"A\", alertstate=\"firing\", device=\"a\"}=2 ");
}

TEST(Engine, HistoryThatIsShorterThanARuleLooksIsSaid) {
  RuleSettings settings;
  settings.history_limit_bytes = 40'000;
  Machine m(R"(
groups:
  - name: g
    rules:
      - {record: long, expr: 'max_over_time(x[1h])'}
      - {record: short, expr: 'max_over_time(x[1m])'}
)",
            settings);
  for (int i = 0; i < 100; ++i) m.cycle({{"x", "a", 1}});
  EXPECT_EQ(m.engine->view()->groups[0].rules[0].warning, "");
  for (int i = 0; i < 500; ++i)
    m.cycle({{"x", "a", 1.0 / (i + 3)}, {"x", "b", 1.0 / (i + 7)}, {"x", "c", 1.0 / (i + 11)}, {"x", "d", 7.0 / i}});
  const auto rules = m.engine->view()->groups[0].rules;
  EXPECT_TRUE(rules[0].warning.starts_with("history.memory is reached: it looks back 1h, there is "))
      << rules[0].warning;
  EXPECT_EQ(rules[1].warning, "");
  EXPECT_GT(m.engine->history()->size().evicted, 0u);
}

TEST(Engine, SeriesLabelsAreForRulesOnly) {
  RuleSettings settings;
  settings.series_labels = {{"instance", "here"}, {"job", "node"}};
  Machine m(R"(
groups:
  - name: g
    rules:
      - {alert: A, expr: 'x{job="node"} > 0', annotations: {summary: "{{ $labels.instance }}"}}
      - {record: r, expr: 'sum by (job) (x)'}
)",
            settings);
  EXPECT_EQ(m.cycle({{"x", "a", 1}}).substr(0, 44), "ALERTS_FOR_STATE{alertname=\"A\",device=\"a\"} 1");
  EXPECT_NE(m.cycle({{"x", "a", 1}}).find("\nr 1"), std::string::npos);
  EXPECT_EQ(m.engine->view()->groups[0].rules[0].alerts[0].annotations.at("summary"), "here");
  EXPECT_EQ(m.engine->view()->groups[0].rules[0].alerts[0].labels.at("job"), "node");
}

TEST(Engine, GroupsHaveTheirOwnIntervalAndErrorsAreSeen) {
  Machine m(R"(
groups:
  - {name: slow, interval: 15s, rules: [{record: slow, expr: x}]}
  - {name: broken, rules: [{record: bad, expr: x + on() x}, {alert: Twice, expr: 'x', labels: {device: ""}}]}
  - {name: limited, limit: 1, rules: [{alert: L, expr: x}]}
)");
  std::string got;
  for (int i = 0; i < 7; ++i) {
    const auto text = m.cycle({{"x", "a", i + 1.0}, {"x", "b", 0}});
    const auto at = text.find("slow{device=\"a\"} ");
    got += at == std::string::npos ? "?" : text.substr(at + 17, 1);
  }
  EXPECT_EQ(got, "1114447");
  const auto view = m.engine->view();
  EXPECT_EQ(view->groups[1].rules[0].health, "err");
  EXPECT_NE(view->groups[1].rules[0].last_error.find("many-to-many matching not allowed"), std::string::npos);
  EXPECT_NE(view->groups[1].rules[1].last_error.find("two results make the same alert"), std::string::npos);
  EXPECT_NE(view->groups[2].rules[0].last_error.find("limit of 1"), std::string::npos);
}

// What the kernel has announced is judged at once: by the groups that read it, and by those that read what they record.
TEST(Engine, NewsAreJudgedBeforeTheirTurn) {
  Machine m(R"(
groups:
  - {name: reads, interval: 1m, rules: [{record: seen, expr: x}]}
  - {name: reads what is recorded, interval: 1m, rules: [{alert: High, expr: seen > 5}]}
  - {name: histogram, interval: 1m, rules: [{record: h, expr: x_count}]}
  - {name: other, interval: 1m, rules: [{record: other, expr: y}]}
)");
  const auto value_of = [](const std::string& text, const std::string& name) {
    const auto at = text.find(name + " ");
    return at == std::string::npos ? std::string("?") : text.substr(at + name.size() + 1, 1);
  };
  const std::string_view test = "test", stranger = "stranger";
  m.cycle({{"x", "", 1}, {"y", "", 1}});
  auto text = m.cycle({{"x", "", 2}, {"y", "", 2}});
  EXPECT_EQ(value_of(text, "seen"), "1") << "not due";
  m.engine->announce(std::span(&stranger, 1));
  text = m.cycle({{"x", "", 3}, {"y", "", 3}});
  EXPECT_EQ(value_of(text, "seen"), "1") << "nothing of theirs is read";
  m.engine->announce(std::span(&test, 1));
  text = m.cycle({{"x", "", 6}});
  EXPECT_EQ(value_of(text, "seen"), "6");
  EXPECT_EQ(value_of(text, "other"), "1") << "y was not among what the collector has now";
  EXPECT_EQ(m.transitions(), "High+ ");
  text = m.cycle({{"x", "", 7}, {"y", "", 7}});
  EXPECT_EQ(value_of(text, "seen"), "6") << "once";
  text = m.cycle({{"x", "", 8}, {"y", "", 8}}, 40);
  EXPECT_EQ(value_of(text, "seen"), "8") << "the schedule has stayed: a minute after the first";
}

TEST(Engine, WorkOfARuleIsBounded) {
  std::string bomb = "x";
  for (int i = 0; i < 30; ++i) bomb = "label_join(" + bomb + ", 'device', 'x', 'device', 'device')";
  Machine m(R"yaml(
groups:
  - name: g
    rules:
      - {record: a, expr: 'max_over_time(x[290y:1ms])'}
      - {record: b, expr: 'max_over_time(vector(1)[290y:1ms])'}
      - {record: c, expr: 'max_over_time(max_over_time(x[1d:1s])[1d:1s])'}
      - {record: d, expr: "label_replace(x, 'device', '$1$1$1$1$1$1$1$1$1$1', 'device', '(.*)')"}
      - {record: e, expr: ")yaml" +
            bomb + "\"}\n");
  for (int i = 0; i < 2; ++i) m.cycle({{"x", "a", 1}});
  const auto rules = m.engine->view()->groups.at(0).rules;
  for (const auto i : {0, 1, 2})
    EXPECT_TRUE(rules.at(static_cast<std::size_t>(i)).last_error.starts_with("the expression reads too many samples"))
        << rules[static_cast<std::size_t>(i)].last_error;
  EXPECT_EQ(rules.at(3).health, "ok");
  EXPECT_EQ(rules.at(4).last_error, "label device would be longer than 65536 bytes");
}

TEST(Engine, Thresholds) {
  Machine m(R"(
thresholds:
  - {metric: temp, op: ">=", value: 80, severity: critical, name: TooHot, match: {device: "=~a|b", kind: "!=x"}}
)");
  EXPECT_NE(m.cycle({{"temp", "a", 80}, {"temp", "c", 90}}).find("firing"), std::string::npos);
  const auto alerts = m.engine->view()->groups.at(0).rules.at(0).alerts;
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_EQ(alerts[0].labels.at("severity"), "critical");
  EXPECT_EQ(alerts[0].annotations.at("summary"), "temp is 80 (>= 80)");
  EXPECT_EQ(m.engine->view()->groups[0].rules[0].declared->query, R"(temp{device=~"a|b",kind!="x"} >= 80)");
}

TEST(Engine, AllRuleFilesOfTheCorpusEvaluate) {
  const auto root = corpus();
  if (root.empty()) GTEST_SKIP() << "no shared/corpus above the source tree; set VITALD_SHARED";
  RuleSettings settings;
  settings.files = {root / "rules/*.yaml"};
  settings.series_labels = {{"instance", "here"}, {"job", "node"}};
  std::vector<std::string> problems;
  const auto engine = RuleEngine::load(settings, problems);
  ASSERT_TRUE(engine) << problems.front();
  EXPECT_EQ(engine->rule_count(), 117u);
  FakeClock clock;
  const auto batches = exposition_batches(root / "node_exporter/e2e-output.txt");
  for (int i = 0; i < 30; ++i) {
    clock.advance_ns(5'000'000'000);
    Snapshot s;
    s.boot_ns = clock.boot_ns();
    s.wall_ns = clock.wall_ns();
    s.batches = batches;
    ASSERT_TRUE(engine->evaluate(s));
  }
  const auto view = engine->view();
  for (const auto& g : view->groups)
    for (const auto& r : g.rules) EXPECT_EQ(r.last_error, "") << r.declared->name << ": " << r.declared->query;
  EXPECT_GT(engine->history()->size().samples, 1000u);
}

}  // namespace
}  // namespace vitald
