// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Softnet, Cases) {
  check_cases("softnet",
              {
                  {"since 5.14, CPU 1 offline",
                   {{"proc/net/softnet_stat",
                     "0005a1c3 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000003 00000004 "
                     "00000005 00000006 00000000 00000000 00000000\n"
                     "000c27d4 00000033 0000000a 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
                     "00000000 00000000 00000002 00000000 00000000\n"}},
                   "node_softnet_processed_total{cpu=\"0\"} 369091\n"
                   "node_softnet_dropped_total{cpu=\"0\"} 1\n"
                   "node_softnet_times_squeezed_total{cpu=\"0\"} 2\n"
                   "node_softnet_cpu_collision_total{cpu=\"0\"} 3\n"
                   "node_softnet_received_rps_total{cpu=\"0\"} 4\n"
                   "node_softnet_flow_limit_count_total{cpu=\"0\"} 5\n"
                   "node_softnet_backlog_len{cpu=\"0\"} 6\n"
                   "node_softnet_processed_total{cpu=\"2\"} 796628\n"
                   "node_softnet_dropped_total{cpu=\"2\"} 51\n"
                   "node_softnet_times_squeezed_total{cpu=\"2\"} 10\n"
                   "node_softnet_cpu_collision_total{cpu=\"2\"} 0\n"
                   "node_softnet_received_rps_total{cpu=\"2\"} 0\n"
                   "node_softnet_flow_limit_count_total{cpu=\"2\"} 0\n"
                   "node_softnet_backlog_len{cpu=\"2\"} 0\n",
                   ""},
                  {"2.6.23",
                   {{"proc/net/softnet_stat",
                     "00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002"}},
                   "node_softnet_processed_total{cpu=\"0\"} 1\n"
                   "node_softnet_dropped_total{cpu=\"0\"} 0\n"
                   "node_softnet_times_squeezed_total{cpu=\"0\"} 0\n"
                   "node_softnet_cpu_collision_total{cpu=\"0\"} 2\n"
                   "node_softnet_backlog_len{cpu=\"0\"} 0\n",
                   ""},
                  {"a backlog only beside the CPU's number",
                   {{"proc/net/softnet_stat",
                     "00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000003 "
                     "00000004 00000005\n"}},
                   "node_softnet_processed_total{cpu=\"0\"} 1\n"
                   "node_softnet_dropped_total{cpu=\"0\"} 0\n"
                   "node_softnet_times_squeezed_total{cpu=\"0\"} 0\n"
                   "node_softnet_cpu_collision_total{cpu=\"0\"} 2\n"
                   "node_softnet_received_rps_total{cpu=\"0\"} 3\n"
                   "node_softnet_flow_limit_count_total{cpu=\"0\"} 4\n"
                   "node_softnet_backlog_len{cpu=\"0\"} 0\n",
                   ""},
                  {"torn",
                   {{"proc/net/softnet_stat", "00000001 00000000"}},
                   "",
                   "malformed: /proc/net/softnet_stat: '00000001 00000000': at least nine columns expected"},
                  {"more than 32 bits",
                   {{"proc/net/softnet_stat", "100000000 0 0 0 0 0 0 0 0\n"}},
                   "",
                   "malformed: /proc/net/softnet_stat: '100000000 0 0 0 0 0 0 0 0': hexadecimal numbers expected"},
                  {"empty",
                   {{"proc/net/softnet_stat", ""}},
                   "",
                   "malformed: /proc/net/softnet_stat: '': a line per CPU expected"},
                  {"no file", {}, "", "gone: /proc/net/softnet_stat: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
