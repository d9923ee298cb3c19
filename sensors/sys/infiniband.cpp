// SPDX-License-Identifier: Apache-2.0
// InfiniBand ports and what they count, from /sys/class/infiniband.
#include <cmath>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_infiniband_info", gauge, "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
     "device,board_id,firmware_version,hca_type", "", "/sys/class/infiniband/*"},
    {"node_infiniband_state_id", gauge,
     "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)", "device,port",
     "", "/sys/class/infiniband/*/ports/*/state"},
    {"node_infiniband_physical_state_id", gauge,
     "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: "
     "link error recover, 7: phytest)",
     "device,port", "", "/sys/class/infiniband/*/ports/*/phys_state"},
    {"node_infiniband_rate_bytes_per_second", gauge, "Maximum signal transfer rate", "device,port", "",
     "/sys/class/infiniband/*/ports/*/rate"},
    {"node_infiniband_lifespan_seconds", gauge,
     "The maximum period in ms which defines the aging of the counter reads. Two consecutive reads within this period "
     "might return the same values.",
     "device,port", "seconds", "/sys/class/infiniband/*/ports/*/hw_counters/lifespan"},
};
// Data is counted in units of four octets.
constexpr AttributeRow kCounters[] = {
    {"counters_ext/port_multicast_rcv_packets",
     {"node_infiniband_legacy_multicast_packets_received_total", counter, "Number of multicast packets received",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters_ext"}},
    {"counters_ext/port_multicast_xmit_packets",
     {"node_infiniband_legacy_multicast_packets_transmitted_total", counter, "Number of multicast packets transmitted",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters_ext"}},
    {"counters_ext/port_rcv_data_64",
     {"node_infiniband_legacy_data_received_bytes_total", counter, "Number of data octets received on all links",
      "device,port", "bytes", "/sys/class/infiniband/*/ports/*/counters_ext"},
     4},
    {"counters_ext/port_rcv_packets_64",
     {"node_infiniband_legacy_packets_received_total", counter, "Number of data packets received on all links",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters_ext"}},
    {"counters_ext/port_unicast_rcv_packets",
     {"node_infiniband_legacy_unicast_packets_received_total", counter, "Number of unicast packets received",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters_ext"}},
    {"counters_ext/port_unicast_xmit_packets",
     {"node_infiniband_legacy_unicast_packets_transmitted_total", counter, "Number of unicast packets transmitted",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters_ext"}},
    {"counters_ext/port_xmit_data_64",
     {"node_infiniband_legacy_data_transmitted_bytes_total", counter, "Number of data octets transmitted on all links",
      "device,port", "bytes", "/sys/class/infiniband/*/ports/*/counters_ext"},
     4},
    {"counters_ext/port_xmit_packets_64",
     {"node_infiniband_legacy_packets_transmitted_total", counter, "Number of data packets received on all links",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters_ext"}},
    {"counters/excessive_buffer_overrun_errors",
     {"node_infiniband_excessive_buffer_overrun_errors_total", counter,
      "Number of times that OverrunErrors consecutive flow control update periods occurred, each having at least one "
      "overrun error.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/link_downed",
     {"node_infiniband_link_downed_total", counter,
      "Number of times the link failed to recover from an error state and went down", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/link_error_recovery",
     {"node_infiniband_link_error_recovery_total", counter,
      "Number of times the link successfully recovered from an error state", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/local_link_integrity_errors",
     {"node_infiniband_local_link_integrity_errors_total", counter,
      "Number of times that the count of local physical errors exceeded the threshold specified by LocalPhyErrors.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/multicast_rcv_packets",
     {"node_infiniband_multicast_packets_received_total", counter,
      "Number of multicast packets received (including errors)", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/multicast_xmit_packets",
     {"node_infiniband_multicast_packets_transmitted_total", counter,
      "Number of multicast packets transmitted (including errors)", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_rcv_constraint_errors",
     {"node_infiniband_port_constraint_errors_received_total", counter,
      "Number of packets received on the switch physical port that are discarded", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_xmit_constraint_errors",
     {"node_infiniband_port_constraint_errors_transmitted_total", counter,
      "Number of packets not transmitted from the switch physical port", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_rcv_data",
     {"node_infiniband_port_data_received_bytes_total", counter, "Number of data octets received on all links",
      "device,port", "bytes", "/sys/class/infiniband/*/ports/*/counters"},
     4},
    {"counters/port_xmit_data",
     {"node_infiniband_port_data_transmitted_bytes_total", counter, "Number of data octets transmitted on all links",
      "device,port", "bytes", "/sys/class/infiniband/*/ports/*/counters"},
     4},
    {"counters/port_rcv_discards",
     {"node_infiniband_port_discards_received_total", counter,
      "Number of inbound packets discarded by the port because the port is down or congested", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_xmit_discards",
     {"node_infiniband_port_discards_transmitted_total", counter,
      "Number of outbound packets discarded by the port because the port is down or congested", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_rcv_errors",
     {"node_infiniband_port_errors_received_total", counter,
      "Number of packets containing an error that were received on this port", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_rcv_packets",
     {"node_infiniband_port_packets_received_total", counter,
      "Number of packets received on all VLs by this port (including errors)", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_xmit_packets",
     {"node_infiniband_port_packets_transmitted_total", counter,
      "Number of packets transmitted on all VLs from this port (including errors)", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_xmit_wait",
     {"node_infiniband_port_transmit_wait_total", counter,
      "Number of ticks during which the port had data to transmit but no data was sent during the entire tick",
      "device,port", "", "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/unicast_rcv_packets",
     {"node_infiniband_unicast_packets_received_total", counter,
      "Number of unicast packets received (including errors)", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/unicast_xmit_packets",
     {"node_infiniband_unicast_packets_transmitted_total", counter,
      "Number of unicast packets transmitted (including errors)", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_rcv_remote_physical_errors",
     {"node_infiniband_port_receive_remote_physical_errors_total", counter,
      "Number of packets marked with the EBP (End of Bad Packet) delimiter received on the port.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/port_rcv_switch_relay_errors",
     {"node_infiniband_port_receive_switch_relay_errors_total", counter,
      "Number of packets that could not be forwarded by the switch.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/symbol_error",
     {"node_infiniband_symbol_error_total", counter,
      "Number of minor link errors detected on one or more physical lanes.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"counters/VL15_dropped",
     {"node_infiniband_vl15_dropped_total", counter,
      "Number of incoming VL15 packets dropped due to resource limitations.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/counters"}},
    {"hw_counters/duplicate_request",
     {"node_infiniband_duplicate_requests_packets_total", counter,
      "The number of received packets. A duplicate request is a request that had been previously executed.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/implied_nak_seq_err",
     {"node_infiniband_implied_nak_seq_errors_total", counter,
      "The number of time the requested decided an ACK. with a PSN larger than the expected PSN for an RDMA read or "
      "response.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/local_ack_timeout_err",
     {"node_infiniband_local_ack_timeout_errors_total", counter,
      "The number of times QP's ack timer expired for RC, XRC, DCT QPs at the sender side. The QP retry limit was not "
      "exceed, therefore it is still recoverable error.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/np_cnp_sent",
     {"node_infiniband_np_cnp_packets_sent_total", counter,
      "The number of CNP packets sent by the Notification Point when it noticed congestion experienced in the RoCEv2 "
      "IP header (ECN bits). The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/np_ecn_marked_roce_packets",
     {"node_infiniband_np_ecn_marked_roce_packets_received_total", counter,
      "The number of RoCEv2 packets received by the notification point which were marked for experiencing the "
      "congestion (ECN bits where '11' on the ingress RoCE traffic) . The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/out_of_buffer",
     {"node_infiniband_out_of_buffer_drops_total", counter,
      "The number of drops occurred due to lack of WQE for the associated QPs.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/out_of_sequence",
     {"node_infiniband_out_of_sequence_packets_received_total", counter,
      "The number of out of sequence packets received.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/packet_seq_err",
     {"node_infiniband_packet_sequence_errors_total", counter,
      "The number of received NAK sequence error packets. The QP retry limit was not exceeded.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/req_cqe_error",
     {"node_infiniband_req_cqes_errors_total", counter,
      "The number of times requester detected CQEs completed with errors. The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/req_cqe_flush_error",
     {"node_infiniband_req_cqes_flush_errors_total", counter,
      "The number of times requester detected CQEs completed with flushed errors. The counters was added in MLNX_OFED "
      "4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/req_remote_access_errors",
     {"node_infiniband_req_remote_access_errors_total", counter,
      "The number of times requester detected remote access errors. The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/req_remote_invalid_request",
     {"node_infiniband_req_remote_invalid_request_errors_total", counter,
      "The number of times requester detected remote invalid request errors. The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/resp_cqe_error",
     {"node_infiniband_resp_cqes_errors_total", counter,
      "The number of times responder detected CQEs completed with errors. The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/resp_cqe_flush_error",
     {"node_infiniband_resp_cqes_flush_errors_total", counter,
      "The number of times responder detected CQEs completed with flushed errors. The counters was added in MLNX_OFED "
      "4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/resp_local_length_error",
     {"node_infiniband_resp_local_length_errors_total", counter,
      "The number of times responder detected local length errors. The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/resp_remote_access_errors",
     {"node_infiniband_resp_remote_access_errors_total", counter,
      "The number of times responder detected remote access errors. The counters was added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rnr_nak_retry_err",
     {"node_infiniband_rnr_nak_retry_packets_received_total", counter,
      "The number of received RNR NAK packets. The QP retry limit was not exceeded.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/roce_adp_retrans",
     {"node_infiniband_roce_adp_retransmits_total", counter,
      "The number of adaptive retransmissions for RoCE traffic. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and "
      "kernel v5.6.0",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/roce_adp_retrans_to",
     {"node_infiniband_roce_adp_retransmits_timeout_total", counter,
      "The number of times RoCE traffic reached timeout due to adaptive retransmission. The counter was added in "
      "MLNX_OFED rev 5.0-1.0.0.0 and kernel v5.6.0",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/roce_slow_restart",
     {"node_infiniband_roce_slow_restart_used_total", counter,
      "The number of times RoCE slow restart was used. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and kernel "
      "v5.6.0",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/roce_slow_restart_cnps",
     {"node_infiniband_roce_slow_restart_cnps_total", counter,
      "The number of times RoCE slow restart generated CNP packets. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 "
      "and kernel v5.6.0",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/roce_slow_restart_trans",
     {"node_infiniband_roce_slow_restart_total", counter,
      "The number of times RoCE slow restart changed state to slow restart. The counter was added in MLNX_OFED rev "
      "5.0-1.0.0.0 and kernel v5.6.0",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rp_cnp_handled",
     {"node_infiniband_rp_cnp_packets_handled_total", counter,
      "The number of CNP packets handled by the Reaction Point HCA to throttle the transmission rate. The counters was "
      "added in MLNX_OFED 4.1",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rp_cnp_ignored",
     {"node_infiniband_rp_cnp_ignored_packets_received_total", counter,
      "The number of CNP packets received and ignored by the Reaction Point HCA. This counter should not raise if RoCE "
      "Congestion Control was enabled in the network. If this counter raise, verify that ECN was enabled on the "
      "adapter.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rx_atomic_requests",
     {"node_infiniband_rx_atomic_requests_total", counter,
      "The number of received ATOMIC request for the associated QPs.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rx_dct_connect",
     {"node_infiniband_rx_dct_connect_requests_total", counter,
      "The number of received connection requests for the associated DCTs.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rx_read_requests",
     {"node_infiniband_rx_read_requests_total", counter, "The number of received READ requests for the associated QPs.",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rx_write_requests",
     {"node_infiniband_rx_write_requests_total", counter,
      "The number of received WRITE requests for the associated QPs.", "device,port", "",
      "/sys/class/infiniband/*/ports/*/hw_counters"}},
    {"hw_counters/rx_icrc_encapsulated",
     {"node_infiniband_rx_icrc_encapsulated_errors_total", counter,
      "The number of RoCE packets with ICRC errors. This counter was added in MLNX_OFED 4.4 and kernel 4.19",
      "device,port", "", "/sys/class/infiniband/*/ports/*/hw_counters"}},
};
constexpr auto kFamilies = families_of(kMetrics, kCounters);
constexpr FlagSpec kFlags[] = {
    {"collector.infiniband.device-include", FlagType::pattern, "",
     "Regexp of infiniband devices to include (mutually exclusive to device-exclude)."},
    {"collector.infiniband.device-exclude", FlagType::pattern, "",
     "Regexp of infiniband devices to exclude (mutually exclusive to device-include)."},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_infiniband_info");
constexpr const MetricDesc& kState = row(kMetrics, "node_infiniband_state_id");
constexpr const MetricDesc& kPhysicalState = row(kMetrics, "node_infiniband_physical_state_id");
constexpr const MetricDesc& kRate = row(kMetrics, "node_infiniband_rate_bytes_per_second");
constexpr const MetricDesc& kLifespan = row(kMetrics, "node_infiniband_lifespan_seconds");
constexpr double kBytesPerGigabit = 125'000'000;

struct Port {
  explicit Port(const std::string& path)
      : state(path + "/state"),
        phys_state(path + "/phys_state"),
        rate(path + "/rate"),
        lifespan(path + "/hw_counters/lifespan"),
        counters(path, kCounters) {}
  Attribute state, phys_state, rate, lifespan;
  AttributeTable counters;
};
struct Device {
  explicit Device(const std::string& path)
      : board(path + "/board_id"), firmware(path + "/fw_ver"), hca(path + "/hca_type"), ports(path + "/ports") {}
  Attribute board, firmware, hca;
  KernelItems<Port> ports;
};

class Infiniband final : public Collector {
 public:
  Infiniband(const Host& host, NameFilter filter)
      : filter_(std::move(filter)), devices_(host.sysfs("class/infiniband")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = devices_.refresh(); !listed) return absent_when_gone(listed.error());
    LeftOut left_out;
    for (auto& [name, device] : devices_.items()) {
      if (filter_.ignored(name)) continue;
      const std::string board(device.board.text().value_or("")), firmware(device.firmware.text().value_or(""));
      out.set(kInfo, 1, name, board, firmware, device.hca.text().value_or(""));
      if (auto listed = device.ports.refresh(); !listed) {
        if (listed.error().kind != Errc::gone) left_out.add(listed);
        continue;
      }
      for (auto& [port, files] : device.ports.items()) emit(name, port, files, left_out, out);
    }
    return left_out.outcome();
  }

 private:
  // state "4: ACTIVE", phys_state "5: LinkUp", rate "40 Gb/sec (4X QDR)"
  static void emit(std::string_view device, std::string_view port, Port& files, LeftOut& left_out, BatchWriter& out) {
    const auto bad = [&](const Attribute& file, std::string_view text, std::string_view expected) {
      const auto* why = file.unreadable();
      left_out.add(why ? *why : malformed(file.path(), text, expected).value());
    };
    const auto state = [&](Attribute& file, const MetricDesc& desc) {
      const auto text = file.text().value_or("");
      std::string_view rest = text;
      if (const auto id = parse_u64(take_until(rest, ':'))) out.set(desc, static_cast<double>(*id), device, port);
      else bad(file, text, "a number and a name");
    };
    state(files.state, kState);
    state(files.phys_state, kPhysicalState);
    const auto text = files.rate.text().value_or("");
    std::string_view words = text;
    if (const auto gigabits = parse_double(take_word(words)))
      out.set(kRate, *gigabits * kBytesPerGigabit, device, port);
    else bad(files.rate, text, "a rate in Gb/sec");
    // In ms; whole seconds are what dashboards of node_exporter know.
    if (const auto ms = number_of(files.lifespan, out)) out.set(kLifespan, std::floor(*ms / 1000), device, port);
    files.counters.emit(out, device, port);
  }

  NameFilter filter_;
  KernelItems<Device> devices_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter =
      NameFilter::exclusive(options, "collector.infiniband.device-exclude", "collector.infiniband.device-include");
  if (!filter) return fail(filter.error());
  return std::make_unique<Infiniband>(host, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_infiniband;
const CollectorInfo collector_infiniband{kFamilies, kFlags, make};

}  // namespace vitald
