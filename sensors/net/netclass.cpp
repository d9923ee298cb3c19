// SPDX-License-Identifier: Apache-2.0
// Attributes of network interfaces from /sys/class/net; where they are the same, by one rtnetlink dump.
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/net/netclass_links.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/netlink.h"

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
constexpr const MetricDesc& kOperUp = row(kMetrics, "node_network_up");
constexpr const MetricDesc& kInfo = row(kMetrics, "node_network_info");
constexpr const MetricDesc& kSpeed = row(kMetrics, "node_network_speed_bytes");
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
  std::uint64_t state = 0;  // fingerprint of what rtnetlink said of it; 0: did not say
  std::string name, operstate, address, broadcast, duplex, ifalias;
  std::string_view admin;
  std::array<std::optional<double>, std::size(kRows)> numbers;
  std::optional<std::int64_t> speed_megabits;
  std::vector<Error> problems;  // of its files
};

// Where the kernel announces nothing, four of an interface's 23 files tell whether to read all: speed, duplex and
// the carrier's counters change with carrier_changes, and another interface of that name has another index.
class Signs {
 public:
  explicit Signs(const std::string& folder)
      : files_{Attribute(folder + "/ifindex"), Attribute(folder + "/operstate"), Attribute(folder + "/flags"),
               Attribute(folder + "/carrier_changes")} {}

  // True the first time, and always when one is missing (carrier_changes before Linux 3.15).
  bool changed() {
    bool any = false;
    for (std::size_t i = 0; i < std::size(files_); ++i) {
      const auto now = files_[i].text();
      any = any || !now || *now != seen_[i];
      if (now) seen_[i].assign(*now);
    }
    return any;
  }

 private:
  Attribute files_[4];
  std::string seen_[4];
};

// A bond's speed changes with a member's, and a virtual link's by hand: not with anything that a fingerprint has.
void read_unannounced(const std::string& folder, Device& d) {
  d.duplex = Attribute(folder + "/duplex").text().value_or("");
  Attribute speed(folder + "/speed");
  d.speed_megabits = speed.i64();
  std::erase_if(d.problems, [&](const Error& e) { return e.text.starts_with(speed.path()); });
  if (auto why = speed.no_number()) d.problems.push_back(std::move(*why));
}

Device read_device(const std::string& folder, const std::string& name) {
  const auto file = [&](std::string_view attribute) { return Attribute(folder + "/" + std::string(attribute)); };
  const auto text = [&](std::string_view attribute) { return std::string(file(attribute).text().value_or("")); };
  Device d;
  d.name = name;
  d.operstate = text("operstate");
  d.address = text("address");
  d.broadcast = text("broadcast");
  d.ifalias = text("ifalias");
  const auto flags = file("flags").u64();
  d.admin = !flags ? "unknown" : (*flags & kUp) != 0 ? "up" : "down";
  for (std::size_t i = 0; i < std::size(kRows); ++i) {
    auto attribute = file(kRows[i].file);
    d.numbers[i] = attribute.number();
    if (auto why = attribute.no_number()) d.problems.push_back(std::move(*why));
  }
  read_unannounced(folder, d);
  return d;
}

constexpr std::uint16_t kAllMulticast = 61;  // IFLA_ALLMULTI, since Linux 6.0

// One dump of all links tells which of them are not what they were, so that of a thousand interfaces only the one
// that came is read from files.
class LinkStates {
 public:
  // Empty afterwards when the kernel cannot be asked.
  void refresh() {
    states_.clear();
    struct {
      ifinfomsg header{};
      rtattr attribute{RTA_LENGTH(sizeof(std::uint32_t)), IFLA_EXT_MASK};
      std::uint32_t mask = RTEXT_FILTER_SKIP_STATS;
    } request;
    const auto done = netlink_.dump(RTM_GETLINK, {reinterpret_cast<const char*>(&request), sizeof request},
                                    [this](std::uint16_t, std::string_view message) { add(message); });
    if (!done || netlink_.interrupted()) states_.clear();
    std::ranges::sort(states_);
  }
  [[nodiscard]] std::uint64_t of(std::string_view name) const {
    const auto at =
        std::ranges::lower_bound(states_, name, {}, [](const auto& s) { return std::string_view(s.first); });
    return at != states_.end() && at->first == name ? at->second : 0;
  }

 private:
  void add(std::string_view message) {
    const auto header = take_struct<ifinfomsg>(message);
    if (!header) return;
    std::string name;
    kept_.clear();
    for (const std::uint64_t n : {std::uint64_t{header->ifi_flags}, std::uint64_t{header->ifi_type},
                                  static_cast<std::uint64_t>(header->ifi_index)})
      kept_.append(reinterpret_cast<const char*>(&n), sizeof n);
    while (const auto a = take_attribute(message)) {
      switch (a->type) {
        case IFLA_IFNAME: name = a->text(); break;
        case IFLA_ADDRESS:
        case IFLA_BROADCAST:
        case IFLA_MTU:
        case IFLA_LINK:
        case IFLA_TXQLEN:
        case IFLA_OPERSTATE:
        case IFLA_LINKMODE:
        case IFLA_IFALIAS:
        case IFLA_GROUP:
        case IFLA_PROMISCUITY:  // sysfs has their flags, ifi_flags has not
        case kAllMulticast:
        case IFLA_CARRIER:
        case IFLA_CARRIER_CHANGES:
        case IFLA_CARRIER_UP_COUNT:
        case IFLA_CARRIER_DOWN_COUNT: kept_.append(1, static_cast<char>(a->type)).append(a->payload); break;
        default: break;  // statistics, and timers of bridges and bonds
      }
    }
    if (!name.empty()) states_.emplace_back(std::move(name), std::hash<std::string>{}(kept_) | 1);
  }

