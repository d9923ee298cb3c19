// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

// Software counters need no hardware, but CAP_PERFMON or kernel.perf_event_paranoid below 1.
TEST(Perf, CountsSoftwareEvents) {
  CollectorFixture fixture("perf", {},
                           {{"collector.perf.cpus", "0"},
                            {"collector.perf.disable-hardware-profilers", "true"},
                            {"collector.perf.disable-cache-profilers", "true"},
                            {"collector.perf.software-profilers", "ContextSwitch"},
                            {"collector.perf.software-profilers", "NoSuchEvent"}});
  const auto got = fixture.run();
  if (got.error.starts_with("denied: ")) GTEST_SKIP() << "may not count: " << got.error;
  EXPECT_EQ(got.error, "");
  EXPECT_TRUE(got.text.starts_with("node_perf_context_switches_total{cpu=\"0\"} ")) << got.text;
  EXPECT_EQ(got.text.find('\n'), got.text.size() - 1) << got.text;
}

TEST(Perf, BadFlags) {
  struct Case {
    const char *flag, *value, *error;
  };
  const Case cases[] = {
      {"collector.perf.cpus", "0-1:x", "malformed: --collector.perf.cpus: '0-1:x': CPUs as 0,4-10:2 expected"},
      {"collector.perf.cpus", "a", "malformed: --collector.perf.cpus: 'a': CPUs as 0,4-10:2 expected"},
      {"collector.perf.tracepoint", "sched", "malformed: --collector.perf.tracepoint: 'sched': group:event expected"},
      {"collector.perf.tracepoint", "sched:none",
       "gone: /sys/kernel/debug/tracing/events/sched/none/id: No such file or directory (ENOENT)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.value);
    EXPECT_EQ(run_collector("perf", {}, {{c.flag, c.value}}).error, c.error);
  }
}

}  // namespace vitald
