// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Nfsd, Cases) {
  check_cases(
      "nfsd",
      {
          {"3 only",
           {{"proc/net/rpc/nfsd",
             "rc 1 6 16116\n"
             "fh 2 0 0 0 0\n"
             "io 156696400 16551\n"
             "th 6 0 0.000 0.000\n"
             "ra 16 0 0 0 0 0 0 0 0 0 0 9\n"
             "net 984 55 466 1\n"
             "rpc 11531 6 1 2 3\n"
             "proc3 22 2 112 0 2056 111 0 0 0 0 0 0 0 0 0 0 0 27 216 0 2 1 0\n"
             "proc4 2 2 18678\n"
             "wdeleg_getattr 12\n"}},
           "node_nfsd_reply_cache_hits_total 1\n"
           "node_nfsd_reply_cache_misses_total 6\n"
           "node_nfsd_reply_cache_nocache_total 16116\n"
           "node_nfsd_file_handles_stale_total 2\n"
           "node_nfsd_disk_bytes_read_total 156696400\n"
           "node_nfsd_disk_bytes_written_total 16551\n"
           "node_nfsd_server_threads 6\n"
           "node_nfsd_read_ahead_cache_size_blocks 16\n"
           "node_nfsd_read_ahead_cache_not_found_total 9\n"
           "node_nfsd_packets_total{proto=\"udp\"} 55\n"
           "node_nfsd_packets_total{proto=\"tcp\"} 466\n"
           "node_nfsd_connections_total 1\n"
           "node_nfsd_server_rpcs_total 11531\n"
           "node_nfsd_rpc_errors_total{error=\"fmt\"} 1\n"
           "node_nfsd_rpc_errors_total{error=\"auth\"} 2\n"
           "node_nfsd_rpc_errors_total{error=\"cInt\"} 3\n"
           "node_nfsd_requests_total{method=\"GetAttr\",proto=\"3\"} 112\n"
           "node_nfsd_requests_total{method=\"SetAttr\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Lookup\",proto=\"3\"} 2056\n"
           "node_nfsd_requests_total{method=\"Access\",proto=\"3\"} 111\n"
           "node_nfsd_requests_total{method=\"ReadLink\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Read\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Write\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Create\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"MkDir\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"SymLink\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"MkNod\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Remove\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"RmDir\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Rename\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"Link\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"ReadDir\",proto=\"3\"} 27\n"
           "node_nfsd_requests_total{method=\"ReadDirPlus\",proto=\"3\"} 216\n"
           "node_nfsd_requests_total{method=\"FsStat\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"FsInfo\",proto=\"3\"} 2\n"
           "node_nfsd_requests_total{method=\"PathConf\",proto=\"3\"} 1\n"
           "node_nfsd_requests_total{method=\"Commit\",proto=\"3\"} 0\n"
           "node_nfsd_requests_total{method=\"WdelegGetattr\",proto=\"4\"} 12\n",
           ""},
          {"torn",
           {{"proc/net/rpc/nfsd", "rc 0 6"}},
           "node_nfsd_reply_cache_hits_total 0\n"
           "node_nfsd_reply_cache_misses_total 6\n",
           "malformed: /proc/net/rpc/nfsd: ' 0 6': more numbers expected"},
          {"empty", {{"proc/net/rpc/nfsd", ""}}, "", "malformed: /proc/net/rpc/nfsd: '': lines of numbers expected"},
          {"no file", {}, "", "absent: /proc/net/rpc/nfsd: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