  Netlink netlink_{NETLINK_ROUTE};
  std::vector<std::pair<std::string, std::uint64_t>> states_;
  std::string kept_;
};

// None of these numbers moves by itself: 23 files for each interface are read when the kernel announces a
// change of it, and two now and then that it does not announce (the speed set by hand on a virtual link).
class Netclass final : public Collector {
 public:
  Netclass(const Host& host, NameFilter filter, bool valid_speed_only)
      : host_(host),
        filter_(std::move(filter)),
        valid_speed_only_(valid_speed_only),
        folder_(host.sysfs("class/net")),
        folder_signs_(folder_) {}

  Result<> collect(BatchWriter& out) override {
    const auto now_ns = host_.clock().boot_ns();
    // Announcements are of the running kernel's network: in another tree, and that is a container's view of the
    // host too, the files themselves must tell.
    const bool too_old = now_ns - read_ns_ > reread_ns() || !read_;
    bool changed;
    if (host_.view().network) {
      changed = watch_.changed();
    } else {
      changed = !folder_signs_.refresh() || folder_signs_.changed();
    }
    if (changed || too_old) {
      if (too_old) read_ns_ = now_ns;
      if (auto done = read_all(too_old); !done) return done;
    } else if (!host_.view().network) {
      read_changed();
    }
    for (const auto& device : devices_) emit(device, out);
    return {};
  }

 private:
  // What nothing tells of, like an alias or the MTU in another tree. Reading an interface whole takes 0.1 ms, so that
  // this stays below 0.2 % of a CPU there, and few interfaces are never older than a second.
  [[nodiscard]] std::int64_t reread_ns() const {
    if (host_.view().network) return kRereadNs;
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(devices_.size()) * kRereadNs / 1000, kRereadNs / 60,
                                    kRereadNs);
  }

  void read_changed() {
    const auto items = folder_signs_.items();
    auto signs = items.begin();
    for (auto& device : devices_) {  // both are sorted; some of the folder are ignored
      while (signs != items.end() && signs->name < device.name) ++signs;
      if (signs == items.end()) return;  // one that came after the folder was listed: seen next time
      if (signs->name == device.name && signs->value.changed())
        device = read_device(folder_ + "/" + device.name, device.name);
    }
  }

  Result<> read_all(bool too_old) {
    auto before = std::exchange(devices_, {});
    if (!std::exchange(read_, false)) before.clear();
    if (host_.view().network) states_.refresh();  // before the files: what changes now is announced again
    const auto names = list_directory(folder_);
    if (!names) return absent_when_gone(names.error());
    auto known = before.begin();  // both are sorted
    for (const auto& name : *names) {
      // bonding_masters is a file among the devices' folders.
      if (name == "bonding_masters" || filter_.ignored(name)) continue;
      while (known != before.end() && known->name < name) ++known;
      const auto state = host_.view().network ? states_.of(name) : 0;
      // What a fingerprint cannot know of lags by a minute at most.
      if (!too_old && state != 0 && known != before.end() && known->name == name && known->state == state) {
        devices_.push_back(std::move(*known++));
        read_unannounced(folder_ + "/" + name, devices_.back());
      } else {
        devices_.push_back(read_device(folder_ + "/" + name, name));
        devices_.back().state = state;
      }
    }
    read_ = true;
    return {};
  }

  void emit(const Device& d, BatchWriter& out) const {
    for (const auto& problem : d.problems) out.problem(problem);
    out.set(kOperUp, d.operstate == "up", d.name);
    out.set(kInfo, 1, d.name, d.address, d.broadcast, d.duplex, d.operstate, d.admin, d.ifalias);
    for (std::size_t i = 0; i < std::size(kRows); ++i)
      if (d.numbers[i]) out.set(kRows[i].desc, *d.numbers[i], d.name);
    // A link that is down has -1, or cannot be read. All ones, of 16 or 32 bits, are a driver's word for "unknown" too.
    constexpr std::int64_t kUnknown16 = 65535, kUnknown32 = 4294967295;
    if (!d.speed_megabits || *d.speed_megabits == kUnknown16 || *d.speed_megabits == kUnknown32) return;
    if (*d.speed_megabits >= 0 || !valid_speed_only_)
      out.set(kSpeed, static_cast<double>(*d.speed_megabits * kBytesPerMegabit), d.name);
  }

  const Host& host_;
  NameFilter filter_;
  bool valid_speed_only_;
  std::string folder_;
  LinkWatch watch_;
  LinkStates states_;
  KernelItems<Signs> folder_signs_;
  std::vector<Device> devices_;
  bool read_ = false;
  std::int64_t read_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(options.text("collector.netclass.ignored-devices"), "");
  if (!filter) return fail(filter.error());
  if (options.flag("collector.netclass.netlink") && !host.other_network())
    return make_netclass_links(host, std::move(*filter), options.flag("collector.netclass_rtnl.with-stats"));
  return std::make_unique<Netclass>(host, std::move(*filter), options.flag("collector.netclass.ignore-invalid-speed"));
}

}  // namespace

extern const CollectorInfo collector_netclass;
const CollectorInfo collector_netclass{kFamilies, kFlags, make};

}  // namespace vitald
