// SPDX-License-Identifier: Apache-2.0
#include "agent/api/rules.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "agent/api/alerts.h"
#include "agent/api/body.h"
#include "agent/api/endpoints.h"
#include "agent/api/prom_params.h"
#include "rules/checks.h"
#include "rules/promql/parser.h"

namespace vitald {
namespace {

RulesView example() {
  RuleView firing;
  firing.declared =
      std::make_shared<const DeclaredRule>(DeclaredRule{.alerting = true,
                                                        .name = "Hot",
                                                        .query = "temp{a=\"b\"} > 70",
                                                        .file = "",
                                                        .metric = "temp",
                                                        .op = ">",
                                                        .threshold = 70,
                                                        .duration_s = 300,
                                                        .labels = {{"severity", "warning"}},
                                                        .annotations = {{"summary", "{{ $value }} \"quoted\"\n"}}});
  firing.health = "ok";
  firing.state = AlertState::firing;
  firing.evaluation_s = 0.000012;
  firing.last_evaluation_ms = 1'700'000'000'120;
  Alert alert;
  alert.labels = {{"alertname", "Hot"}, {"device", "a\\b"}};
  alert.annotations = {{"summary", "71 \"quoted\"\n"}};
  alert.state = AlertState::firing;
  alert.active_at_ms = 1'700'000'000'000;
  alert.value = 71.25;
  firing.alerts = {alert};
  RuleView recording;
  recording.declared = std::make_shared<const DeclaredRule>(DeclaredRule{.name = "a:b", .query = "sum(x)", .file = ""});
  recording.health = "err";
  recording.last_error = "many-to-many";
  GroupView group;
  group.name = "g";
  group.file = "/etc/r.yaml";
  group.interval_s = 5;
  group.limit = 7;
  group.rules = {firing, recording};
  return {{group}, {}};
}

TEST(ApiRules, Rules) {
  const auto text = rules_json(example());
  const auto want = nlohmann::json::parse(R"json({"status":"success","data":{"groups":[{
    "name":"g","file":"/etc/r.yaml","interval":5,"limit":7,"evaluationTime":0,
    "lastEvaluation":"0001-01-01T00:00:00Z","rules":[
      {"state":"firing","name":"Hot","query":"temp{a=\"b\"} > 70","duration":300,"keepFiringFor":0,
       "labels":{"severity":"warning"},"annotations":{"summary":"{{ $value }} \"quoted\"\n"},
       "alerts":[{"labels":{"alertname":"Hot","device":"a\\b"},"annotations":{"summary":"71 \"quoted\"\n"},
                  "state":"firing","activeAt":"2023-11-14T22:13:20Z","value":"7.125e+01"}],
       "health":"ok","evaluationTime":1.2e-05,"lastEvaluation":"2023-11-14T22:13:20.12Z","type":"alerting"},
      {"name":"a:b","query":"sum(x)","health":"err","lastError":"many-to-many","evaluationTime":0,
       "lastEvaluation":"0001-01-01T00:00:00Z","type":"recording"}]}]}})json");
  EXPECT_EQ(nlohmann::json::parse(text), want) << text;
  EXPECT_EQ(nlohmann::json::parse(rules_json(example(), {.alerting = true}))["data"]["groups"][0]["rules"].size(), 1u);
  EXPECT_EQ(nlohmann::json::parse(rules_json(example(), {.alerting = false}))["data"]["groups"][0]["rules"][0]["name"],
            "a:b");
}

std::string alerts_of(const RulesView& view, const AlertFilter& filter = {}) {
  const Silences silences;
  return alerts_json(alert_rows(view, silences, 1'700'000'100'000, "machine"), filter, "machine");
}

