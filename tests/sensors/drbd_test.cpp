// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Drbd, Cases) {
  check_cases("drbd",
              {
                  {"one device",
                   {{"proc/drbd",
                     "version: 8.4.11 (api:1/proto:86-101)\n"
                     "srcversion: 5B3D0F62A94C81E7706D2F1 \n"
                     "\n"
                     " 1: cs:Connected ro:Primary/Secondary ds:UpToDate/Diskless C r-----\n"
                     "    ns:12819223 nr:14547125 lo:5 ep:1 wo:d oos:2\n"}},
                   "node_drbd_connected{device=\"drbd1\"} 1\n"
                   "node_drbd_node_role_is_primary{device=\"drbd1\",node=\"local\"} 1\n"
                   "node_drbd_node_role_is_primary{device=\"drbd1\",node=\"remote\"} 0\n"
                   "node_drbd_disk_state_is_up_to_date{device=\"drbd1\",node=\"local\"} 1\n"
                   "node_drbd_disk_state_is_up_to_date{device=\"drbd1\",node=\"remote\"} 0\n"
                   "node_drbd_network_sent_bytes_total{device=\"drbd1\"} 13126884352\n"
                   "node_drbd_network_received_bytes_total{device=\"drbd1\"} 14547125\n"
                   "node_drbd_local_pending{device=\"drbd1\"} 5\n"
                   "node_drbd_epochs{device=\"drbd1\"} 1\n"
                   "node_drbd_out_of_sync_bytes{device=\"drbd1\"} 2048\n",
                   ""},
                  {"not connected",
                   {{"proc/drbd", " 0: cs:WFConnection ro:Primary/Unknown\n"}},
                   "node_drbd_connected{device=\"drbd0\"} 0\n"
                   "node_drbd_node_role_is_primary{device=\"drbd0\",node=\"local\"} 1\n"
                   "node_drbd_node_role_is_primary{device=\"drbd0\",node=\"remote\"} 0\n",
                   ""},
                  {"torn", {{"proc/drbd", " 1: ns:17x"}}, "", "malformed: /proc/drbd: 'ns:17x': a number expected"},
                  {"empty", {{"proc/drbd", ""}}, "", "malformed: /proc/drbd: '': a line 'version: ...' expected"},
                  {"module not loaded", {}, "", "absent: /proc/drbd: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
