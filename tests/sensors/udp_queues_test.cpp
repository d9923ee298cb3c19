// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(UdpQueues, Cases) {
  check_cases(
      "udp_queues",
      {
          {"two sockets, and IPv6 without any",
           {{"proc/net/udp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 00000000:0016 00000000:0000 0A 00000024:00000001 00:00000000 00000000     0        0 7630 1 0 0\n"
             "   0: 00000000:0016 00000000:0000 0A 00000024:00000001 00:00000000 00000000     0        0 7630 1 0 0\n"},
            {"proc/net/udp6",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"}},
           "node_udp_queues{ip=\"v4\",queue=\"tx\"} 72\n"
           "node_udp_queues{ip=\"v4\",queue=\"rx\"} 2\n"
           "node_udp_queues{ip=\"v6\",queue=\"tx\"} 0\n"
           "node_udp_queues{ip=\"v6\",queue=\"rx\"} 0\n",
           ""},
          {"IPv4 only",
           {{"proc/net/udp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 00000000:0016 00000000:0000 0A 00000024:00000001 00:00000000 00000000     0        0 7630 1 0 "
             "0\n"}},
           "node_udp_queues{ip=\"v4\",queue=\"tx\"} 36\n"
           "node_udp_queues{ip=\"v4\",queue=\"rx\"} 1\n",
           ""},
          {"torn",
           {{"proc/net/udp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 00000000:0016 00000000:0000 0A 000"}},
           "",
           "malformed: /proc/net/udp: '   0: 00000000:0016 00000000:0000 0A 000': tx_queue:rx_queue in the fifth "
           "column expected"},
          {"empty",
           {{"proc/net/udp", ""}},
           "node_udp_queues{ip=\"v4\",queue=\"tx\"} 0\n"
           "node_udp_queues{ip=\"v4\",queue=\"rx\"} 0\n",
           ""},
          {"no files", {}, "", "absent: /proc/net/udp, /proc/net/udp6: neither is there"},
      });
}

}  // namespace vitald
