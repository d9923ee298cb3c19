// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Nfs, Cases) {
  check_cases(
      "nfs",
      {
          {"no NFSv2, no NFSv4",
           {{"proc/net/rpc/nfs",
             "net 70 71 69 38\n"
             "rpc 1947451737 791538 1092699734\n"
             "proc3 22 0 1336273809 45662 8552731 171063789 5 23962531 2386911 9976614 590 0 0 7954 15 "
             "1190 0 6032 51816 15968 2 1 27919\n"}},
           "node_nfs_packets_total{protocol=\"udp\"} 71\n"
           "node_nfs_packets_total{protocol=\"tcp\"} 69\n"
           "node_nfs_connections_total 38\n"
           "node_nfs_rpcs_total 1947451737\n"
           "node_nfs_rpc_retransmissions_total 791538\n"
           "node_nfs_rpc_authentication_refreshes_total 1092699734\n"
           "node_nfs_requests_total{method=\"Null\",proto=\"3\"} 0\n"
           "node_nfs_requests_total{method=\"GetAttr\",proto=\"3\"} 1336273809\n"
           "node_nfs_requests_total{method=\"SetAttr\",proto=\"3\"} 45662\n"
           "node_nfs_requests_total{method=\"Lookup\",proto=\"3\"} 8552731\n"
           "node_nfs_requests_total{method=\"Access\",proto=\"3\"} 171063789\n"
           "node_nfs_requests_total{method=\"ReadLink\",proto=\"3\"} 5\n"
           "node_nfs_requests_total{method=\"Read\",proto=\"3\"} 23962531\n"
           "node_nfs_requests_total{method=\"Write\",proto=\"3\"} 2386911\n"
           "node_nfs_requests_total{method=\"Create\",proto=\"3\"} 9976614\n"
           "node_nfs_requests_total{method=\"MkDir\",proto=\"3\"} 590\n"
           "node_nfs_requests_total{method=\"SymLink\",proto=\"3\"} 0\n"
           "node_nfs_requests_total{method=\"MkNod\",proto=\"3\"} 0\n"
           "node_nfs_requests_total{method=\"Remove\",proto=\"3\"} 7954\n"
           "node_nfs_requests_total{method=\"RmDir\",proto=\"3\"} 15\n"
           "node_nfs_requests_total{method=\"Rename\",proto=\"3\"} 1190\n"
           "node_nfs_requests_total{method=\"Link\",proto=\"3\"} 0\n"
           "node_nfs_requests_total{method=\"ReadDir\",proto=\"3\"} 6032\n"
           "node_nfs_requests_total{method=\"ReadDirPlus\",proto=\"3\"} 51816\n"
           "node_nfs_requests_total{method=\"FsStat\",proto=\"3\"} 15968\n"
           "node_nfs_requests_total{method=\"FsInfo\",proto=\"3\"} 2\n"
           "node_nfs_requests_total{method=\"PathConf\",proto=\"3\"} 1\n"
           "node_nfs_requests_total{method=\"Commit\",proto=\"3\"} 27919\n",
           ""},
          {"torn line",
           {{"proc/net/rpc/nfs", "net 70 71\n"}},
           "node_nfs_packets_total{protocol=\"udp\"} 71\n",
           "malformed: /proc/net/rpc/nfs: ' 70 71': more numbers expected (and 1 more)"},
          {"too few procedures",
           {{"proc/net/rpc/nfs",
             "net 70 71 69 38\n"
             "rpc 1947451737 791538 1092699734\n"
             "proc3 21 0 1336273809 45662 8552731 171063789 5 23962531 2386911 9976614 590 0 0 7954 15 "
             "1190 0 6032 51816 15968 "}},
           "node_nfs_packets_total{protocol=\"udp\"} 71\n"
           "node_nfs_packets_total{protocol=\"tcp\"} 69\n"
           "node_nfs_connections_total 38\n"
           "node_nfs_rpcs_total 1947451737\n"
           "node_nfs_rpc_retransmissions_total 791538\n"
           "node_nfs_rpc_authentication_refreshes_total 1092699734\n",
           "malformed: /proc/net/rpc/nfs: ' 21 0 1336273809 45662 8552731 171063789 5 23962531 2386911 "
           "9976614 590 0 0 7954 15 1190 0 6032 51816 15968 ': more numbers expected"},
          {"empty", {{"proc/net/rpc/nfs", ""}}, "", "malformed: /proc/net/rpc/nfs: '': lines of numbers expected"},
          {"no file", {}, "", "absent: /proc/net/rpc/nfs: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