TEST(ApiAlerts, HaveWhatASchedulerAsksFor) {
  auto view = example();
  view.groups[0].rules[0].alerts[0].labels["severity"] = "critical";
  const auto json = nlohmann::json::parse(alerts_of(view));
  ASSERT_EQ(json["data"]["alerts"].size(), 1u);
  const auto& a = json["data"]["alerts"][0];
  EXPECT_EQ(a["labels"]["alertname"], "Hot");
  EXPECT_EQ(a["metric"], "temp");
  EXPECT_EQ(a["threshold"], 70);
  EXPECT_EQ(a["current_value"], 71.25);
  EXPECT_EQ(a["severity"], "critical");
  EXPECT_EQ(a["acknowledged"], false);
  EXPECT_EQ(a["provider_uuid"], "machine");
  EXPECT_EQ(a["created_at"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(a["uuid"].get<std::string>().size(), 36u);
  EXPECT_EQ(alerts_of({}), R"({"status":"success","data":{"alerts":[]}})");
}

TEST(ApiAlerts, AreChosen) {
  auto view = example();
  view.groups[0].rules[0].alerts[0].labels["severity"] = "critical";
  const struct {
    const char* name;
    Parameters given;
    std::size_t found;
    const char* problem;
  } cases[] = {
      {"all", {}, 1, ""},
      {"severity", {{"severity", "critical"}}, 1, ""},
      {"other severity", {{"severity", "warning"}}, 0, ""},
      {"the scheduler's question", {{"severity", "critical"}, {"acknowledged", "false"}}, 1, ""},
      {"acknowledged", {{"acknowledged", "true"}}, 0, ""},
      {"name", {{"alertname", "Hot"}}, 1, ""},
      {"state", {{"state", "pending"}}, 0, ""},
      {"no state", {{"state", "odd"}}, 0, "state: 'odd', expected pending or firing"},
      {"no flag", {{"silenced", "maybe"}}, 0, "silenced: 'maybe', expected true or false"},
      {"matcher", {{"filter", "device=~\"a.*\""}}, 1, ""},
      {"another matcher", {{"match[]", "{device=\"b\"}"}}, 0, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::string problem;
    auto budget = promql::PatternBudget::of_request();
    const auto filter = AlertFilter::read(c.given, problem, budget);
    EXPECT_EQ(problem, c.problem);
    ASSERT_EQ(filter.has_value(), problem.empty());
    if (filter) {
      EXPECT_EQ(nlohmann::json::parse(alerts_of(view, *filter))["data"]["alerts"].size(), c.found);
    }
  }
}

// Of several rules that make one alert the API shows what receivers were told: who it is is not the rule's.
TEST(ApiAlerts, OneOfTwoRulesIsTheSame) {
  auto view = example();
  auto& first = view.groups[0].rules[0];
  first.alerts[0].fingerprint = 5;
  first.alerts[0].fired_at_ms = 1'700'000'020'000;
  auto second = first;
  second.alerts[0].active_at_ms = 1'700'000'010'000;
  second.alerts[0].fired_at_ms = 1'700'000'010'000;
  view.groups[0].rules.push_back(second);
  view.begins = std::make_shared<const AlertBegins>(AlertBegins{{5, {1'699'999'000'000, 1'699'999'500'000}}});
  const auto json = nlohmann::json::parse(alerts_of(view))["data"]["alerts"];
  ASSERT_EQ(json.size(), 2U) << "as Prometheus shows them";
  for (const auto& a : json) {
    EXPECT_EQ(a["uuid"], json[0]["uuid"]);
    EXPECT_EQ(a["created_at"], "2023-11-14T21:56:40Z");
    EXPECT_EQ(a["firedAt"], "2023-11-14T22:05:00Z");
  }
  const Silences silences;
  const auto once = each_once(alert_rows(view, silences, 1'700'000'100'000, "machine"));
  ASSERT_EQ(once.size(), 1U);
  EXPECT_EQ(once[0].alert->fired_at_ms, 1'700'000'010'000) << "as the rule has it that fired first";
  EXPECT_EQ(once[0].begin.fired_at_ms, 1'699'999'500'000);
}

// Values as strings, as Go's strconv.FormatFloat(v, 'e', -1, 64) writes them.
TEST(ApiRules, Values) {
  const std::pair<double, const char*> cases[] = {{1, "1e+00"},       {0, "0e+00"}, {-0.5, "-5e-01"},
                                                  {1e100, "1e+100"},  {NAN, "NaN"}, {INFINITY, "+Inf"},
                                                  {-INFINITY, "-Inf"}};
  for (const auto& [value, want] : cases) {
    auto view = example();
    view.groups[0].rules[0].alerts[0].value = value;
    EXPECT_EQ(nlohmann::json::parse(alerts_of(view))["data"]["alerts"][0]["value"], want);
  }
}

TEST(ApiRules, AreChosen) {
  const auto names = [](const RuleFilter& filter) {
    std::string out;
    const auto json = nlohmann::json::parse(rules_json(example(), filter));
    for (const auto& g : json["data"]["groups"])
      for (const auto& r : g["rules"]) out += r["name"].get<std::string>() + ' ';
    return out;
  };
  EXPECT_EQ(names({.names = {"Hot"}}), "Hot ");
  EXPECT_EQ(names({.names = {"Cold"}}), "");
  EXPECT_EQ(names({.groups = {"g"}}), "Hot a:b ");
  EXPECT_EQ(names({.files = {"/elsewhere"}}), "");
  RuleFilter by_label;
  auto budget = promql::PatternBudget::of_request();
  by_label.matchers.push_back(std::move(*parse_matchers("{severity=\"warning\"}", budget)));
  EXPECT_EQ(names(by_label), "Hot ");
}

TEST(ApiJson, SamplesAreWrittenAsPrometheusWritesThem) {
  const std::pair<double, const char*> values[] = {{0, "0"},
                                                   {1, "1"},
                                                   {0.1, "0.1"},
                                                   {1e-6, "0.000001"},
                                                   {1e-7, "1e-07"},
                                                   {-0.0, "-0"},
                                                   {1e20, "100000000000000000000"},
                                                   {1e21, "1e+21"},
                                                   {5e-324, "5e-324"},
                                                   {NAN, "NaN"},
                                                   {INFINITY, "+Inf"},
                                                   {123456.789, "123456.789"},
                                                   {-INFINITY, "-Inf"}};
  for (const auto& [value, want] : values) EXPECT_EQ(sample_value(value), want);
  const std::pair<std::int64_t, const char*> times[] = {
      {0, "0"}, {1500, "1.500"}, {1'435'781'451'781, "1435781451.781"}, {7, "0.007"}, {-1020, "-1.020"}};
  for (const auto& [ms, want] : times) {
    std::string text;
    append_sample_time(text, ms);
    EXPECT_EQ(text, want);
  }
}

TEST(ApiParameters, TimesAndDurations) {
  const std::pair<const char*, std::optional<std::int64_t>> times[] = {{"1.5", 1500},
                                                                       {"1e3", 1'000'000},
                                                                       {"-1", -1000},
                                                                       {"2023-11-14T22:13:20.12Z", 1'700'000'000'120},
                                                                       {"2023-11-14T23:13:20+01:00", 1'700'000'000'000},
                                                                       {"2023-02-31T00:00:00Z", {}},
                                                                       {"2023-11-14t22:13:20z", {}},
                                                                       {"2023-11-14", {}},
                                                                       {"2023-11-14T22:13:20", {}},
                                                                       {"1e300", {}},
                                                                       {"NaN", {}},
                                                                       {"", {}},
                                                                       {"yesterday", {}}};
  for (const auto& [text, want] : times) EXPECT_EQ(parse_api_time(text), want) << text;
  const std::pair<const char*, std::optional<std::int64_t>> durations[] = {
      {"5m", 300'000}, {"1.5", 1500}, {"0", 0},      {"-1", -1000}, {"1h30m", 5'400'000},
      {"x", {}},       {"", {}},      {"1e300", {}}, {" 1m", {}},   {"1h 30m", {}}};
  for (const auto& [text, want] : durations) EXPECT_EQ(parse_api_duration(text), want) << text;
}

TEST(ApiParameters, TimeoutsBelowAMillisecondAreTimes) {
  const std::pair<const char*, std::int64_t> cases[] = {{"0.0001", 100'000},  {"1e-12", 1},       {"0.5", 500'000'000},
                                                        {"2", 2'000'000'000}, {"5ms", 5'000'000}, {"0", -1},
                                                        {"-1", -1},           {"x", -1}};
  for (const auto& [text, want_ns] : cases) {
    SCOPED_TRACE(text);
    std::optional<Response> problem;
    const auto ask = ask_of(Request{}, {{"timeout", text}}, "", problem);
    EXPECT_EQ(problem.has_value(), want_ns < 0);
    if (want_ns > 0) {
      EXPECT_EQ(ask.timeout_ns, want_ns);
    }
  }
}

// A name and a matcher of another one fit nothing, as in Prometheus; in an expression that is an error.
TEST(ApiParameters, TwoNamesInAMatcher) {
  std::optional<Response> problem;
  auto budget = promql::PatternBudget::of_request();
  const auto found = matchers_of({{"match[]", R"(x{__name__="y"})"}}, true, problem, budget);
  EXPECT_FALSE(problem);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]->matchers.size(), 2U);
  std::vector<promql::Problem> problems;
  EXPECT_FALSE(promql::compile(R"(x{__name__="y"})", problems));
}

TEST(ApiChecks, AreChosenAndNothingIsNeverOk) {
  auto checks = std::make_shared<ChecksView>();
  checks->checks.resize(2);
  checks->checks[0].id = "a";
  checks->checks[0].scope = "node";
  checks->checks[1].id = "b";
  checks->checks[1].scope = "rack";
  checks->checks[1].state = CheckState::warn;
  const struct {
    const char* name;
    decltype(Request::query) query;
    bool loaded;
    int status;
    const char *state, *error;
    std::size_t found;
  } cases[] = {
      {"all", {}, true, 200, "WARN", "", 2},
      {"an id", {{"id", "a"}}, true, 200, "OK", "", 1},
      {"a state", {{"state", "WARN"}}, true, 200, "WARN", "", 1},
      {"a state that none is in", {{"state", "CRIT"}}, true, 200, "UNKNOWN", "", 0},
      {"a kind that none is of", {{"kind", "x"}}, true, 200, "UNKNOWN", "", 0},
      {"no checks", {}, false, 200, "UNKNOWN", "", 0},
      {"a state that is none", {{"state", "crit"}}, true, 400, "", "state: 'crit', expected one of OK, WARN", 0},
      {"a scope that is none", {{"scope", "room"}}, true, 400, "", "scope: 'room', expected one of node, ", 0},
      {"an id that is none", {{"id", "typo"}}, true, 404, "", "there is no check 'typo'", 0},
      {"what cannot be asked", {{"name", "a"}}, true, 400, "", "there is no 'name', expected id", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    AgentView agent;
    agent.rules = [&] {
      auto view = std::make_shared<RulesView>();
      if (c.loaded) view->checks = checks;
      return view;
    };
    Request request;
    request.query = c.query;
    const auto answer = checks_page(agent)(request);
    const auto& response = std::get<Response>(answer);
    EXPECT_EQ(response.status, c.status);
    const auto json = nlohmann::json::parse(*response.body);
    if (c.status == 200) {
      EXPECT_EQ(json["data"]["state"], c.state);
      EXPECT_EQ(json["data"]["checks"].size(), c.found);
    } else {
      EXPECT_EQ(json["error"].get<std::string>().substr(0, std::string_view(c.error).size()), c.error);
    }
  }
}

TEST(SilencesApi, WarnsOfThoseThatFitNoAlert) {
  auto view = std::make_shared<RulesView>();
  RuleView rule;
  rule.declared = std::make_shared<const DeclaredRule>(
      DeclaredRule{.alerting = true,
                   .name = "DiskFull",
                   .query = "up",
                   .file = "",
                   .labels = {{"severity", "critical"}, {"team", "{{ $labels.team }}"}}});
  view->groups.push_back({});
  view->groups[0].rules.push_back(rule);
  struct Case {
    const char *name, *value, *warning;
  };
  const Case cases[] = {
      {"alertname", "DiskFull", ""},
      {"team", "storage", ""},
      {"device", "sda", ""},  // the expression's, of which nothing is known here
      {"alertname", "DiskFul",
       "nothing is silenced now: no alert of any rule has alertname=\"DiskFul\", did you mean 'DiskFull'?"},
      {"severity", "page", "nothing is silenced now: no alert of any rule has severity=\"page\": there it is critical"},
  };
  SystemClock clock;
  const auto wake = std::make_shared<const Wake>();
  AgentView agent;
  agent.rules = [&] { return view; };
  agent.clock = &clock;
  agent.silences = std::make_shared<Silences>();
  agent.changes = std::make_shared<Jobs>(Jobs::Settings{.thread = "change"}, wake, clock);
  for (const auto& c : cases) {
    SCOPED_TRACE(c.value);
    Request request;
    request.method = "POST";
    request.arrived_boot_ns = clock.boot_ns();
    request.body = fmt::format(
        R"({{"matchers":[{{"name":"{}","value":"{}","isRegex":false}}],"endsAt":"2099-01-01T00:00:00Z","createdBy":"t","comment":"c"}})",
        c.name, c.value);
    auto answer = silences_request(agent)(request);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Pending>>(answer));
    auto& pending = *std::get<1>(answer);
    std::optional<Response> response;
    while (!response) response = pending.poll(clock.boot_ns());
    EXPECT_EQ(response->status, 200);
    const auto json = nlohmann::json::parse(*response->body);
    EXPECT_EQ(json["silenceID"].get<std::string>().size(), 36U);
    EXPECT_EQ(json.contains("warnings") ? json["warnings"][0].get<std::string>() : "", c.warning);
  }
  EXPECT_EQ(agent.silences->marks()->silences.size(), std::size(cases));
}

TEST(ApiParameters, NoTwoRequestsHaveOneKey) {
  const auto key = [](std::vector<std::string> texts) {
    std::string out = "series";
    for (const auto& text : texts) add_to_key(out, text);
    return out;
  };
  EXPECT_NE(key({"bad", "{job=\"node\"}"}), key({"bad\n{job=\"node\"}"}));
  EXPECT_NE(key({"a", "b"}), key({"a\n1:b"}));
  EXPECT_NE(key({"", "a"}), key({"a"}));
  // An answer without a key is not kept, whatever else was asked.
  Request request;
  request.query = {{"lookback_delta", "5m"}};
  std::optional<Response> problem;
  const auto p = parameters_of(request);
  EXPECT_EQ(ask_of(request, p, "", problem).key, "");
  EXPECT_NE(ask_of(request, p, "x", problem).key, "x");
}

TEST(ApiParameters, WhatASilenceIsMadeOf) {
  const auto matcher = [](std::string_view more) {
    return fmt::format(
        R"({{"matchers":[{{"name":"a","value":"b"{}}}],"endsAt":"2030-01-01T00:00:00Z","createdBy":"me"}})", more);
  };
  for (const auto* good : {"", R"(,"isRegex":false)", R"(,"isRegex":true,"isEqual":false)", R"(,"isRegex":null)"})
    EXPECT_TRUE(parse_silence(matcher(good), 0)) << good;
  // Text that says "true" would make a silence of another label value.
  for (const auto* bad : {R"(,"isRegex":"true")", R"(,"isEqual":"false")", R"(,"isRegex":1)"}) {
    const auto parsed = parse_silence(matcher(bad), 0);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_NE(parsed.error().text.find("expected true or false"), std::string::npos) << parsed.error().text;
  }
  // What is no flag is not said back: it may be deeper than our stack.
  const auto parsed = parse_silence(matcher(",\"isRegex\":" + std::string(32'000, '[') + std::string(32'000, ']')), 0);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().text, "matchers: expected true or false as 'isRegex', found array");
}

TEST(ApiParameters, OfABodyStandBeforeThoseOfTheUrl) {
  Request request;
  request.query = {{"query", "url"}, {"step", "1"}};
  request.body = "query=a%2Bb+c&empty=&x%5B%5D=1&bad=%zz%4";
  EXPECT_EQ(first(parameters_of(request), "query"), "url");
  request.headers = {{"content-type", "Application/X-WWW-form-urlencoded; charset=utf-8"}};
  const auto p = parameters_of(request);
  EXPECT_EQ(first(p, "query"), "a+b c");
  EXPECT_EQ(all(p, "query").size(), 2u);
  EXPECT_EQ(first(p, "step"), "1");
  EXPECT_EQ(first(p, "x[]"), "1");
  EXPECT_EQ(first(p, "bad"), "%zz%4");
}

}  // namespace
}  // namespace vitald
