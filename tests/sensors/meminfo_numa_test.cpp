// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(MeminfoNuma, Cases) {
  check_cases(
      "meminfo_numa",
      {
          {"one node",
           {{"sys/devices/system/node/node0/meminfo",
             "\n"
             "Node 0 MemTotal:       134182340 kB\n"
             "Node 0 Active(anon):     691324 kB\n"
             "Node 0 HugePages_Total:     3\n"},
            {"sys/devices/system/node/node0/numastat",
             "numa_hit 193460335812\n"
             "numa_miss 1\n"},
            {"sys/devices/system/node/online", "0\n"}},
           "node_memory_numa_MemTotal{node=\"0\"} 137402716160\n"
           "node_memory_numa_Active_anon{node=\"0\"} 707915776\n"
           "node_memory_numa_HugePages_Total{node=\"0\"} 3\n"
           "node_memory_numa_numa_hit_total{node=\"0\"} 193460335812\n"
           "node_memory_numa_numa_miss_total{node=\"0\"} 1\n",
           ""},
          {"unknown unit",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 1 MB\n"}},
           "",
           "malformed: /sys/devices/system/node/node0/meminfo: 'Node 0 MemTotal: 1 MB': a number, maybe of kB "
           "expected"},
          {"torn",
           {{"sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:"}},
           "",
           "malformed: /sys/devices/system/node/node0/meminfo: 'Node 0 MemTotal:': a number, maybe of kB expected"},
          {"torn numastat",
           {{"sys/devices/system/node/node0/meminfo", ""}, {"sys/devices/system/node/node0/numastat", "numa_hit"}},
           "",
           "malformed: /sys/devices/system/node/node0/numastat: 'numa_hit': a name and a number expected"},
          {"no numastat",
           {{"sys/devices/system/node/node0/meminfo", ""}},
           "",
           "gone: /sys/devices/system/node/node0/numastat: No such file or directory (ENOENT)"},
          {"no nodes", {}, "", ""},
      });
}

}  // namespace vitald
