// SPDX-License-Identifier: Apache-2.0
#include "rules/reach.h"

#include "rules/keep.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace vitald {
namespace {

constexpr std::string_view kFamilies[] = {"node_load1",          "node_memory_*", "node_bcachefs_*_total",
                                          "vitald_wait_seconds", "ALERTS",        "ALERTS_FOR_STATE"};

std::string warnings(const std::string& rules, const LabelMap& labels = {}) {
  std::vector<std::string> problems;
  const auto groups = load_rules("groups: [{name: g, rules: [" + rules + "]}]", "f.yaml", problems);
  EXPECT_TRUE(problems.empty()) << problems[0];
  return fmt::format("{}", fmt::join(unreachable(groups, kFamilies, labels), "\n"));
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
      {"ALERTS{alertname=\"B\", job=\"x\"} or recorded{instance=\"x\"}", "", {}},
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
       "recorded{a=\"x\",a!~\"x|y\"} matches nothing: what it asks of a excludes itself",
       {}},
      {"node_load1{a=\"x\",a=~\"x|y\",a!=\"y\",a=\"x\"} or recorded{a=~\"x\",a=~\"y\"}", "", {}},
      {"node_load1{job=~\".*\",instance!=\"x\"}", "", {}},
      {"node_load1{job=\"other\"}",
       "node_load1{job=\"other\"} matches nothing: here job is 'node' (--rules.series-label)",
       {{"job", "node"}}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(
        warnings("{alert: A, expr: '" + std::string(c.expr) + "'}, {record: recorded, expr: node_load1}", c.labels),
        std::string(c.want).empty() ? "" : place + c.want)
        << c.expr;
  }
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
