// SPDX-License-Identifier: Apache-2.0
// TCP sockets by state, by sock_diag.
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <unistd.h>
#include <array>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/netlink.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_tcp_connection_states", gauge, "Number of connection states.", "state", "", "sock_diag"},
};
constexpr const MetricDesc& kConnectionStates = row(kMetrics, "node_tcp_connection_states");
// TCP_ESTABLISHED is 1 (include/net/tcp_states.h).
constexpr std::string_view kStates[] = {"",          "established", "syn_sent",   "syn_recv", "fin_wait1", "fin_wait2",
                                        "time_wait", "close",       "close_wait", "last_ack", "listen",    "closing"};
constexpr std::uint32_t kAllStates = 0xFFF;

class Tcpstat final : public Collector {
 public:
  explicit Tcpstat(const Host& host) : tcp6_(host.procfs("net/tcp6")) {}

  Result<> collect(BatchWriter& out) override {
    counts_ = {};
    rx_bytes_ = tx_bytes_ = 0;
    if (auto done = ask(AF_INET); !done) return done;
    if (::access(tcp6_.c_str(), F_OK) == 0)  // IPv6 may be off
      if (auto done = ask(AF_INET6); !done) return done;
    // A state without a connection is left out, as node_exporter does.
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if (counts_[i] != 0)
        out.set(kConnectionStates, static_cast<double>(counts_[i]), i < std::size(kStates) ? kStates[i] : "unknown");
    if (any()) {
      out.set(kConnectionStates, static_cast<double>(rx_bytes_), "rx_queued_bytes");
      out.set(kConnectionStates, static_cast<double>(tx_bytes_), "tx_queued_bytes");
    }
    return {};
  }

 private:
  [[nodiscard]] bool any() const {
    for (const auto n : counts_)
      if (n != 0) return true;
    return false;
  }

  Result<> ask(std::uint8_t family) {
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = kAllStates;
    return diag_.dump(SOCK_DIAG_BY_FAMILY, {reinterpret_cast<const char*>(&request), sizeof request},
                      [this](std::uint16_t, std::string_view message) {
                        const auto socket = take_struct<inet_diag_msg>(message);
                        if (!socket) return;
                        ++counts_[socket->idiag_state < std::size(kStates) ? socket->idiag_state : std::size(kStates)];
                        rx_bytes_ += socket->idiag_rqueue;
                        tx_bytes_ += socket->idiag_wqueue;
                      });
  }

  std::string tcp6_;
  Netlink diag_{NETLINK_SOCK_DIAG};
  std::array<std::uint64_t, std::size(kStates) + 1> counts_{};  // the last: states not known here
  std::uint64_t rx_bytes_ = 0, tx_bytes_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (auto same = same_network(host); !same) return fail(same.error());
  return std::make_unique<Tcpstat>(host);
}

}  // namespace

extern const CollectorInfo collector_tcpstat;
const CollectorInfo collector_tcpstat{kMetrics, {}, make};

}  // namespace vitald
