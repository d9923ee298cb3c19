// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "core/collector.h"
#include "core/kernel_file.h"
#include "core/scan.h"
#include "sensors/kernel_tree.h"
#include "sensors/name_filter.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr AttributeRow kRows[] = {
    {"addr_assign_type",
     {"node_network_address_assign_type", gauge, "Network device property: address_assign_type", "device", "",
      "/sys/class/net/*/addr_assign_type"}},
    {"carrier",
     {"node_network_carrier", gauge, "Network device property: carrier", "device", "", "/sys/class/net/*/carrier"}},
    {"carrier_changes",
     {"node_network_carrier_changes_total", counter, "Network device property: carrier_changes_total", "device", "",
      "/sys/class/net/*/carrier_changes"}},
    {"carrier_up_count",
     {"node_network_carrier_up_changes_total", counter, "Network device property: carrier_up_changes_total", "device",
      "", "/sys/class/net/*/carrier_up_count"}},
    {"carrier_down_count",
     {"node_network_carrier_down_changes_total", counter, "Network device property: carrier_down_changes_total",
      "device", "", "/sys/class/net/*/carrier_down_count"}},
    {"dev_id",
     {"node_network_device_id", gauge, "Network device property: device_id", "device", "", "/sys/class/net/*/dev_id"}},
    {"dormant",
     {"node_network_dormant", gauge, "Network device property: dormant", "device", "", "/sys/class/net/*/dormant"}},
    {"flags", {"node_network_flags", gauge, "Network device property: flags", "device", "", "/sys/class/net/*/flags"}},
    {"ifindex",
     {"node_network_iface_id", gauge, "Network device property: iface_id", "device", "", "/sys/class/net/*/ifindex"}},
    {"iflink",
     {"node_network_iface_link", gauge, "Network device property: iface_link", "device", "",
      "/sys/class/net/*/iflink"}},
    {"link_mode",
     {"node_network_iface_link_mode", gauge, "Network device property: iface_link_mode", "device", "",
      "/sys/class/net/*/link_mode"}},
    {"mtu",
     {"node_network_mtu_bytes", gauge, "Network device property: mtu_bytes", "device", "bytes",
      "/sys/class/net/*/mtu"}},
    {"name_assign_type",
     {"node_network_name_assign_type", gauge, "Network device property: name_assign_type", "device", "",
      "/sys/class/net/*/name_assign_type"}},
    {"netdev_group",
     {"node_network_net_dev_group", gauge, "Network device property: net_dev_group", "device", "",
      "/sys/class/net/*/netdev_group"}},
    {"tx_queue_len",
     {"node_network_transmit_queue_length", gauge, "Network device property: transmit_queue_length", "device", "",
      "/sys/class/net/*/tx_queue_len"}},
    {"type",
     {"node_network_protocol_type", gauge, "Network device property: protocol_type", "device", "",
      "/sys/class/net/*/type"}},
};
constexpr MetricDesc kMetrics[] = {
    {"node_network_up", gauge, "Value is 1 if operstate is 'up', 0 otherwise.", "device", "",
     "/sys/class/net/*/operstate"},
    {"node_network_info", gauge, "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
     "device,address,broadcast,duplex,operstate,adminstate,ifalias", "", "/sys/class/net/*"},
    {"node_network_speed_bytes", gauge, "Network device property: speed_bytes", "device", "bytes",
     "/sys/class/net/*/speed"},
    {"node_network_*", gauge, "*", "device", "", "/sys/class/net/*"},
};
constexpr FlagSpec kFlags[] = {
    {"collector.netclass.ignored-devices", FlagType::pattern, "^$",
     "Regexp of net devices to ignore for netclass collector."},
    {"collector.netclass.ignore-invalid-speed", FlagType::boolean, "false",
     "Ignore devices where the speed is invalid. This will be the default behavior in 2.x."},
};
constexpr std::int64_t kBytesPerMegabit = 1'000'000 / 8;
constexpr std::uint64_t kUp = 1;  // IFF_UP

struct Device {
  explicit Device(const std::string& path)
      : operstate(path + "/operstate"),
        address(path + "/address"),
        broadcast(path + "/broadcast"),
        duplex(path + "/duplex"),
        flags(path + "/flags"),
        ifalias(path + "/ifalias"),
        speed(path + "/speed"),
        numbers(path, kRows) {}
  Attribute operstate, address, broadcast, duplex, flags, ifalias, speed;
  AttributeTable numbers;
};

class Netclass final : public Collector {
 public:
  Netclass(const Host& host, NameFilter filter, bool valid_speed_only)
      : filter_(std::move(filter)), valid_speed_only_(valid_speed_only), devices_(host.sysfs("class/net")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = devices_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [name, device] : devices_.items()) {
      // bonding_masters is a file among the devices' folders.
      if (name == "bonding_masters" || filter_.ignored(name)) continue;
      emit(name, device, out);
    }
    return {};
  }

 private:
  void emit(std::string_view name, Device& device, BatchWriter& out) {
    operstate_ = device.operstate.text().value_or("");
    address_ = device.address.text().value_or("");
    broadcast_ = device.broadcast.text().value_or("");
    duplex_ = device.duplex.text().value_or("");
    const auto flags = device.flags.u64();
    const std::string_view admin = !flags ? "unknown" : (*flags & kUp) != 0 ? "up" : "down";
    out.set(kMetrics[0], operstate_ == "up", name);
    out.set(kMetrics[1], 1, name, address_, broadcast_, duplex_, operstate_, admin, device.ifalias.text().value_or(""));
    device.numbers.emit(out, name);
    // A link that is down has -1, or cannot be read.
    if (const auto speed = device.speed.i64(); speed && (*speed >= 0 || !valid_speed_only_))
      out.set(kMetrics[2], static_cast<double>(*speed * kBytesPerMegabit), name);
  }

  NameFilter filter_;
  bool valid_speed_only_;
  KernelItems<Device> devices_;
  std::string operstate_, address_, broadcast_, duplex_;  // of the device at hand; kept for their memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(options.text("collector.netclass.ignored-devices"), "");
  if (!filter) return fail(filter.error());
  return std::make_unique<Netclass>(host, std::move(*filter), options.flag("collector.netclass.ignore-invalid-speed"));
}

}  // namespace

extern const CollectorInfo collector_netclass;
const CollectorInfo collector_netclass{kMetrics, kFlags, make};

}  // namespace vitald
