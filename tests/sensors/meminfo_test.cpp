// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(Meminfo, Cases) {
  struct Case {
    const char *name, *file, *text, *error, *problem = "";
  };
  const Case cases[] = {
      {"normal", "MemTotal:        8304799 kB\nActive(anon):    4736554 kB\nHugePages_Total:       3\n",
       "node_memory_MemTotal_bytes 8504114176\nnode_memory_Active_anon_bytes 4850231296\n"
       "node_memory_HugePages_Total 3\n",
       ""},
      {"no newline at the end", "NFS_Unstable:          0 kB\nDirectMap4k:      171590 kB",
       "node_memory_NFS_Unstable_bytes 0\nnode_memory_DirectMap4k_bytes 175708160\n", ""},
      {"a line that node_exporter 1.12 does not know", "Hugetlb:        2048 kB\n",
       "node_memory_Hugetlb_bytes 2097152\n", ""},
      {"torn number: the good part stays", "MemTotal: 1 kB\nMemFree:", "node_memory_MemTotal_bytes 1024\n",
       "malformed: /proc/meminfo: 'MemFree:': 'Name: number' or 'Name: number kB' expected"},
      {"unknown unit", "MemTotal: 1 MB\nMemFree: 2 kB\n", "node_memory_MemFree_bytes 2048\n",
       "malformed: /proc/meminfo: 'MemTotal: 1 MB': 'Name: number' or 'Name: number kB' expected"},
      {"too large", "MemTotal: 18446744073709551616 kB\n", "",
       "malformed: /proc/meminfo: 'MemTotal: 18446744073709551616 kB': 'Name: number' or 'Name: number kB' expected"},
      {"below 0, as the kernel writes it", "MemTotal: 18014398509481983 kB\nCached: 18446744073709551612 kB\n",
       "node_memory_MemTotal_bytes 1.8446744073709552e+19\n", "",
       "malformed: /proc/meminfo: 'Cached': less than 2^54 kB expected"},
      {"the first that is no size", "Cached: 18014398509481984 kB\nMemFree: 1 kB\n", "node_memory_MemFree_bytes 1024\n",
       "", "malformed: /proc/meminfo: 'Cached': less than 2^54 kB expected"},
      {"not text", "Mem\x80Total: 5 kB\n", "node_memory_Mem_Total_bytes 5120\n", ""},
      {"not text, and what it becomes", "Mem\x80Total: 5 kB\nMem_Total: 7 kB\n", "node_memory_Mem_Total_bytes 7168\n",
       "", "malformed: emitted twice, first one kept: node_memory_Mem_Total_bytes"},
      {"empty", "", "", "malformed: /proc/meminfo: '': 'Name: number' or 'Name: number kB' expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("meminfo", {{"proc/meminfo", c.file}});
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
    EXPECT_EQ(got.problems.empty() ? "" : got.problems[0], c.problem);
  }
}

TEST(Meminfo, RowsComeAndGo) {
  CollectorFixture f("meminfo", {{"proc/meminfo", "MemTotal: 1 kB\nMemFree: 2 kB\nHugePages_Free: 7\n"}});
  EXPECT_EQ(f.run().types,
            "node_memory_MemTotal_bytes gauge Memory information field MemTotal_bytes.\n"
            "node_memory_MemFree_bytes gauge Memory information field MemFree_bytes.\n"
            "node_memory_HugePages_Free gauge Memory information field HugePages_Free.\n");
  f.write("proc/meminfo", "MemTotal: 1 kB\nHugePages_Free: 8\n");
  EXPECT_EQ(f.run().text, "node_memory_MemTotal_bytes 1024\nnode_memory_HugePages_Free 8\n");
  f.write("proc/meminfo", "MemTotal: 3 kB\nMemFree: 4 kB\nHugePages_Free: 9\n");
  const auto got = f.run();
  EXPECT_EQ(got.text,
            "node_memory_MemTotal_bytes 3072\nnode_memory_MemFree_bytes 4096\nnode_memory_HugePages_Free 9\n");
  EXPECT_EQ(got.error, "");
}

TEST(Meminfo, OneTornReadIsForgotten) {
  CollectorFixture f("meminfo", {{"proc/meminfo", "MemTotal: 1 kB\nMemFree: 2 kB\n"}});
  f.run();
  f.write("proc/meminfo", "MemTotal: 1 k");
  EXPECT_EQ(f.run().error, "malformed: /proc/meminfo: 'MemTotal: 1 k': 'Name: number' or 'Name: number kB' expected");
  f.write("proc/meminfo", "MemTotal: 1");  // no unit any more: the next read has it back
  f.run();
  f.write("proc/meminfo", "MemTotal: 1 kB\nMemFree: 2 kB\n");
  const auto got = f.run();
  EXPECT_EQ(got.text, "node_memory_MemTotal_bytes 1024\nnode_memory_MemFree_bytes 2048\n");
  EXPECT_EQ(got.error, "");
}

}  // namespace vitald
