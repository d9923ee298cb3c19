// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Sockstat, Cases) {
  check_cases("sockstat",
              {
                  {"IPv4 and IPv6",
                   {{"proc/net/sockstat",
                     "sockets: used 229\n"
                     "TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1\n"
                     "FRAG: inuse 0 memory 0\n"},
                    {"proc/net/sockstat6", "TCP6: inuse 17\n"}},
                   "node_sockstat_sockets_used 229\n"
                   "node_sockstat_TCP_inuse 4\n"
                   "node_sockstat_TCP_orphan 0\n"
                   "node_sockstat_TCP_tw 4\n"
                   "node_sockstat_TCP_alloc 17\n"
                   "node_sockstat_TCP_mem 1\n"
                   "node_sockstat_TCP_mem_bytes 4096\n"
                   "node_sockstat_FRAG_inuse 0\n"
                   "node_sockstat_FRAG_memory 0\n"
                   "node_sockstat_TCP6_inuse 17\n",
                   ""},
                  {"unknown state", {{"proc/net/sockstat", "UDP: inuse 1 new 7\n"}}, "node_sockstat_UDP_inuse 1\n", ""},
                  {"torn",
                   {{"proc/net/sockstat",
                     "sockets: used 229\n"
                     "TCP: inuse 4 orphan"}},
                   "node_sockstat_sockets_used 229\n"
                   "node_sockstat_TCP_inuse 4\n",
                   "malformed: /proc/net/sockstat: 'TCP: inuse 4 orphan': a number after each name expected"},
                  {"empty", {{"proc/net/sockstat", ""}}, "", ""},
                  {"no files", {}, "", ""},
              });
}

}  // namespace vitald
