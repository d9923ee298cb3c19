// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(MeminfoNuma, NoBlankBeforeEightDigits) {
  const std::string node = "sys/devices/system/node/node0/";
  const auto got = run_collector(
      "meminfo_numa",
      {{node + "meminfo", "Node 0 ShadowCallStack:10373888 kB\nNode 0 A-b: 1\n"}, {node + "numastat", "numa_hit 6\n"}});
  EXPECT_EQ(got.text,
            "node_memory_numa_ShadowCallStack{node=\"0\"} 10622861312\nnode_memory_numa_A_b{node=\"0\"} 1\n"
            "node_memory_numa_numa_hit_total{node=\"0\"} 6\n");
  EXPECT_EQ(got.error, "");
}

TEST(MeminfoNuma, Cases) {
  check_cases(
      "meminfo_numa",
      {
          {"one node",
           {{"sys/devices/system/node/node0/meminfo",
             "\n"
             "Node 0 MemTotal:       107505410 kB\n"
             "Node 0 Active(anon):     885252 kB\n"
             "Node 0 HugePages_Total:     3\n"},
            {"sys/devices/system/node/node0/numastat",
             "numa_hit 111702455512\n"
             "numa_miss 1\n"},
            {"sys/devices/system/node/online", "0\n"}},
           "node_memory_numa_MemTotal{node=\"0\"} 110085539840\n"
           "node_memory_numa_Active_anon{node=\"0\"} 906498048\n"
           "node_memory_numa_HugePages_Total{node=\"0\"} 3\n"
           "node_memory_numa_numa_hit_total{node=\"0\"} 111702455512\n"
           "node_memory_numa_numa_miss_total{node=\"0\"} 1\n",
           ""},
          {"unknown unit",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 1 MB\n"}},
           "",
           "malformed: /sys/devices/system/node/node0/meminfo: 'Node 0 MemTotal: 1 MB': 'Node N NAME:' and a number, "
           "maybe of kB expected (and 1 more)"},
          {"torn",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:"}},
           "",
           "malformed: /sys/devices/system/node/node0/meminfo: 'Node 0 MemTotal:': 'Node N NAME:' and a number, maybe "
           "of kB expected (and 1 more)"},
          {"no size",
           {{"sys/devices/system/node/node0/meminfo",
             "Node 0 FilePages: 18446744073709551612 kB\nNode 0 HugePages_Free: 1\n"},
            {"sys/devices/system/node/node0/numastat", "numa_hit 1\n"}},
           "node_memory_numa_HugePages_Free{node=\"0\"} 1\n"
           "node_memory_numa_numa_hit_total{node=\"0\"} 1\n",
           ""},
          {"torn numastat",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 HugePages_Free: 1\n"},
            {"sys/devices/system/node/node0/numastat", "numa_hit"}},
           "node_memory_numa_HugePages_Free{node=\"0\"} 1\n",
           "malformed: /sys/devices/system/node/node0/numastat: 'numa_hit': a name and a number expected"},
          {"no numastat",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 HugePages_Free: 1\n"}},
           "node_memory_numa_HugePages_Free{node=\"0\"} 1\n",
           "gone: /sys/devices/system/node/node0/numastat: No such file or directory (ENOENT)"},
          {"a name that had to be cleaned does not take another's place",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 A-B: 3\nNode 0 A_B: 9\n"},
            {"sys/devices/system/node/node0/numastat", "numa.hit 1\nnuma_hit 2\n"},
            {"sys/devices/system/node/node1/meminfo", "Node 1 A-B: 4\n"},
            {"sys/devices/system/node/node1/numastat", "numa.hit 5\n"}},
           "node_memory_numa_A_B{node=\"0\"} 9\n"
           "node_memory_numa_numa_hit_total{node=\"0\"} 2\n"
           "node_memory_numa_A_B{node=\"1\"} 4\n"
           "node_memory_numa_numa_hit_total{node=\"1\"} 5\n",
           ""},
          {"no nodes", {}, "", ""},
      });
}

}  // namespace vitald
