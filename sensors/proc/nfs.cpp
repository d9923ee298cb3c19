// SPDX-License-Identifier: Apache-2.0
// What the NFS client asked, from /proc/net/rpc/nfs.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/proc/rpc_stats.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_nfs_connections_total", counter, "Total number of NFSd TCP connections.", "", "", "/proc/net/rpc/nfs"},
    {"node_nfs_packets_total", counter, "Total NFSd network packets (sent+received) by protocol type.", "protocol", "",
     "/proc/net/rpc/nfs"},
    {"node_nfs_requests_total", counter, "Number of NFS procedures invoked.", "proto,method", "", "/proc/net/rpc/nfs"},
    {"node_nfs_rpc_authentication_refreshes_total", counter, "Number of RPC authentication refreshes performed.", "",
     "", "/proc/net/rpc/nfs"},
    {"node_nfs_rpc_retransmissions_total", counter, "Number of RPC transmissions performed.", "", "",
     "/proc/net/rpc/nfs"},
    {"node_nfs_rpcs_total", counter, "Total number of RPCs performed.", "", "", "/proc/net/rpc/nfs"},
};
enum Family { kConnections, kPackets, kRequests, kAuthRefreshes, kRetransmissions, kRpcs };

// "net 70 70 69 38": packets, of these UDP, TCP; TCP connections. "rpc 1947451737 791538 1092699734"
constexpr RpcColumn kColumns[] = {
    {"net", 1, kMetrics[kPackets], "udp"}, {"net", 2, kMetrics[kPackets], "tcp"},  {"net", 3, kMetrics[kConnections]},
    {"rpc", 0, kMetrics[kRpcs]},           {"rpc", 1, kMetrics[kRetransmissions]}, {"rpc", 2, kMetrics[kAuthRefreshes]},
};
// In the order of the client's procedure table (fs/nfs/nfs4xdr.c nfs4_procedures, by the NFSPROC4_CLNT_* of
// include/linux/nfs4.h). node_exporter 1.12 has LayoutGet and GetDeviceInfo the other way round.
constexpr std::string_view kProc4[] = {"Null",
                                       "Read",
                                       "Write",
                                       "Commit",
                                       "Open",
                                       "OpenConfirm",
                                       "OpenNoattr",
                                       "OpenDowngrade",
                                       "Close",
                                       "Setattr",
                                       "FsInfo",
                                       "Renew",
                                       "SetClientID",
                                       "SetClientIDConfirm",
                                       "Lock",
                                       "Lockt",
                                       "Locku",
                                       "Access",
                                       "Getattr",
                                       "Lookup",
                                       "LookupRoot",
                                       "Remove",
                                       "Rename",
                                       "Link",
                                       "Symlink",
                                       "Create",
                                       "Pathconf",
                                       "StatFs",
                                       "ReadLink",
                                       "ReadDir",
                                       "ServerCaps",
                                       "DelegReturn",
                                       "GetACL",
                                       "SetACL",
                                       "FsLocations",
                                       "ReleaseLockowner",
                                       "Secinfo",
                                       "FsidPresent",
                                       "ExchangeID",
                                       "CreateSession",
                                       "DestroySession",
                                       "Sequence",
                                       "GetLeaseTime",
                                       "ReclaimComplete",
                                       "LayoutGet",
                                       "GetDeviceInfo",
                                       "LayoutCommit",
                                       "LayoutReturn",
                                       "SecinfoNoName",
                                       "TestStateID",
                                       "FreeStateID",
                                       "GetDeviceList",
                                       "BindConnToSession",
                                       "DestroyClientID",
                                       "Seek",
                                       "Allocate",
                                       "DeAllocate",
                                       "LayoutStats",
                                       "Clone"};
constexpr RpcProcedures kProcedures[] = {
    {"proc2", "2", kNfs2Procedures, 18}, {"proc3", "3", kNfs3Procedures, 22}, {"proc4", "4", kProc4, 0}};

class Nfs final : public Collector {
 public:
  explicit Nfs(const Host& host) : file_(host.procfs("net/rpc/nfs")) {}

  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return absent_when_gone(text.error());
    return collect_rpc_stats(file_.path(), *text, kColumns, kProcedures, kMetrics[kRequests], out);
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Nfs>(host); }

}  // namespace

extern const CollectorInfo collector_nfs;
const CollectorInfo collector_nfs{kMetrics, {}, make};

}  // namespace vitald
