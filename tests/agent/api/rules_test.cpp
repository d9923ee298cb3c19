// SPDX-License-Identifier: Apache-2.0
#include "agent/api/rules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace vitald {
namespace {

RulesView example() {
  RuleView firing;
  firing.alerting = true;
  firing.name = "Hot";
  firing.query = "temp{a=\"b\"} > 70";
  firing.health = "ok";
  firing.duration_s = 300;
  firing.labels = {{"severity", "warning"}};
  firing.annotations = {{"summary", "{{ $value }} \"quoted\"\n"}};
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
  recording.name = "a:b";
  recording.query = "sum(x)";
  recording.health = "err";
  recording.last_error = "many-to-many";
  GroupView group;
  group.name = "g";
  group.file = "/etc/r.yaml";
  group.interval_s = 5;
  group.limit = 7;
  group.rules = {firing, recording};
  return {{group}};
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
  EXPECT_EQ(nlohmann::json::parse(rules_json(example(), RuleFilter::alert))["data"]["groups"][0]["rules"].size(), 1u);
  EXPECT_EQ(nlohmann::json::parse(rules_json(example(), RuleFilter::record))["data"]["groups"][0]["rules"][0]["name"],
            "a:b");
}

TEST(ApiRules, Alerts) {
  const auto json = nlohmann::json::parse(alerts_json(example()));
  ASSERT_EQ(json["data"]["alerts"].size(), 1u);
  EXPECT_EQ(json["data"]["alerts"][0]["labels"]["alertname"], "Hot");
  EXPECT_EQ(alerts_json({}), R"({"status":"success","data":{"alerts":[]}})");
}

// Values as strings, as Go's strconv.FormatFloat(v, 'e', -1, 64) writes them.
TEST(ApiRules, Values) {
  const std::pair<double, const char*> cases[] = {{1, "1e+00"},       {0, "0e+00"}, {-0.5, "-5e-01"},
                                                  {1e100, "1e+100"},  {NAN, "NaN"}, {INFINITY, "+Inf"},
                                                  {-INFINITY, "-Inf"}};
  for (const auto& [value, want] : cases) {
    auto view = example();
    view.groups[0].rules[0].alerts[0].value = value;
    EXPECT_EQ(nlohmann::json::parse(alerts_json(view))["data"]["alerts"][0]["value"], want);
  }
}

}  // namespace
}  // namespace vitald
