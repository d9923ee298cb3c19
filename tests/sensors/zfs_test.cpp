// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Zfs, Cases) {
  check_cases(
      "zfs",
      {
          {"arc, one pool with one dataset",
           {{"proc/spl/kstat/zfs/arcstats",
             "6 1 0x01 91 2111 9379279847 89583870051487\n"
             "name                            type data\n"
             "hits                            4    7565574\n"
             "meta-x  3 -5\n"
             "name7 7 text\n"},
            {"proc/spl/kstat/zfs/tank/io",
             "12 3 0x00 1 80 31012165015527 745760747822996\n"
             "nread    nwritten reads    writes   wtime    wlentime wupdate  rtime    rlentime rupdate  wcnt     rcnt  "
             "  \n"
             "1594230 9201812 22 138 2078056 130731354 14235865874009 31199507 130731354 29574332125730 0 0\n"},
            {"proc/spl/kstat/zfs/tank/objset-1",
             "23 1 0x01 7 2160\n"
             "name                            type data\n"
             "dataset_name                    7    tank/data set\n"
             "writes                          4    9\n"},
            {"proc/spl/kstat/zfs/tank/state", "DEGRADED\n"}},
           "node_zfs_arc_hits 7565574\n"
           "node_zfs_arc_meta_x -5\n"
           "node_zfs_zpool_nread{zpool=\"tank\"} 1594230\n"
           "node_zfs_zpool_nwritten{zpool=\"tank\"} 9201812\n"
           "node_zfs_zpool_reads{zpool=\"tank\"} 22\n"
           "node_zfs_zpool_writes{zpool=\"tank\"} 138\n"
           "node_zfs_zpool_wtime{zpool=\"tank\"} 2078056\n"
           "node_zfs_zpool_wlentime{zpool=\"tank\"} 130731354\n"
           "node_zfs_zpool_wupdate{zpool=\"tank\"} 14235865874009\n"
           "node_zfs_zpool_rtime{zpool=\"tank\"} 31199507\n"
           "node_zfs_zpool_rlentime{zpool=\"tank\"} 130731354\n"
           "node_zfs_zpool_rupdate{zpool=\"tank\"} 29574332125730\n"
           "node_zfs_zpool_wcnt{zpool=\"tank\"} 0\n"
           "node_zfs_zpool_rcnt{zpool=\"tank\"} 0\n"
           "node_zfs_zpool_dataset_writes{dataset=\"tank/data set\",zpool=\"tank\"} 9\n"
           "node_zfs_zpool_state{state=\"online\",zpool=\"tank\"} 0\n"
           "node_zfs_zpool_state{state=\"degraded\",zpool=\"tank\"} 1\n"
           "node_zfs_zpool_state{state=\"faulted\",zpool=\"tank\"} 0\n"
           "node_zfs_zpool_state{state=\"offline\",zpool=\"tank\"} 0\n"
           "node_zfs_zpool_state{state=\"removed\",zpool=\"tank\"} 0\n"
           "node_zfs_zpool_state{state=\"unavail\",zpool=\"tank\"} 0\n"
           "node_zfs_zpool_state{state=\"suspended\",zpool=\"tank\"} 0\n",
           ""},
          {"torn",
           {{"proc/spl/kstat/zfs/arcstats",
             "name                            type data\n"
             "hits                            4    "}},
           "",
           "malformed: /proc/spl/kstat/zfs/arcstats: 'hits                            4    ': a number expected"},
          {"no header",
           {{"proc/spl/kstat/zfs/zil", "x"}},
           "",
           "malformed: /proc/spl/kstat/zfs/zil: 'x': a line 'name type data' expected"},
          {"torn io",
           {{"proc/spl/kstat/zfs/tank/io",
             "nread    nwritten reads\n"
             "1 2"}},
           "node_zfs_zpool_nread{zpool=\"tank\"} 1\n"
           "node_zfs_zpool_nwritten{zpool=\"tank\"} 2\n",
           "malformed: /proc/spl/kstat/zfs/tank/io: 'nread    nwritten reads': as many numbers below as names "
           "expected"},
          {"a name that had to be cleaned does not take another's place",
           {{"proc/spl/kstat/zfs/arcstats", "name type data\na-b 4 3\na_b 4 9\n"},
            {"proc/spl/kstat/zfs/tank/io", "nread-x nread_x\n1 2\n"},
            {"proc/spl/kstat/zfs/tank/objset-1",
             "name type data\ndataset_name 7 tank/data set\nwrites-x 4 5\nwrites_x 4 6\n"}},
           "node_zfs_arc_a_b 9\n"
           "node_zfs_zpool_nread_x{zpool=\"tank\"} 2\n"
           "node_zfs_zpool_dataset_writes_x{dataset=\"tank/data set\",zpool=\"tank\"} 6\n",
           ""},
          {"no ZFS", {}, "", "absent: /proc/spl/kstat/zfs: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
