// SPDX-License-Identifier: Apache-2.0
#include "rules/reach.h"

#include "rules/alert_reach.h"
#include "rules/keep.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace vitald {
namespace {

const KnownFamily kFamilies[] = {{"node_load1", "a"},
                                 {"node_memory_*"},
                                 {"node_bcachefs_*_total", "uuid"},
                                 {"vitald_wait_seconds", "owner,cause"},
                                 {"node_time_seconds"},
                                 {"node_supply_info", "supply,*"},
                                 {"node_systemd_unit_state", "name,state,type", "--collector.systemd"},
                                 {"node_both_total", "a", "--collector.x"},
                                 {"node_both_total", "b"},
                                 {"node_perf_*", "cpu", "--collector.perf"},
                                 {"ALERTS"},
                                 {"ALERTS_FOR_STATE"}};

std::vector<RuleGroup> groups_of(const std::string& rules) {
  std::vector<std::string> problems;
  auto groups = load_rules("groups: [{name: g, rules: [" + rules + "]}]", "f.yaml", problems);
  EXPECT_TRUE(problems.empty()) << problems[0];
  return groups;
}

std::string warnings(const std::string& rules, const LabelMap& labels = {}) {
  return fmt::format("{}", fmt::join(unreachable(groups_of(rules), kFamilies, labels,
                                                 [] {
                                                   return std::vector<std::string>{"node_memory_MemFree_bytes",
                                                                                   "node_memory_Huge2_bytes",
                                                                                   "node_memory_Cached_bytes"};
                                                 }),
                                     "\n"));
}

TEST(Reach, NamesWhatMatchesNothing) {
  const std::string place = "f.yaml: group 'g', rule 'A': ";
  struct Case {
    const char *expr, *want;
    LabelMap labels = {};
  };
  const Case cases[] = {
      {"node_load1 > 1", "", {}},
      {"rate(vitald_wait_seconds_bucket[5m]) + vitald_wait_seconds_sum", "", {}},
      {"node_memory_MemFree_bytes < 1 and node_bcachefs_reads_total > 1", "", {}},
      {"ALERTS{alertname=\"A\", job=\"x\"} or recorded{instance=\"x\"}", "", {{"job", "x"}}},
      {"ALERTS{alertname=~\"A|B\",severity!=\"x\",a=\"y\",alertstate=\"firing\"} or ALERTS_FOR_STATE", "", {}},
      {"ALERTS{alertname=\"Watchdgo\"} or ALERTS",
       "ALERTS{alertname=\"Watchdgo\"} matches nothing: no alert of any rule has alertname=\"Watchdgo\", did you mean "
       "'Watchdog'?",
       {}},
      {"ALERTS{alertstate=\"fire\"} == 1",
       "ALERTS{alertstate=\"fire\"} matches nothing: alertstate is pending or firing",
       {}},
      {"ALERTS{severity=\"critcal\"}",
       "ALERTS{severity=\"critcal\"} matches nothing: no alert of any rule has severity=\"critcal\", did you mean "
       "'critical'?",
       {}},
      {"node_load1{zone=\"x\"} > 1", "node_load1{zone=\"x\"} matches nothing: the family has a", {}},
      {"vitald_wait_seconds_bucket{le=\"1\",ownr=~\".+\",x=\"\",y!=\"z\"}",
       "vitald_wait_seconds_bucket{le=\"1\",ownr=~\".+\",x=\"\",y!=\"z\"} matches nothing: the family has cause, "
       "owner; "
       "did you mean 'owner'?",
       {}},
      {"node_time_seconds{zone=\"x\"}", "node_time_seconds{zone=\"x\"} matches nothing: the family has no labels", {}},
      {"node_time_seconds{rack=\"7\"}", "", {{"rack", "7"}}},
      {"node_supply_info{charge=\"full\"} and node_both_total{a=\"x\"} + node_both_total{b=\"x\"}", "", {}},
      {"node_memory_MemFree_bytes{whatever=\"x\"}", "", {}},
      {"node_systemd_unit_state{state=\"failed\"} == 1",
       "'node_systemd_unit_state' is there only with --collector.systemd, which is off: this matches nothing",
       {}},
      {"rate(node_perf_cycles_total[5m])",
       "'node_perf_cycles_total' is there only with --collector.perf, which is off: this matches nothing",
       {}},
      {"absent(node_systemd_unit_state) or absent(node_load1{b=\"x\"})", "", {}},
      {"sum(node_systemd_unit_state) or vector(0)", "", {}},
      {"kube_pod_info or vector(0)", "", {}},
      {"node_load1 or node_systemd_unit_state", "", {}},
      {"node_lod1 or vector(0)", "no collector and no rule makes 'node_lod1', did you mean 'node_load1'?", {}},
      {"node_memory_MemFre_bytes",
       "this machine has no 'node_memory_MemFre_bytes' now, did you mean 'node_memory_MemFree_bytes'?",
       {}},
      {"node_memory_Huge3_bytes + node_memory_Huge_bytes + node_memory_Something_bytes", "", {}},
      {"up == 0 or scrape_samples_scraped > 5 or {job=\"x\"}", "", {}},
      {"node_lod1", "no collector and no rule makes 'node_lod1', did you mean 'node_load1'?", {}},
      {"sum(sum_over_time(kube_pod_info[5m:1m])) or -kube_pod_info",
       "no collector and no rule makes 'kube_pod_info': unless a textfile has it, this matches nothing",
       {}},
      {"absent(up{job=\"node\"} == 1)",
       "up{job=\"node\"} matches nothing, and so may others: here no series has a job; --rules.series-label=job=VALUE "
       "gives it to all",
       {}},
      {"absent(up{job=\"node\"} == 1)", "", {{"job", "node"}}},
      {"node_load1{job=~\"node|x\"}", "", {{"job", "node"}}},
      {"node_load1{a=\"x\",a=\"y\"}",
       "node_load1{a=\"x\",a=\"y\"} matches nothing: what it asks of a excludes itself",
       {}},
      {"recorded{a=\"x\",a!~\"x|y\"}",
       "recorded{a!~\"x|y\",a=\"x\"} matches nothing: what it asks of a excludes itself",
       {}},
      {"node_load1{a=\"x\",a=~\"x|y\",a!=\"y\",a=\"x\"} or recorded{a=~\"x\",a=~\"y\"}", "", {}},
      {"node_load1{job=~\".*\",instance!=\"x\"}", "", {}},
      {"node_load1{job=\"other\"}",
       "node_load1{job=\"other\"} matches nothing: here job is 'node' (--rules.series-label)",
       {{"job", "node"}}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(warnings("{alert: A, expr: '" + std::string(c.expr) +
                           "'}, {record: recorded, expr: node_load1}, {alert: Watchdog, expr: node_load1, labels: "
                           "{severity: critical, empty: \"\"}}",
                       c.labels),
              std::string(c.want).empty() ? "" : place + c.want)
        << c.expr;
  }
}

TEST(AlertReach, SaysWhyNoAlertFits) {
  const auto groups = groups_of(
      "{alert: Disk full, expr: 'node_load1 > 1', labels: {severity: critical}},"
      "{alert: Hot, expr: 'vitald_wait_seconds_sum > 1', labels: {severity: warning, team: '{{ $labels.owner }}'}},"
      "{alert: Any, expr: 'label_replace(node_load1, \"x\", \"$1\", \"a\", \"(.*)\")', labels: {severity: info}}");
  const LabelMap series{{"job", "node"}}, external{{"site", "west"}};
  const AlertReach reach(groups, kFamilies, series),
      nothing(groups_of("{record: r, expr: node_load1}"), kFamilies, series);
  struct Case {
    const char *matchers, *want;
  };
  const Case cases[] = {
      {"severity=\"critical\"", ""},
      {"severity=~\"critical|warning\", alertname!~\"Any|Hot\"", ""},
      {"owner=\"x\", severity=\"warning\"", ""},
      {"team=\"storage\"", ""},
      {"site=\"west\", job=\"x\"", ""},
      {"x=\"y\"", ""},
      {"alertname=\"Disk ful\"", "no alert of any rule has alertname=\"Disk ful\", did you mean 'Disk full'?"},
      {"alertname=~\"Net.*\"", "no alert of any rule has alertname=~\"Net.*\""},
      {"severity=\"critcal\"", "no alert of any rule has severity=\"critcal\", did you mean 'critical'?"},
      {"severity=\"page\"", "no alert of any rule has severity=\"page\": there it is critical or info or warning"},
      {"site=\"east\", severity=\"critical\"",
       "no alert of any rule has all of {site=\"east\", severity=\"critical\"}"},
      {"severity=\"critical\", owner=\"x\"", "no alert of any rule has all of {severity=\"critical\", owner=\"x\"}"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(reach.problem(*parse_alert_matchers(c.matchers), external), c.want) << c.matchers;
    EXPECT_EQ(nothing.problem(*parse_alert_matchers(c.matchers)), "no rule alerts") << c.matchers;
  }
  EXPECT_TRUE(nothing.empty());
  EXPECT_FALSE(reach.empty());
}

TEST(Reach, IsShort) {
  std::string rules;
  for (int i = 0; i < 30; ++i) rules += fmt::format("{{alert: A, expr: unknown_{}_thing > 0}}, ", i);
  const auto all = warnings(rules);
  EXPECT_EQ(std::ranges::count(all, '\n'), 10);
  EXPECT_NE(all.find("20 more selectors of rules match nothing on this host"), all.npos);
}

TEST(Keep, EntriesThatChangeNothingAreTold) {
  constexpr std::int64_t kHour = 3'600'000;
  const std::vector<std::string> texts = {"node_load1 for 1d",           "node_load5 for 1h",
                                          "node_load15 for 2h every 2h", "{__name__=\"node_load1\"} for 7d",
                                          "node_loda1 for 1d",           "{__name__=~\"node_.*\"} for 7d every 1m"};
  std::vector<std::string> problems;
  std::vector<History::Keep> keep;
  for (const auto& text : texts) keep.push_back(*parse_keep(text, problems));
  ASSERT_TRUE(problems.empty());
  const auto told = keeps_without_effect(texts, keep, kHour, [](std::string_view name) {
    return name == "node_loda1" ? std::string("nothing makes it") : std::string();
  });
  EXPECT_EQ(told,
            (std::vector<std::string>{
                "--history.keep: 'node_load5 for 1h': so long all samples are kept anyway (history.retention)",
                "--history.keep: 'node_load15 for 2h every 2h': 'every' is not shorter than 'for', so nothing is left",
                "--history.keep: '{__name__=\"node_load1\"} for 7d': entry 1 is for the same series, and the first "
                "one counts",
                "--history.keep: 'node_loda1 for 1d': nothing makes it",
            }));
}

}  // namespace
}  // namespace vitald
