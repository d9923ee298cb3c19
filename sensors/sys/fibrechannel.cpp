// SPDX-License-Identifier: Apache-2.0
// Fibre Channel hosts and what they count, from /sys/class/fc_host.
#include <array>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_fibrechannel_info", gauge, "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
     "fc_host,speed,port_state,port_type,port_id,port_name,fabric_name,symbolic_name,supported_classes,"
     "supported_speeds,dev_loss_tmo",
     "", "/sys/class/fc_host/*"},
    {"node_fibrechannel_dumped_frames_total", counter, "Number of dumped frames", "fc_host", "",
     "/sys/class/fc_host/*/statistics/dumped_frames"},
    {"node_fibrechannel_error_frames_total", counter, "Number of errors in frames", "fc_host", "",
     "/sys/class/fc_host/*/statistics/error_frames"},
    {"node_fibrechannel_invalid_crc_total", counter, "Invalid Cyclic Redundancy Check count", "fc_host", "",
     "/sys/class/fc_host/*/statistics/invalid_crc_count"},
    {"node_fibrechannel_rx_frames_total", counter, "Number of frames received", "fc_host", "",
     "/sys/class/fc_host/*/statistics/rx_frames"},
    {"node_fibrechannel_rx_words_total", counter, "Number of words received by host port", "fc_host", "",
     "/sys/class/fc_host/*/statistics/rx_words"},
    {"node_fibrechannel_tx_frames_total", counter, "Number of frames transmitted by host port", "fc_host", "",
     "/sys/class/fc_host/*/statistics/tx_frames"},
    {"node_fibrechannel_tx_words_total", counter, "Number of words transmitted by host port", "fc_host", "",
     "/sys/class/fc_host/*/statistics/tx_words"},
    {"node_fibrechannel_seconds_since_last_reset_total", counter, "Number of seconds since last host port reset",
     "fc_host", "", "/sys/class/fc_host/*/statistics/seconds_since_last_reset"},
    {"node_fibrechannel_invalid_tx_words_total", counter, "Number of invalid words transmitted by host port", "fc_host",
     "", "/sys/class/fc_host/*/statistics/invalid_tx_word_count"},
    {"node_fibrechannel_link_failure_total", counter, "Number of times the host port link has failed", "fc_host", "",
     "/sys/class/fc_host/*/statistics/link_failure_count"},
    {"node_fibrechannel_loss_of_sync_total", counter,
     "Number of failures on either bit or transmission word boundaries", "fc_host", "",
     "/sys/class/fc_host/*/statistics/loss_of_sync_count"},
    {"node_fibrechannel_loss_of_signal_total", counter, "Number of times signal has been lost", "fc_host", "",
     "/sys/class/fc_host/*/statistics/loss_of_signal_count"},
    {"node_fibrechannel_nos_total", counter, "Number Not_Operational Primitive Sequence received by host port",
     "fc_host", "", "/sys/class/fc_host/*/statistics/nos_count"},
    {"node_fibrechannel_fcp_packet_aborts_total", counter, "Number of aborted packets", "fc_host", "",
     "/sys/class/fc_host/*/statistics/fcp_packet_aborts"},
};
// In the order of the families from the second on.
constexpr std::string_view kStatistics[] = {"dumped_frames",
                                            "error_frames",
                                            "invalid_crc_count",
                                            "rx_frames",
                                            "rx_words",
                                            "tx_frames",
                                            "tx_words",
                                            "seconds_since_last_reset",
                                            "invalid_tx_word_count",
                                            "link_failure_count",
                                            "loss_of_sync_count",
                                            "loss_of_signal_count",
                                            "nos_count",
                                            "fcp_packet_aborts"};
static_assert(std::size(kStatistics) + 1 == std::size(kMetrics));
// In the order of the info family's labels after fc_host.
constexpr std::string_view kTexts[] = {
    "speed",       "port_state",    "port_type",         "port_id",          "port_name",
    "fabric_name", "symbolic_name", "supported_classes", "supported_speeds", "dev_loss_tmo"};
constexpr std::size_t kPortId = 3, kFabricName = 5;

struct Port {
  explicit Port(const std::string& path) {
    for (const auto f : kTexts) texts.emplace_back(path + "/" + std::string(f));
    for (const auto f : kStatistics) statistics.emplace_back(path + "/statistics/" + std::string(f));
  }
  std::vector<Attribute> texts, statistics;
};

class Fibrechannel final : public Collector {
 public:
  explicit Fibrechannel(const Host& host) : hosts_(host.sysfs("class/fc_host")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = hosts_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [name, port] : hosts_.items()) emit(name, port, out);
    return {};
  }

 private:
  void emit(std::string_view name, Port& port, BatchWriter& out) {
    std::string_view labels[1 + std::size(kTexts)] = {name};
    for (std::size_t i = 0; i < std::size(kTexts); ++i) {
      auto text = port.texts[i].text().value_or("");
      if (i >= kPortId && i <= kFabricName && text.size() > 2) text.remove_prefix(2);  // "0x"
      labels[1 + i] = texts_[i].assign(text);
    }
    out.set_values(row(kMetrics, "node_fibrechannel_info"), 1, labels);
    // Whatever the port's state: a driver that knows no state counts all the same, and a 0 would be a reset.
    for (std::size_t i = 0; i < std::size(kStatistics); ++i) {
      const auto n = port.statistics[i].u64();
      if (!n)
        if (auto why = port.statistics[i].no_number()) out.problem(std::move(*why));
      // All ones: the driver does not count it (fc_host_statistics, include/scsi/scsi_transport_fc.h).
      if (n && *n != UINT64_MAX && *n != UINT32_MAX) out.set(kMetrics[1 + i], static_cast<double>(*n), name);
    }
  }

  KernelItems<Port> hosts_;
  std::array<std::string, std::size(kTexts)> texts_;  // of the host at hand; kept for their memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return std::make_unique<Fibrechannel>(host);
}

}  // namespace

extern const CollectorInfo collector_fibrechannel;
const CollectorInfo collector_fibrechannel{kMetrics, {}, make};

}  // namespace vitald
