// SPDX-License-Identifier: Apache-2.0
// What the NFS server was asked, from /proc/net/rpc/nfsd.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/proc/rpc_stats.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_nfsd_connections_total", counter, "Total number of NFSd TCP connections.", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_disk_bytes_read_total", counter, "Total NFSd bytes read.", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_disk_bytes_written_total", counter, "Total NFSd bytes written.", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_file_handles_stale_total", counter, "Total number of NFSd stale file handles", "", "",
     "/proc/net/rpc/nfsd"},
    {"node_nfsd_packets_total", counter, "Total NFSd network packets (sent+received) by protocol type.", "proto", "",
     "/proc/net/rpc/nfsd"},
    {"node_nfsd_read_ahead_cache_not_found_total", counter, "Total number of NFSd read ahead cache not found.", "", "",
     "/proc/net/rpc/nfsd"},
    {"node_nfsd_read_ahead_cache_size_blocks", gauge, "How large the read ahead cache is in blocks.", "", "",
     "/proc/net/rpc/nfsd"},
    {"node_nfsd_reply_cache_hits_total", counter,
     "Total number of NFSd Reply Cache hits (client lost server response).", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_reply_cache_misses_total", counter,
     "Total number of NFSd Reply Cache an operation that requires caching (idempotent).", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_reply_cache_nocache_total", counter,
     "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_requests_total", counter, "Total number NFSd Requests by method and protocol.", "proto,method", "",
     "/proc/net/rpc/nfsd"},
    {"node_nfsd_rpc_errors_total", counter, "Total number of NFSd RPC errors by error type.", "error", "",
     "/proc/net/rpc/nfsd"},
    {"node_nfsd_server_rpcs_total", counter, "Total number of NFSd RPCs.", "", "", "/proc/net/rpc/nfsd"},
    {"node_nfsd_server_threads", gauge, "Total number of NFSd kernel threads that are running.", "", "",
     "/proc/net/rpc/nfsd"},
};
enum Family {
  kConnections,
  kBytesRead,
  kBytesWritten,
  kStale,
  kPackets,
  kReadAheadNotFound,
  kReadAheadSize,
  kHits,
  kMisses,
  kNoCache,
  kRequests,
  kErrors,
  kRpcs,
  kThreads
};

// "rc 0 6 16116"  "fh 0 0 0 0 0"  "io 156696400 16551"  "th 6 0 0.000 ..."  "ra 16 0 0 0 0 0 0 0 0 0 0 0"
// "net 984 55 466 1"  "rpc 11531 3 1 2 0": calls, bad calls (the sum), of these format, auth, client
constexpr RpcColumn kColumns[] = {
    {"rc", 0, kMetrics[kHits]},
    {"rc", 1, kMetrics[kMisses]},
    {"rc", 2, kMetrics[kNoCache]},
    {"fh", 0, kMetrics[kStale]},
    {"io", 0, kMetrics[kBytesRead]},
    {"io", 1, kMetrics[kBytesWritten]},
    {"th", 0, kMetrics[kThreads]},
    {"ra", 0, kMetrics[kReadAheadSize]},
    {"ra", 11, kMetrics[kReadAheadNotFound]},
    {"net", 1, kMetrics[kPackets], "udp"},
    {"net", 2, kMetrics[kPackets], "tcp"},
    {"net", 3, kMetrics[kConnections]},
    {"rpc", 0, kMetrics[kRpcs]},
    {"rpc", 2, kMetrics[kErrors], "fmt"},
    {"rpc", 3, kMetrics[kErrors], "auth"},
    {"rpc", 4, kMetrics[kErrors], "cInt"},
};
// RFC 7530, operations by number; without a name: those that node_exporter does not export.
constexpr std::string_view kProc4Ops[] = {"",
                                          "",
                                          "",
                                          "Access",
                                          "Close",
                                          "Commit",
                                          "Create",
                                          "DelegPurge",
                                          "DelegReturn",
                                          "GetAttr",
                                          "GetFH",
                                          "Link",
                                          "Lock",
                                          "Lockt",
                                          "Locku",
                                          "Lookup",
                                          "LookupRoot",
                                          "Nverify",
                                          "Open",
                                          "OpenAttr",
                                          "OpenConfirm",
                                          "OpenDgrd",
                                          "PutFH",
                                          "",
                                          "",
                                          "Read",
                                          "ReadDir",
                                          "ReadLink",
                                          "Remove",
                                          "Rename",
                                          "Renew",
                                          "RestoreFH",
                                          "SaveFH",
                                          "SecInfo",
                                          "SetAttr",
                                          "SetClientID",
                                          "SetClientIDConfirm",
                                          "Verify",
                                          "Write",
                                          "RelLockOwner"};
constexpr RpcProcedures kProcedures[] = {{"proc2", "2", std::span(kNfs2Procedures).subspan(1), 18, 1},
                                         {"proc3", "3", std::span(kNfs3Procedures).subspan(1), 22, 1},
                                         {"proc4ops", "4", kProc4Ops, 39}};

class Nfsd final : public Collector {
 public:
  explicit Nfsd(const Host& host) : file_(host.procfs("net/rpc/nfsd")) {}

  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return absent_when_gone(text.error());
    LeftOut left_out;
    left_out.add(collect_rpc_stats(file_.path(), *text, kColumns, kProcedures, kMetrics[kRequests], out));
    // "wdeleg_getattr 12": since 6.7
    const auto at = text->find("\nwdeleg_getattr ");
    if (at == text->npos) return left_out.outcome();
    std::string_view rest = text->substr(at + 1);
    const auto line = take_line(rest);
    std::string_view words = line;
    take_word(words);
    if (const auto n = take_u64(words)) out.set(kMetrics[kRequests], static_cast<double>(*n), "4", "WdelegGetattr");
    else left_out.add(malformed(file_.path(), line, "a number"));
    return left_out.outcome();
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Nfsd>(host); }

}  // namespace

extern const CollectorInfo collector_nfsd;
const CollectorInfo collector_nfsd{kMetrics, {}, make};

}  // namespace vitald
