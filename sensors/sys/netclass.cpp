// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/kernel_file.h"
#include "core/scan.h"
#include "sensors/kernel_tree.h"
#include "sensors/name_filter.h"
#include "sensors/netlink.h"
#include "sensors/sys/netclass_links.h"

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
};
constexpr auto kFamilies = families_of(kMetrics, kRows);
constexpr FlagSpec kFlags[] = {
    {"collector.netclass.ignored-devices", FlagType::pattern, "^$",
     "Regexp of net devices to ignore for netclass collector."},
    {"collector.netclass.ignore-invalid-speed", FlagType::boolean, "false",
     "Ignore devices where the speed is invalid. This will be the default behavior in 2.x."},
    {"collector.netclass.netlink", FlagType::boolean, "false", "Use netlink to gather stats instead of /proc/net/dev."},
    {"collector.netclass_rtnl.with-stats", FlagType::boolean, "false",
     "Expose the statistics for each network device, replacing netdev collector."},
};
constexpr std::int64_t kBytesPerMegabit = 1'000'000 / 8;
constexpr std::int64_t kRereadNs = 60 * std::int64_t{1'000'000'000};
constexpr std::uint64_t kUp = 1;  // IFF_UP

// What /sys/class/net says of one interface.
struct Device {
  std::string name, operstate, address, broadcast, duplex, ifalias;
  std::string_view admin;
  std::array<std::optional<double>, std::size(kRows)> numbers;
  std::optional<std::int64_t> speed_megabits;
};

Device read_device(const std::string& folder, const std::string& name) {
  const auto file = [&](std::string_view attribute) { return Attribute(folder + "/" + std::string(attribute)); };
  const auto text = [&](std::string_view attribute) { return std::string(file(attribute).text().value_or("")); };
  Device d;
  d.name = name;
  d.operstate = text("operstate");
  d.address = text("address");
  d.broadcast = text("broadcast");
  d.duplex = text("duplex");
  d.ifalias = text("ifalias");
  const auto flags = file("flags").u64();
  d.admin = !flags ? "unknown" : (*flags & kUp) != 0 ? "up" : "down";
  for (std::size_t i = 0; i < std::size(kRows); ++i) d.numbers[i] = file(kRows[i].file).number();
  d.speed_megabits = file("speed").i64();
  return d;
}

// None of these numbers moves by itself: 23 files for each interface are read when the kernel announces a
// change of any, and now and then for what it does not announce (the speed set by hand on a virtual link).
class Netclass final : public Collector {
 public:
  Netclass(const Host& host, NameFilter filter, bool valid_speed_only)
      : host_(host),
        filter_(std::move(filter)),
        valid_speed_only_(valid_speed_only),
        folder_(host.sysfs("class/net")) {}

  Result<> collect(BatchWriter& out) override {
    const auto now_ns = host_.clock().boot_ns();
    // Announcements are of the running kernel: another tree is read every time.
    if (!host_.live() || watch_.changed() || now_ns - read_ns_ > kRereadNs || !read_) {
      read_ns_ = now_ns;
      if (auto done = read_all(); !done) return done;
    }
    for (const auto& device : devices_) emit(device, out);
    return {};
  }

 private:
  Result<> read_all() {
    read_ = false;
    devices_.clear();
    const auto names = list_directory(folder_);
    if (!names) return absent_when_gone(names.error());
    for (const auto& name : *names) {
      // bonding_masters is a file among the devices' folders.
      if (name != "bonding_masters" && !filter_.ignored(name))
        devices_.push_back(read_device(folder_ + "/" + name, name));
    }
    read_ = true;
    return {};
  }

  void emit(const Device& d, BatchWriter& out) const {
    out.set(kMetrics[0], d.operstate == "up", d.name);
    out.set(kMetrics[1], 1, d.name, d.address, d.broadcast, d.duplex, d.operstate, d.admin, d.ifalias);
    for (std::size_t i = 0; i < std::size(kRows); ++i)
      if (d.numbers[i]) out.set(kRows[i].desc, *d.numbers[i], d.name);
    // A link that is down has -1, or cannot be read.
    if (d.speed_megabits && (*d.speed_megabits >= 0 || !valid_speed_only_))
      out.set(kMetrics[2], static_cast<double>(*d.speed_megabits * kBytesPerMegabit), d.name);
  }

  const Host& host_;
  NameFilter filter_;
  bool valid_speed_only_;
  std::string folder_;
  LinkWatch watch_;
  std::vector<Device> devices_;
  bool read_ = false;
  std::int64_t read_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(options.text("collector.netclass.ignored-devices"), "");
  if (!filter) return fail(filter.error());
  if (options.flag("collector.netclass.netlink"))
    return make_netclass_links(host, std::move(*filter), options.flag("collector.netclass_rtnl.with-stats"));
  return std::make_unique<Netclass>(host, std::move(*filter), options.flag("collector.netclass.ignore-invalid-speed"));
}

}  // namespace

extern const CollectorInfo collector_netclass;
const CollectorInfo collector_netclass{kFamilies, kFlags, make};

}  // namespace vitald
