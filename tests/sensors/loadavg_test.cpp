// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(Loadavg, Cases) {
  struct Case {
    const char *name, *file, *text, *error;
  };
  const Case cases[] = {
      {"normal", "0.42 0.15 0.08 2/611 20417\n", "node_load1 0.42\nnode_load5 0.15\nnode_load15 0.08\n", ""},
      {"no newline, no more columns", "1 2 3", "node_load1 1\nnode_load5 2\nnode_load15 3\n", ""},
      {"torn", "0.42 0.3", "node_load1 0.42\nnode_load5 0.3\n",
       "malformed: /proc/loadavg: '0.42 0.3': three load averages expected"},
      {"empty", "", "", "malformed: /proc/loadavg: '': three load averages expected"},
      {"not text", "\x80\xff 1 2", "", "malformed: /proc/loadavg: '\x80\xff 1 2': three load averages expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("loadavg", {{"proc/loadavg", c.file}});
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
  }
}

TEST(Loadavg, NoFile) {
  EXPECT_EQ(run_collector("loadavg", {}).error, "gone: /proc/loadavg: No such file or directory (ENOENT)");
}

}  // namespace vitald
