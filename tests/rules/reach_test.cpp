// SPDX-License-Identifier: Apache-2.0
#include "rules/reach.h"

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

}  // namespace
}  // namespace vitald
