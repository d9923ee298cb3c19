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
          {"NFSv4.2: each procedure by its number in the kernel, 44 is LAYOUTGET; newer ones are left out",
           {{"proc/net/rpc/nfs",
             "proc4 60 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29"
             " 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59\n"}},
           "node_nfs_requests_total{method=\"Null\",proto=\"4\"} 0\n"
           "node_nfs_requests_total{method=\"Read\",proto=\"4\"} 1\n"
           "node_nfs_requests_total{method=\"Write\",proto=\"4\"} 2\n"
           "node_nfs_requests_total{method=\"Commit\",proto=\"4\"} 3\n"
           "node_nfs_requests_total{method=\"Open\",proto=\"4\"} 4\n"
           "node_nfs_requests_total{method=\"OpenConfirm\",proto=\"4\"} 5\n"
           "node_nfs_requests_total{method=\"OpenNoattr\",proto=\"4\"} 6\n"
           "node_nfs_requests_total{method=\"OpenDowngrade\",proto=\"4\"} 7\n"
           "node_nfs_requests_total{method=\"Close\",proto=\"4\"} 8\n"
           "node_nfs_requests_total{method=\"Setattr\",proto=\"4\"} 9\n"
           "node_nfs_requests_total{method=\"FsInfo\",proto=\"4\"} 10\n"
           "node_nfs_requests_total{method=\"Renew\",proto=\"4\"} 11\n"
           "node_nfs_requests_total{method=\"SetClientID\",proto=\"4\"} 12\n"
           "node_nfs_requests_total{method=\"SetClientIDConfirm\",proto=\"4\"} 13\n"
           "node_nfs_requests_total{method=\"Lock\",proto=\"4\"} 14\n"
           "node_nfs_requests_total{method=\"Lockt\",proto=\"4\"} 15\n"
           "node_nfs_requests_total{method=\"Locku\",proto=\"4\"} 16\n"
           "node_nfs_requests_total{method=\"Access\",proto=\"4\"} 17\n"
           "node_nfs_requests_total{method=\"Getattr\",proto=\"4\"} 18\n"
           "node_nfs_requests_total{method=\"Lookup\",proto=\"4\"} 19\n"
           "node_nfs_requests_total{method=\"LookupRoot\",proto=\"4\"} 20\n"
           "node_nfs_requests_total{method=\"Remove\",proto=\"4\"} 21\n"
           "node_nfs_requests_total{method=\"Rename\",proto=\"4\"} 22\n"
           "node_nfs_requests_total{method=\"Link\",proto=\"4\"} 23\n"
           "node_nfs_requests_total{method=\"Symlink\",proto=\"4\"} 24\n"
           "node_nfs_requests_total{method=\"Create\",proto=\"4\"} 25\n"
           "node_nfs_requests_total{method=\"Pathconf\",proto=\"4\"} 26\n"
           "node_nfs_requests_total{method=\"StatFs\",proto=\"4\"} 27\n"
           "node_nfs_requests_total{method=\"ReadLink\",proto=\"4\"} 28\n"
           "node_nfs_requests_total{method=\"ReadDir\",proto=\"4\"} 29\n"
           "node_nfs_requests_total{method=\"ServerCaps\",proto=\"4\"} 30\n"
           "node_nfs_requests_total{method=\"DelegReturn\",proto=\"4\"} 31\n"
           "node_nfs_requests_total{method=\"GetACL\",proto=\"4\"} 32\n"
           "node_nfs_requests_total{method=\"SetACL\",proto=\"4\"} 33\n"
           "node_nfs_requests_total{method=\"FsLocations\",proto=\"4\"} 34\n"
           "node_nfs_requests_total{method=\"ReleaseLockowner\",proto=\"4\"} 35\n"
           "node_nfs_requests_total{method=\"Secinfo\",proto=\"4\"} 36\n"
           "node_nfs_requests_total{method=\"FsidPresent\",proto=\"4\"} 37\n"
           "node_nfs_requests_total{method=\"ExchangeID\",proto=\"4\"} 38\n"
           "node_nfs_requests_total{method=\"CreateSession\",proto=\"4\"} 39\n"
           "node_nfs_requests_total{method=\"DestroySession\",proto=\"4\"} 40\n"
           "node_nfs_requests_total{method=\"Sequence\",proto=\"4\"} 41\n"
           "node_nfs_requests_total{method=\"GetLeaseTime\",proto=\"4\"} 42\n"
           "node_nfs_requests_total{method=\"ReclaimComplete\",proto=\"4\"} 43\n"
           "node_nfs_requests_total{method=\"LayoutGet\",proto=\"4\"} 44\n"
           "node_nfs_requests_total{method=\"GetDeviceInfo\",proto=\"4\"} 45\n"
           "node_nfs_requests_total{method=\"LayoutCommit\",proto=\"4\"} 46\n"
           "node_nfs_requests_total{method=\"LayoutReturn\",proto=\"4\"} 47\n"
           "node_nfs_requests_total{method=\"SecinfoNoName\",proto=\"4\"} 48\n"
           "node_nfs_requests_total{method=\"TestStateID\",proto=\"4\"} 49\n"
           "node_nfs_requests_total{method=\"FreeStateID\",proto=\"4\"} 50\n"
           "node_nfs_requests_total{method=\"GetDeviceList\",proto=\"4\"} 51\n"
           "node_nfs_requests_total{method=\"BindConnToSession\",proto=\"4\"} 52\n"
           "node_nfs_requests_total{method=\"DestroyClientID\",proto=\"4\"} 53\n"
           "node_nfs_requests_total{method=\"Seek\",proto=\"4\"} 54\n"
           "node_nfs_requests_total{method=\"Allocate\",proto=\"4\"} 55\n"
           "node_nfs_requests_total{method=\"DeAllocate\",proto=\"4\"} 56\n"
           "node_nfs_requests_total{method=\"LayoutStats\",proto=\"4\"} 57\n"
           "node_nfs_requests_total{method=\"Clone\",proto=\"4\"} 58\n",
           ""},
          {"empty", {{"proc/net/rpc/nfs", ""}}, "", "malformed: /proc/net/rpc/nfs: '': lines of numbers expected"},
          {"no file", {}, "", "absent: /proc/net/rpc/nfs: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
