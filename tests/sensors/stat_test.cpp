// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(Stat, Cases) {
  struct Case {
    const char *name, *file, *text, *error;
  };
  const Case cases[] = {
      {"normal",
       "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 9919471 17 0 0 1\nctxt 11972819\nbtime 1989053212\n"
       "processes 49744\nprocs_running 2\nprocs_blocked 0\nsoftirq 55 1 2 3 4 5 6 7 8 9 10\n",
       "node_intr_total 9919471\nnode_context_switches_total 11972819\nnode_boot_time_seconds 1989053212\n"
       "node_forks_total 49744\nnode_procs_running 2\nnode_procs_blocked 0\n",
       ""},
      {"a kernel without procs_blocked, lines we do not know", "ctxt 1\nnew_thing x y\npage 5 6\n",
       "node_context_switches_total 1\n", ""},
      {"torn in a word: the good part stays", "ctxt 1\nbtime 14181x\nproces",
       "node_context_switches_total 1\n"
       "node_boot_time_seconds 14181\n",
       ""},
      {"no number", "intr\nctxt 7\n", "node_context_switches_total 7\n",
       "malformed: /proc/stat: 'intr ': a number expected"},
      {"largest number", "ctxt 18446744073709551615\n", "node_context_switches_total 1.8446744073709552e+19\n", ""},
      {"too large", "ctxt 18446744073709551616\nprocesses 1\n", "node_forks_total 1\n",
       "malformed: /proc/stat: 'ctxt 18446744073709551616': a number expected"},
      {"forks that came to be below zero", "processes -2049562273\n", "node_forks_total 2245405023\n", ""},
      {"and no others", "ctxt -1\nprocesses -2147483649\nbtime 5\n", "node_boot_time_seconds 5\n",
       "malformed: /proc/stat: 'ctxt -1': a number expected (and 1 more)"},
      {"empty", "", "", "malformed: /proc/stat: '': lines of counters expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("stat", {{"proc/stat", c.file}});
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
  }
}

TEST(Stat, Softirqs) {
  const FlagValues on = {{"collector.stat.softirq", "true"}};
  const auto got = run_collector("stat", {{"proc/stat", "softirq 55 1 2 3 4 5 6 7 8 9 10\n"}}, on);
  EXPECT_EQ(got.text,
            "node_softirqs_total{vector=\"hi\"} 1\nnode_softirqs_total{vector=\"timer\"} 2\n"
            "node_softirqs_total{vector=\"net_tx\"} 3\nnode_softirqs_total{vector=\"net_rx\"} 4\n"
            "node_softirqs_total{vector=\"block\"} 5\nnode_softirqs_total{vector=\"block_iopoll\"} 6\n"
            "node_softirqs_total{vector=\"tasklet\"} 7\nnode_softirqs_total{vector=\"sched\"} 8\n"
            "node_softirqs_total{vector=\"hrtimer\"} 9\nnode_softirqs_total{vector=\"rcu\"} 10\n");
  EXPECT_EQ(run_collector("stat", {{"proc/stat", "softirq 3 1 2"}}, on).text,
            "node_softirqs_total{vector=\"hi\"} 1\nnode_softirqs_total{vector=\"timer\"} 2\n");
  EXPECT_EQ(run_collector("stat", {{"proc/stat", "softirq 3 1 x"}}, on).error,
            "malformed: /proc/stat: 'softirq 3 1 x': a total and numbers expected");
}

TEST(Stat, NoFile) {
  EXPECT_EQ(run_collector("stat", {}).error, "gone: /proc/stat: No such file or directory (ENOENT)");
}

}  // namespace vitald
