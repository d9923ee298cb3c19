// SPDX-License-Identifier: Apache-2.0
#include "sensors/net/netclass_links.h"

#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "core/os/fd.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/netlink.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "rtnetlink RTM_GETLINK";
constexpr MetricDesc kUp = {"node_network_up", gauge, "Value is 1 if operstate is 'up', 0 otherwise.",
                            "device",          "",    kSource};
constexpr MetricDesc kInfo = {"node_network_info",
                              gauge,
                              "Non-numeric data of <iface>, value is always 1.",
                              "device,address,broadcast,duplex,operstate,ifalias",
                              "",
                              kSource};
constexpr MetricDesc kAltname = {"node_network_altnames_info",
                                 gauge,
                                 "Non-numeric data of <iface> altname, value is always 1.",
                                 "altname,device",
                                 "",
                                 kSource};
enum Number {
  kAddressAssignType,
  kCarrier,
  kCarrierChanges,
  kCarrierUpChanges,
  kCarrierDownChanges,
  kDeviceId,
  kFlags,
  kIfaceId,
  kIfaceLinkMode,
  kDormant,
  kIfaceLink,
  kMtu,
  kNameAssignType,
  kNetDevGroup,
  kTransmitQueueLength,
  kProtocolType,
  kSpeed,
  kNumbers
};
constexpr MetricDesc kNumberMetrics[kNumbers] = {
    {"node_network_address_assign_type", gauge, "Network device property: address_assign_type", "device", "", kSource},
    {"node_network_carrier", gauge, "Network device property: carrier", "device", "", kSource},
    {"node_network_carrier_changes_total", counter, "Network device property: carrier_changes_total", "device", "",
     kSource},
    {"node_network_carrier_up_changes_total", counter, "Network device property: carrier_up_changes_total", "device",
     "", kSource},
    {"node_network_carrier_down_changes_total", counter, "Network device property: carrier_down_changes_total",
     "device", "", kSource},
    {"node_network_device_id", gauge, "Network device property: device_id", "device", "", kSource},
    {"node_network_flags", gauge, "Network device property: flags", "device", "", kSource},
    {"node_network_iface_id", gauge, "Network device property: iface_id", "device", "", kSource},
    {"node_network_iface_link_mode", gauge, "Network device property: iface_link_mode", "device", "", kSource},
    {"node_network_dormant", gauge, "Network device property: dormant", "device", "", kSource},
    {"node_network_iface_link", gauge, "Network device property: iface_link", "device", "", kSource},
    {"node_network_mtu_bytes", gauge, "Network device property: mtu_bytes", "device", "bytes", kSource},
    {"node_network_name_assign_type", gauge, "Network device property: name_assign_type", "device", "", kSource},
    {"node_network_net_dev_group", gauge, "Network device property: net_dev_group", "device", "", kSource},
    {"node_network_transmit_queue_length", gauge, "Network device property: transmit_queue_length", "device", "",
     kSource},
    {"node_network_protocol_type", gauge, "Network device property: protocol_type", "device", "", kSource},
    {"node_network_speed_bytes", gauge, "Network device property: speed_bytes", "device", "bytes", kSource},
};
// In the order of struct rtnl_link_stats64. Gauges, though they only grow: so node_exporter has them here.
constexpr MetricDesc kStats[] = {
    {"node_network_receive_packets_total", gauge, "Network device property: receive_packets_total", "device", "",
     kSource},
    {"node_network_transmit_packets_total", gauge, "Network device property: transmit_packets_total", "device", "",
     kSource},
    {"node_network_receive_bytes_total", gauge, "Network device property: receive_bytes_total", "device", "bytes",
     kSource},
    {"node_network_transmit_bytes_total", gauge, "Network device property: transmit_bytes_total", "device", "bytes",
     kSource},
    {"node_network_receive_errors_total", gauge, "Network device property: receive_errors_total", "device", "",
     kSource},
    {"node_network_transmit_errors_total", gauge, "Network device property: transmit_errors_total", "device", "",
     kSource},
    {"node_network_receive_dropped_total", gauge, "Network device property: receive_dropped_total", "device", "",
     kSource},
    {"node_network_transmit_dropped_total", gauge, "Network device property: transmit_dropped_total", "device", "",
     kSource},
    {"node_network_multicast_total", gauge, "Network device property: multicast_total", "device", "", kSource},
    {"node_network_collisions_total", gauge, "Network device property: collisions_total", "device", "", kSource},
    {"node_network_receive_length_errors_total", gauge, "Network device property: receive_length_errors_total",
     "device", "", kSource},
    {"node_network_receive_over_errors_total", gauge, "Network device property: receive_over_errors_total", "device",
     "", kSource},
    {"node_network_receive_crc_errors_total", gauge, "Network device property: receive_crc_errors_total", "device", "",
     kSource},
    {"node_network_receive_frame_errors_total", gauge, "Network device property: receive_frame_errors_total", "device",
     "", kSource},
    {"node_network_receive_fifo_errors_total", gauge, "Network device property: receive_fifo_errors_total", "device",
     "", kSource},
    {"node_network_receive_missed_errors_total", gauge, "Network device property: receive_missed_errors_total",
     "device", "", kSource},
    {"node_network_transmit_aborted_errors_total", gauge, "Network device property: transmit_aborted_errors_total",
     "device", "", kSource},
    {"node_network_transmit_carrier_errors_total", gauge, "Network device property: transmit_carrier_errors_total",
     "device", "", kSource},
    {"node_network_transmit_fifo_errors_total", gauge, "Network device property: transmit_fifo_errors_total", "device",
     "", kSource},
    {"node_network_transmit_heartbeat_errors_total", gauge, "Network device property: transmit_heartbeat_errors_total",
     "device", "", kSource},
    {"node_network_transmit_window_errors_total", gauge, "Network device property: transmit_window_errors_total",
     "device", "", kSource},
    {"node_network_receive_compressed_total", gauge, "Network device property: receive_compressed_total", "device", "",
     kSource},
    {"node_network_transmit_compressed_total", gauge, "Network device property: transmit_compressed_total", "device",
     "", kSource},
    {"node_network_receive_nohandler_total", gauge, "Network device property: receive_nohandler_total", "device", "",
     kSource},
};
// RFC 2863, IF_OPER_*
constexpr std::string_view kOperstates[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                            "testing", "dormant",    "up"};
constexpr std::uint64_t kOperUp = 6;
constexpr double kBytesPerMegabit = 1e6 / 8;
constexpr std::int64_t kRereadNs = 60 * std::int64_t{1'000'000'000};

struct Link {
  std::string name, address, broadcast, duplex, alias;
  std::vector<std::string> altnames;
  std::uint64_t operstate = 0;
  std::array<std::optional<double>, kNumbers> numbers;
  std::array<double, std::size(kStats)> stats{};
  std::size_t stat_count = 0;
};

std::string address_text(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{}{:02x}", out.empty() ? "" : ":", static_cast<unsigned char>(c));
  return out;
}

class NetclassLinks final : public Collector {
 public:
  NetclassLinks(const Host& host, NameFilter ignored, bool with_stats)
      : host_(host), ignored_(std::move(ignored)), with_stats_(with_stats), folder_(host.sysfs("class/net/")) {}

  Result<> collect(BatchWriter& out) override {
    const auto now_ns = host_.clock().boot_ns();
    // Apart from the counters nothing moves without being announced.
    const bool old = watch_.changed() || !read_ || now_ns - read_ns_ > kRereadNs;
    if (old || with_stats_) {
      read_ns_ = now_ns;
      if (auto done = dump(); !done) return done;
    }
    for (const auto& link : links_) emit(link, out);
    return {};
  }

 private:
  Result<> dump() {
    read_ = false;
    links_.clear();
    struct {
      ifinfomsg header{};
      rtattr attribute{RTA_LENGTH(sizeof(std::uint32_t)), IFLA_EXT_MASK};
      std::uint32_t mask = 0;
    } request;
    if (!with_stats_) request.mask = RTEXT_FILTER_SKIP_STATS;
    auto done = rtnetlink_.dump(RTM_GETLINK, {reinterpret_cast<const char*>(&request), sizeof request},
                                [this](std::uint16_t, std::string_view message) { add(message); });
    if (!done) return done;
    for (auto& link : links_) {
      read_settings(link);
      // These three are the driver's or the device's and not in the message.
      link.numbers[kAddressAssignType] = Attribute(folder_ + link.name + "/addr_assign_type").number();
      link.numbers[kDeviceId] = Attribute(folder_ + link.name + "/dev_id").number();
      link.numbers[kNameAssignType] = Attribute(folder_ + link.name + "/name_assign_type").number();
    }
    read_ = true;
    return {};
  }

  void add(std::string_view message) {
    const auto header = take_struct<ifinfomsg>(message);
    if (!header) return;
    Link link;
    auto& n = link.numbers;
    n[kFlags] = header->ifi_flags;
    n[kIfaceId] = n[kIfaceLink] = header->ifi_index;
    n[kProtocolType] = header->ifi_type;
    while (const auto a = take_attribute(message)) {
      const auto number = static_cast<double>(a->number());
      switch (a->type) {
        case IFLA_IFNAME: link.name = a->text(); break;
        case IFLA_IFALIAS: link.alias = a->text(); break;
        case IFLA_ADDRESS: link.address = address_text(a->payload); break;
        case IFLA_BROADCAST: link.broadcast = address_text(a->payload); break;
        case IFLA_OPERSTATE: link.operstate = a->number(); break;
        case IFLA_CARRIER: n[kCarrier] = number; break;
        case IFLA_CARRIER_CHANGES: n[kCarrierChanges] = number; break;
        case IFLA_CARRIER_UP_COUNT: n[kCarrierUpChanges] = number; break;
        case IFLA_CARRIER_DOWN_COUNT: n[kCarrierDownChanges] = number; break;
        case IFLA_LINKMODE: n[kIfaceLinkMode] = n[kDormant] = number; break;
        case IFLA_LINK: n[kIfaceLink] = number > 0 ? number : header->ifi_index; break;
        case IFLA_MTU: n[kMtu] = number; break;
        case IFLA_GROUP: n[kNetDevGroup] = number; break;
        case IFLA_TXQLEN: n[kTransmitQueueLength] = number; break;
        case IFLA_PROP_LIST: add_altnames(link, a->payload); break;
        case IFLA_STATS64: add_stats(link, a->payload); break;
        default: break;
      }
    }
    if (!link.name.empty() && !ignored_.ignored(link.name)) links_.push_back(std::move(link));
  }
  static void add_altnames(Link& link, std::string_view nested) {
    while (const auto a = take_attribute(nested))
      if (a->type == IFLA_ALT_IFNAME && !a->text().empty()) link.altnames.emplace_back(a->text());
  }
  static void add_stats(Link& link, std::string_view payload) {
    for (; link.stat_count < std::size(kStats) && payload.size() >= sizeof(std::uint64_t);
         payload.remove_prefix(sizeof(std::uint64_t))) {
      std::uint64_t value;
      std::memcpy(&value, payload.data(), sizeof value);
      link.stats[link.stat_count++] = static_cast<double>(value);
    }
  }

  // A speed that the driver does not know is left out: node_exporter makes 5.4e14 of it.
  void read_settings(Link& link) {
    if (PowerState(folder_ + link.name + "/device").asleep()) return;  // the question would resume it
    if (!socket_) socket_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_cmd command{};
    command.cmd = ETHTOOL_GSET;
    ifreq request{};
    link.name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&command);
    if (::ioctl(socket_.get(), SIOCETHTOOL, &request) != 0) return;
    link.duplex = command.duplex == DUPLEX_FULL ? "Full" : command.duplex == DUPLEX_HALF ? "Half" : "Unknown";
    const auto megabits = ethtool_cmd_speed(&command);
    if (megabits != static_cast<std::uint32_t>(SPEED_UNKNOWN)) link.numbers[kSpeed] = megabits * kBytesPerMegabit;
  }

  void emit(const Link& link, BatchWriter& out) const {
    out.set(kUp, link.operstate == kOperUp, link.name);
    out.set(kInfo, 1, link.name, link.address, link.broadcast, link.duplex,
            link.operstate < std::size(kOperstates) ? kOperstates[link.operstate] : "unknown", link.alias);
    for (const auto& altname : link.altnames) out.set(kAltname, 1, altname, link.name);
    for (std::size_t i = 0; i < kNumbers; ++i)
      if (link.numbers[i]) out.set(kNumberMetrics[i], *link.numbers[i], link.name);
    if (!with_stats_) return;
    for (std::size_t i = 0; i < link.stat_count; ++i) out.set(kStats[i], link.stats[i], link.name);
  }

  const Host& host_;
  NameFilter ignored_;
  bool with_stats_;
  std::string folder_;
  Netlink rtnetlink_{NETLINK_ROUTE};
  LinkWatch watch_;
  Fd socket_;
  std::vector<Link> links_;
  bool read_ = false;
  std::int64_t read_ns_ = 0;
};

}  // namespace

std::unique_ptr<Collector> make_netclass_links(const Host& host, NameFilter ignored, bool with_stats) {
  return std::make_unique<NetclassLinks>(host, std::move(ignored), with_stats);
}

}  // namespace vitald
