// SPDX-License-Identifier: Apache-2.0
// How TCP connections begin, stall and break: per owner, and the time of their first exchange for the host.
#include <cstddef>

#include "sensors/bpf/coarse.h"
#include "sensors/bpf/net.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "tcp_life";

constexpr MetricDesc kConnections{"vitald_owner_tcp_connections_total",
                                  MetricType::counter,
                                  "TCP connections that were established (connected from here, or accepted) or could "
                                  "not be (failed: refused, no answer, unreachable; abandoned: the application gave up "
                                  "before there was an answer, or there was no free local port to begin with), by the "
                                  "owner that made the socket; where owners are "
                                  "told apart by a v1 hierarchy, all are owner=\"other\". A result has its series from "
                                  "its first time.",
                                  "result,owner_kind,owner,namespace,pod,container,guest",
                                  "",
                                  "tp_btf/inet_sock_set_state"};
constexpr MetricDesc kRetransmits{"vitald_owner_tcp_retransmits_total",
                                  MetricType::counter,
                                  "Times that the kernel sent TCP data again, by the owner that made the socket. A "
                                  "buffer that goes out as several segments is one time; "
                                  "node_netstat_Tcp_RetransSegs counts the segments.",
                                  kOwnerLabels,
                                  "",
                                  "tp_btf/tcp_retransmit_skb"};
constexpr MetricDesc kResets{"vitald_owner_tcp_resets_total",
                             MetricType::counter,
                             "TCP resets sent and received, by the owner that made the socket. Those sent without one, "
                             "because nobody listens or "
                             "the connection is over, are owner=\"other\", and are not seen before Linux 6.10.",
                             "direction,owner_kind,owner,namespace,pod,container,guest",
                             "",
                             "tp_btf/tcp_send_reset, tcp_receive_reset"};
constexpr MetricDesc kRtt{
    "vitald_tcp_connect_rtt_seconds",
    MetricType::histogram,
    "Round trip of the packets that begin a TCP connection, as the kernel measured it when it was established: of "
    "connections from here (out), and of accepted ones (in).",
    "direction",
    "seconds",
    "tp_btf/inet_sock_set_state"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kConnections, kRetransmits, kResets, kRtt};

constexpr OwnerField kFields[] = {
    {kConnections, offsetof(vitald_tcp_row, connected), 1, {"result", "connected"}},
    {kConnections, offsetof(vitald_tcp_row, accepted), 1, {"result", "accepted"}},
    {kConnections, offsetof(vitald_tcp_row, failed), 1, {"result", "failed"}},
    {kConnections, offsetof(vitald_tcp_row, abandoned), 1, {"result", "abandoned"}},
    {kRetransmits, offsetof(vitald_tcp_row, retransmits)},
    {kResets, offsetof(vitald_tcp_row, resets_sent), 1, {"direction", "sent"}},
    {kResets, offsetof(vitald_tcp_row, resets_received), 1, {"direction", "received"}},
};

class TcpLife final : public Collector {
 public:
  TcpLife(const Host& host, SignalUse<NetObject> net)
      : net_(std::move(net)),
        report_(kName, net_->bpf.form()),
        totals_(net_->owners->slots(), net_->owners->table(),
                [&object = *net_](std::uint32_t slot) { return object.row(slot); }) {
    report_.watch(host.shared<KernelFacts>(), net_);
    if (net_->owners->v1().id != 0) report_.note("not per owner: sockets have cgroups on v2 only");
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    totals_.round([](auto&) {}, [&](auto entries) { emit_counted_fields<vitald_tcp_row>(kFields, entries, out); });
    const auto rtt = [&](vitald_hist vitald_tcp_cpu::*which) {
      return coarse_sum(
          net_->tcp_cpus, [which](const auto& cpu) -> const auto& { return cpu.*which; });
    };
    out.histogram(kRtt, rtt(&vitald_tcp_cpu::in).view(), "in");
    out.histogram(kRtt, rtt(&vitald_tcp_cpu::out).view(), "out");
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<NetObject> net_;
  ProbeReport report_;
  SlotTotals<vitald_tcp_row> totals_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe tcp_life: only on the running system");
  auto net = NetObject::use(host, options, kTcpLife);
  if (!net) return probe_off(kName, net.error());
  return std::make_unique<TcpLife>(host, std::move(*net));
}

}  // namespace

extern const CollectorInfo collector_tcp_life;
const CollectorInfo collector_tcp_life{kMetrics, kOwnerFlags, make};

}  // namespace vitald
