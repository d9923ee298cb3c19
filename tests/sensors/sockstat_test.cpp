// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Sockstat, Cases) {
  check_cases(
      "sockstat",
      {
          {"IPv4 and IPv6",
           {{"proc/net/sockstat",
             "sockets: used 143\n"
             "TCP: inuse 6 orphan 0 tw 3 alloc 19 mem 2\n"
             "FRAG: inuse 0 memory 0\n"},
            {"proc/net/sockstat6", "TCP6: inuse 11\n"}},
           "node_sockstat_sockets_used 143\n"
           "node_sockstat_TCP_inuse 6\n"
           "node_sockstat_TCP_orphan 0\n"
           "node_sockstat_TCP_tw 3\n"
           "node_sockstat_TCP_alloc 19\n"
           "node_sockstat_TCP_mem 2\n"
           "node_sockstat_TCP_mem_bytes 8192\n"
           "node_sockstat_FRAG_inuse 0\n"
           "node_sockstat_FRAG_memory 0\n"
           "node_sockstat_TCP6_inuse 11\n",
           ""},
          {"unknown state", {{"proc/net/sockstat", "UDP: inuse 1 new 7\n"}}, "node_sockstat_UDP_inuse 1\n", ""},
          {"torn",
           {{"proc/net/sockstat",
             "sockets: used 143\n"
             "TCP: inuse 6 orphan"}},
           "node_sockstat_sockets_used 143\n"
           "node_sockstat_TCP_inuse 6\n",
           "malformed: /proc/net/sockstat: 'TCP: inuse 6 orphan': a number after each name expected"},
          {"a state without a number costs no other",
           {{"proc/net/sockstat", "TCP: inuse 6 orphan x tw 3 alloc 19 mem 2\nUDP: inuse 1\n"}},
           "node_sockstat_TCP_inuse 6\n"
           "node_sockstat_TCP_tw 3\n"
           "node_sockstat_TCP_alloc 19\n"
           "node_sockstat_TCP_mem 2\n"
           "node_sockstat_TCP_mem_bytes 8192\n"
           "node_sockstat_UDP_inuse 1\n",
           "malformed: /proc/net/sockstat: 'TCP: inuse 6 orphan x tw 3 alloc 19 mem 2': a number after each name "
           "expected"},
          {"a name that had to be cleaned does not take another's place",
           {{"proc/net/sockstat", "UDP-LITE: inuse 3\nUDP_LITE: inuse 9\n"}},
           "node_sockstat_UDP_LITE_inuse 9\n",
           ""},
          {"empty", {{"proc/net/sockstat", ""}}, "", "malformed: /proc/net/sockstat: '': lines of sockets expected"},
          {"no files", {}, "", ""},
      });
}

}  // namespace vitald
