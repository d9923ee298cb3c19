// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Arp, Cases) {
  check_cases("arp",
              {
                  {"three devices",
                   {{"proc/net/arp",
                     "IP address       HW type     Flags       HW address            Mask     Device\n"
                     "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        eth1\n"
                     "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        eth0\n"
                     "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        eth1\n"
                     "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        nope\n"}},
                   "node_arp_entries{device=\"eth0\"} 1\n"
                   "node_arp_entries{device=\"eth1\"} 2\n",
                   "",
                   {{"collector.arp.device-exclude", "nope"}}},
                  {"include",
                   {{"proc/net/arp",
                     "IP address       HW type     Flags       HW address            Mask     Device\n"
                     "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        eth1\n"
                     "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        eth0\n"}},
                   "node_arp_entries{device=\"eth1\"} 1\n",
                   "",
                   {{"collector.arp.device-include", "th1$"}}},
                  {"torn",
                   {{"proc/net/arp",
                     "IP address       HW type     Flags       HW address            Mask     Device\n"
                     "10.0.0.1    0x1         0x2\n"}},
                   "",
                   "malformed: /proc/net/arp: '10.0.0.1    0x1         0x2': six columns expected"},
                  {"empty", {{"proc/net/arp", ""}}, "", "malformed: /proc/net/arp: '': a line of names expected"},
                  {"both filters",
                   {},
                   "",
                   "malformed: --collector.arp.device-exclude and --collector.arp.device-include are mutually "
                   "exclusive: give one of them",
                   {{"collector.arp.device-exclude", "a"}, {"collector.arp.device-include", "b"}}},
                  {"no file", {}, "", "gone: /proc/net/arp: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
