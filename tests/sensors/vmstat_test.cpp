// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(Vmstat, Cases) {
  struct Case {
    const char *name, *fields, *file, *text, *error;
  };
  const char* const kDefault = "^(oom_kill|pgpg|pswp|pg.*fault).*";
  const char* const kNormal = "nr_free_pages 588263\npgpgin 7114375\npgpgout 1541180163\npswpin 1538\noom_kill 0\n";
  const Case cases[] = {
      {"normal", kDefault, kNormal,
       "node_vmstat_pgpgin 7114375\nnode_vmstat_pgpgout 1541180163\nnode_vmstat_pswpin 1538\nnode_vmstat_oom_kill 0\n",
       ""},
      {"one field", "^nr_free_pages$", kNormal, "node_vmstat_nr_free_pages 588263\n", ""},
      {"an empty pattern is in every name", "", "a 1\nb 2", "node_vmstat_a 1\nnode_vmstat_b 2\n", ""},
      {"torn: the good part stays", kDefault, "pgpgin 1\npgpgout", "node_vmstat_pgpgin 1\n",
       "malformed: /proc/vmstat: 'pgpgout': 'name number' expected"},
      {"what nobody asked for may be odd", kDefault, "nr_x -1\nnr_y\n\npgpgin 3\n", "node_vmstat_pgpgin 3\n", ""},
      {"more columns", kDefault, "pgpgin 1 2\n", "", "malformed: /proc/vmstat: 'pgpgin 1 2': 'name number' expected"},
      {"empty", kDefault, "", "", "malformed: /proc/vmstat: '': lines 'name number' expected"},
      {"a name that is no metric name", "^pg.*", "pgfault-huge 3\npgpgin 5\npg  7\n",
       "node_vmstat_pgpgin 5\nnode_vmstat_pg 7\nnode_vmstat_pgfault_huge 3\n", ""},
      {"and one that is", "^pg.*", "pgfault-huge 3\npgfault_huge 9\n", "node_vmstat_pgfault_huge 9\n", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture f("vmstat", {{"proc/vmstat", c.file}}, {{"collector.vmstat.fields", c.fields}});
    for (int run = 0; run < 2; ++run) {  // the second one goes by what the first has learned
      const auto got = f.run();
      EXPECT_EQ(got.text, c.text);
      EXPECT_EQ(got.error, c.error);
    }
  }
}

TEST(Vmstat, TypesAndBadPattern) {
  EXPECT_EQ(run_collector("vmstat", {{"proc/vmstat", "pswpin 1\n"}}).types,
            "node_vmstat_pswpin untyped /proc/vmstat information field pswpin.\n");
  EXPECT_EQ(run_collector("vmstat", {}, {{"collector.vmstat.fields", "(a"}}).error,
            "malformed: pattern '(a': missing ): (a");
}

}  // namespace vitald
