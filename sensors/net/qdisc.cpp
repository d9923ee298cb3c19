// SPDX-License-Identifier: Apache-2.0
// What queueing disciplines sent, dropped and hold, by rtnetlink.
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/net/qdisc_counts.h"
#include "sensors/read/fixture_json.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/netlink.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_qdisc_bytes_total", counter, "Number of bytes sent.", "device,kind", "bytes", "rtnetlink RTM_GETQDISC"},
    {"node_qdisc_packets_total", counter, "Number of packets sent.", "device,kind", "", "rtnetlink RTM_GETQDISC"},
    {"node_qdisc_drops_total", counter, "Number of packets dropped.", "device,kind", "", "rtnetlink RTM_GETQDISC"},
    {"node_qdisc_requeues_total", counter, "Number of packets dequeued, not transmitted, and requeued.", "device,kind",
     "", "rtnetlink RTM_GETQDISC"},
    {"node_qdisc_overlimits_total", counter, "Number of overlimit packets.", "device,kind", "",
     "rtnetlink RTM_GETQDISC"},
    {"node_qdisc_current_queue_length", gauge, "Number of packets currently in queue to be sent.", "device,kind", "",
     "rtnetlink RTM_GETQDISC"},
    {"node_qdisc_backlog", gauge, "Number of bytes currently in queue to be sent.", "device,kind", "",
     "rtnetlink RTM_GETQDISC"},
};
constexpr FlagSpec kFlags[] = {
    {"collector.qdisc.fixtures", FlagType::text, "", "test fixtures to use for qdisc collector end-to-end testing"},
    {"collector.qdisc.device-include", FlagType::pattern, "",
     "Regexp of qdisc devices to include (mutually exclusive to device-exclude).", "collector.qdisk.device-include"},
    {"collector.qdisc.device-exclude", FlagType::pattern, "",
     "Regexp of qdisc devices to exclude (mutually exclusive to device-include).", "collector.qdisk.device-exclude"},
};

class Qdisc final : public Collector {
 public:
  Qdisc(NameFilter filter, std::string fixtures) : filter_(std::move(filter)), fixtures_(std::move(fixtures)) {}

  Result<> collect(BatchWriter& out) override {
    if (!fixtures_.empty()) return read_fixtures(out);
    tcmsg ask{};
    return rtnetlink_.dump(RTM_GETQDISC, {reinterpret_cast<const char*>(&ask), sizeof ask},
                           [&](std::uint16_t, std::string_view message) { parse(message, out); });
  }

 private:
  void emit(std::string_view device, std::string_view kind, const QdiscCounts& c, BatchWriter& out) const {
    if (filter_.ignored(device)) return;
    const double values[] = {c.bytes, c.packets, c.drops, c.requeues, c.overlimits, c.queue, c.backlog};
    static_assert(std::size(values) == std::size(kMetrics));
    for (std::size_t i = 0; i < std::size(values); ++i) out.set(kMetrics[i], values[i], device, kind);
  }

  // Only a device's root: it counts what passes the ones below it too.
  void parse(std::string_view message, BatchWriter& out) const {
    const auto header = take_struct<tcmsg>(message);
    if (!header || (header->tcm_parent != TC_H_ROOT && header->tcm_parent != TC_H_UNSPEC)) return;
    std::string_view kind;
    QdiscCounts counts;
    while (auto attribute = take_attribute(message)) {
      if (attribute->type == TCA_KIND) kind = attribute->text();
      if (attribute->type == TCA_STATS2) counts = parse_qdisc_counts(attribute->payload);
    }
    char name[16];
    const auto device = rtnetlink_.interface_name(header->tcm_ifindex, name);
    if (!device.empty()) emit(device, kind, counts, out);
  }

  // [{"IfaceName": "wlan0", "Bytes": 42, "Kind": "fq"}, ...]; what is left out is 0
  Result<> read_fixtures(BatchWriter& out) const {
    return each_fixture(fixtures_ + "/results.json", [&](const FixtureItem& item) {
      if (item.number("Parent") == 0)
        emit(item.text("IfaceName"), item.text("Kind"),
             {item.number("Bytes"), item.number("Packets"), item.number("Drops"), item.number("Requeues"),
              item.number("Overlimits"), item.number("Qlen"), item.number("Backlog")},
             out);
    });
  }

  NameFilter filter_;
  std::string fixtures_;
  Netlink rtnetlink_{NETLINK_ROUTE};
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (options.text("collector.qdisc.fixtures").empty())
    if (auto same = same_network(host); !same) return fail(same.error());
  auto filter = NameFilter::exclusive(options, "collector.qdisc.device-exclude", "collector.qdisc.device-include");
  if (!filter) return fail(filter.error());
  return std::make_unique<Qdisc>(std::move(*filter), std::string(options.text("collector.qdisc.fixtures")));
}

}  // namespace

extern const CollectorInfo collector_qdisc;
const CollectorInfo collector_qdisc{kMetrics, kFlags, make};

}  // namespace vitald
