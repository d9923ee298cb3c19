// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Buddyinfo, Cases) {
  check_cases("buddyinfo",
              {
                  {"one zone",
                   {{"proc/buddyinfo", "Node 0, zone      DMA      1      0      3 \n"}},
                   "node_buddyinfo_blocks{node=\"0\",size=\"0\",zone=\"DMA\"} 1\n"
                   "node_buddyinfo_blocks{node=\"0\",size=\"1\",zone=\"DMA\"} 0\n"
                   "node_buddyinfo_blocks{node=\"0\",size=\"2\",zone=\"DMA\"} 3\n",
                   ""},
                  {"torn",
                   {{"proc/buddyinfo", "Node 0, zo"}},
                   "",
                   "malformed: /proc/buddyinfo: 'Node 0, zo': 'Node N, zone NAME' and numbers expected"},
                  {"not numbers",
                   {{"proc/buddyinfo", "Node 0, zone DMA 1 x\n"}},
                   "node_buddyinfo_blocks{node=\"0\",size=\"0\",zone=\"DMA\"} 1\n",
                   "malformed: /proc/buddyinfo: 'Node 0, zone DMA 1 x': 'Node N, zone NAME' and numbers expected"},
                  {"empty",
                   {{"proc/buddyinfo", ""}},
                   "",
                   "malformed: /proc/buddyinfo: '': 'Node N, zone NAME' and numbers expected"},
                  {"no file", {}, "", "gone: /proc/buddyinfo: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
