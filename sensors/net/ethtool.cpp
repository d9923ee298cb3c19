// SPDX-License-Identifier: Apache-2.0
// What drivers of network cards count themselves, and link modes, by ethtool's ioctl.
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <re2/re2.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/fd.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/net/ethtool_names.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/netlink.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "SIOCETHTOOL";
constexpr MetricDesc kMetrics[] = {
    {"node_ethtool_info", gauge,
     "A metric with a constant '1' value labeled by bus_info, device, driver, expansion_rom_version, firmware_version, "
     "version.",
     "bus_info,device,driver,expansion_rom_version,firmware_version,version", "", kSource},
    {"node_network_supported_speed_bytes", gauge, "Combination of speeds and features supported by network device",
     "device,duplex,mode", "bytes", kSource},
    {"node_network_advertised_speed_bytes", gauge, "Combination of speeds and features offered by network device",
     "device,duplex,mode", "bytes", kSource},
    {"node_network_supported_port_info", gauge, "Type of ports or PHYs supported by network device", "device,type", "",
     kSource},
    {"node_network_autonegotiate_supported", gauge, "If this port device supports autonegotiate", "device", "",
     kSource},
    {"node_network_pause_supported", gauge, "If this port device supports pause frames", "device", "", kSource},
    {"node_network_asymmetricpause_supported", gauge, "If this port device supports asymmetric pause frames", "device",
     "", kSource},
    {"node_network_autonegotiate_advertised", gauge, "If this port device offers autonegotiate", "device", "", kSource},
    {"node_network_pause_advertised", gauge, "If this port device offers pause capability", "device", "", kSource},
    {"node_network_asymmetricpause_advertised", gauge, "If this port device offers asymmetric pause capability",
     "device", "", kSource},
    {"node_network_autonegotiate", gauge, "If this port is using autonegotiate", "device", "", kSource},
    {"node_ethtool_*", untyped, "*", "device", "", kSource},
};
enum Family {
  kInfo,
  kSupportedSpeed,
  kAdvertisedSpeed,
  kPort,
  kSupported,
  kAdvertised = kSupported + 3,
  kAutonegotiate = kAdvertised + 3
};
constexpr FlagSpec kFlags[] = {
    {"collector.ethtool.device-include", FlagType::pattern, "",
     "Regexp of ethtool devices to include (mutually exclusive to device-exclude)."},
    {"collector.ethtool.device-exclude", FlagType::pattern, "",
     "Regexp of ethtool devices to exclude (mutually exclusive to device-include)."},
    {"collector.ethtool.metrics-include", FlagType::pattern, ".*", "Regexp of ethtool stats to include."},
};
// Statistics that have a name and a help of their own.
struct Known {
  std::string_view key, name, help;
};
constexpr Known kKnown[] = {
    {"rx_bytes", "node_ethtool_received_bytes_total", "Network interface bytes received"},
    {"rx_dropped", "node_ethtool_received_dropped_total", "Number of received frames dropped"},
    {"rx_errors", "node_ethtool_received_errors_total", "Number of received frames with errors"},
    {"rx_packets", "node_ethtool_received_packets_total", "Network interface packets received"},
    {"tx_bytes", "node_ethtool_transmitted_bytes_total", "Network interface bytes sent"},
    {"tx_errors", "node_ethtool_transmitted_errors_total", "Number of sent frames with errors"},
    {"tx_packets", "node_ethtool_transmitted_packets_total", "Network interface packets sent"},
};
// ETHTOOL_GSET knows the first 32 link modes.
struct Mode {
  unsigned bit;
  double megabits;
  std::string_view duplex, name;
};
constexpr Mode kModes[] = {
    {ETHTOOL_LINK_MODE_10baseT_Half_BIT, 10, "half", "10baseT"},
    {ETHTOOL_LINK_MODE_10baseT_Full_BIT, 10, "full", "10baseT"},
    {ETHTOOL_LINK_MODE_100baseT_Half_BIT, 100, "half", "100baseT"},
    {ETHTOOL_LINK_MODE_100baseT_Full_BIT, 100, "full", "100baseT"},
    {ETHTOOL_LINK_MODE_1000baseT_Half_BIT, 1000, "half", "1000baseT"},
    {ETHTOOL_LINK_MODE_1000baseT_Full_BIT, 1000, "full", "1000baseT"},
    {ETHTOOL_LINK_MODE_10000baseT_Full_BIT, 10000, "full", "10000baseT"},
    {ETHTOOL_LINK_MODE_1000baseKX_Full_BIT, 1000, "full", "1000baseKX"},
    {ETHTOOL_LINK_MODE_10000baseKX4_Full_BIT, 10000, "full", "10000baseKX4"},
    {ETHTOOL_LINK_MODE_10000baseKR_Full_BIT, 10000, "full", "10000baseKR"},
    {ETHTOOL_LINK_MODE_10000baseR_FEC_BIT, 10000, "full", "10000baseR_FEC"},
    {ETHTOOL_LINK_MODE_20000baseMLD2_Full_BIT, 20000, "full", "20000baseMLD2"},
    {ETHTOOL_LINK_MODE_20000baseKR2_Full_BIT, 20000, "full", "20000baseKR2"},
    {ETHTOOL_LINK_MODE_40000baseKR4_Full_BIT, 40000, "full", "40000baseKR4"},
    {ETHTOOL_LINK_MODE_40000baseCR4_Full_BIT, 40000, "full", "40000baseCR4"},
    {ETHTOOL_LINK_MODE_40000baseSR4_Full_BIT, 40000, "full", "40000baseSR4"},
    {ETHTOOL_LINK_MODE_40000baseLR4_Full_BIT, 40000, "full", "40000baseLR4"},
    {ETHTOOL_LINK_MODE_56000baseKR4_Full_BIT, 56000, "full", "56000baseKR4"},
    {ETHTOOL_LINK_MODE_56000baseCR4_Full_BIT, 56000, "full", "56000baseCR4"},
    {ETHTOOL_LINK_MODE_56000baseSR4_Full_BIT, 56000, "full", "56000baseSR4"},
    {ETHTOOL_LINK_MODE_56000baseLR4_Full_BIT, 56000, "full", "56000baseLR4"},
    {ETHTOOL_LINK_MODE_25000baseCR_Full_BIT, 25000, "full", "25000baseCR"},
};
struct PortType {
  unsigned bit;
  std::string_view name;
};
constexpr PortType kPorts[] = {
    {ETHTOOL_LINK_MODE_TP_BIT, "TP"},   {ETHTOOL_LINK_MODE_AUI_BIT, "AUI"},
    {ETHTOOL_LINK_MODE_MII_BIT, "MII"}, {ETHTOOL_LINK_MODE_FIBRE_BIT, "FIBRE"},
    {ETHTOOL_LINK_MODE_BNC_BIT, "BNC"}, {ETHTOOL_LINK_MODE_Backplane_BIT, "Backplane"},
};
constexpr unsigned kCapabilities[] = {ETHTOOL_LINK_MODE_Autoneg_BIT, ETHTOOL_LINK_MODE_Pause_BIT,
                                      ETHTOOL_LINK_MODE_Asym_Pause_BIT};
constexpr double kBytesPerMegabit = 1e6 / 8;
constexpr std::int64_t kRereadNs = 60 * std::int64_t{1'000'000'000};
// A driver may come to have more statistics between asking for their number and for themselves.
constexpr std::size_t kSpare = 1024;

template <std::size_t N>
std::string text_of(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

// What changes only when somebody sets it, and what the statistics are called.
struct Device {
  std::string name;
  PowerState power;
  std::optional<ethtool_cmd> link;
  std::optional<std::array<std::string, 5>> driver;  // bus, driver, expansion ROM, firmware, version
  std::vector<const MetricDesc*> statistics;         // null: not asked for, or ambiguous
  std::string ambiguous;                             // what is said of these
};

class Ethtool final : public Collector {
 public:
  Ethtool(const Host& host, NameFilter devices, NameFilter metrics)
      : host_(host),
        devices_filter_(std::move(devices)),
        metrics_filter_(std::move(metrics)),
        folder_(host.sysfs("class/net")) {}

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    if (!socket_) socket_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket_) return fail(from_errno("socket(AF_INET)", errno));
    const auto now_ns = host_.clock().boot_ns();
    if (watch_.changed() || !read_ || std::ranges::any_of(asleep_, [](auto& power) { return !power.asleep(); }) ||
        now_ns - read_ns_ > kRereadNs) {
      read_ns_ = now_ns;
      if (auto done = describe_all(); !done) return done;
    }
    for (auto& device : devices_)
      if (!device.power.asleep()) emit(device, out);
    return {};
  }

 private:
  // EOPNOTSUPP: virtual interfaces know little or nothing of this.
  bool ask(const std::string& device, void* command) const {
    ifreq request{};
    device.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = static_cast<char*>(command);
    return ::ioctl(socket_.get(), SIOCETHTOOL, &request) == 0;
  }

  Result<> describe_all() {
    read_ = false;
    devices_.clear();
    asleep_.clear();
    const auto names = list_directory(folder_);
    if (!names) return absent_when_gone(names.error());
    for (const auto& name : *names) {
      if (name == "bonding_masters" || devices_filter_.ignored(name)) continue;
      Device d{name, PowerState(folder_ + "/" + name + "/device"), std::nullopt, std::nullopt, {}, {}};
      // Every question resumes a device that sleeps (since Linux 5.15). It is described when it is awake.
      if (d.power.asleep()) {
        asleep_.push_back(std::move(d.power));
        continue;
      }
      ethtool_cmd link{};
      link.cmd = ETHTOOL_GSET;
      if (ask(name, &link)) d.link = link;
      ethtool_drvinfo driver{};
      driver.cmd = ETHTOOL_GDRVINFO;
      if (ask(name, &driver))
        d.driver = {text_of(driver.bus_info), text_of(driver.driver), text_of(driver.erom_version),
                    text_of(driver.fw_version), text_of(driver.version)};
      name_statistics(d);
      devices_.push_back(std::move(d));
    }
    read_ = true;
    return {};
  }

  std::uint32_t count_statistics(const std::string& device) const {
    // The count follows the header.
    alignas(ethtool_sset_info) char query[sizeof(ethtool_sset_info) + sizeof(std::uint32_t)] = {};
    ethtool_sset_info head{};
    head.cmd = ETHTOOL_GSSET_INFO;
    head.sset_mask = 1ULL << ETH_SS_STATS;
    std::memcpy(query, &head, sizeof head);
    if (!ask(device, query)) return 0;
    std::memcpy(&head, query, sizeof head);
    std::uint32_t count;
    std::memcpy(&count, query + sizeof head, sizeof count);
    return head.sset_mask != 0 ? count : 0;
  }

  void name_statistics(Device& d) {
    const auto count = count_statistics(d.name);
    if (count == 0) return;
    std::vector<char> buf(sizeof(ethtool_gstrings) + (count + kSpare) * ETH_GSTRING_LEN);
    ethtool_gstrings head{};
    head.cmd = ETHTOOL_GSTRINGS;
    head.string_set = ETH_SS_STATS;
    head.len = count;
    std::memcpy(buf.data(), &head, sizeof head);
    if (!ask(d.name, buf.data())) return;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) {
      const char* text = buf.data() + sizeof head + i * ETH_GSTRING_LEN;
      names.emplace_back(text, ::strnlen(text, ETH_GSTRING_LEN));
      d.statistics.push_back(family(metric_name(names.back())));
    }
    d.ambiguous = leave_out_ambiguous(names, d.statistics);
  }

  // "rx_queue_0_drops" becomes node_ethtool_received_queue_0_drops
  const MetricDesc* family(const std::string& key) {
    static const re2::RE2 kReceive("(^|_)rx(_|$)"), kTransmit("(^|_)tx(_|$)");
    if (key.empty() || metrics_filter_.ignored(key)) return nullptr;
    for (const auto& known : kKnown)
      if (known.key == key) return &pool_->get(known.name, untyped, known.help, "device");
    std::string name = key;
    for (auto& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    name.erase(0, std::min(name.find_first_not_of('_'), name.size()));
    re2::RE2::GlobalReplace(&name, kReceive, "\\1received\\2");
    re2::RE2::GlobalReplace(&name, kTransmit, "\\1transmitted\\2");
    return &pool_->get("node_ethtool_" + name, untyped, "Network interface " + key, "device");
  }

  void emit(const Device& d, BatchWriter& out) {
    if (d.link) emit_link(d.name, *d.link, out);
    if (const auto& i = d.driver) out.set(kMetrics[kInfo], 1, (*i)[0], d.name, (*i)[1], (*i)[2], (*i)[3], (*i)[4]);
    if (!d.ambiguous.empty())
      out.problem(
          {Errc::malformed, 0,
           fmt::format("{}: statistics of its driver that become one name are left out: {}", d.name, d.ambiguous)});
    const auto count = d.statistics.empty() ? 0 : count_statistics(d.name);
    if (count == 0) return;
    if (count != d.statistics.size()) read_ = false;  // other queues: names again next time
    values_.resize(sizeof(ethtool_stats) / sizeof(std::uint64_t) + count + kSpare);
    ethtool_stats head{};
    head.cmd = ETHTOOL_GSTATS;
    head.n_stats = count;
    std::memcpy(values_.data(), &head, sizeof head);
    if (count != d.statistics.size() || !ask(d.name, values_.data())) return;
    static_assert(sizeof(ethtool_stats) == sizeof(std::uint64_t));
    for (std::size_t i = 0; i < d.statistics.size(); ++i)
      if (d.statistics[i]) out.set(*d.statistics[i], static_cast<double>(values_[1 + i]), d.name);
  }

  static void emit_link(std::string_view device, const ethtool_cmd& link, BatchWriter& out) {
    const auto has = [](std::uint32_t modes, unsigned bit) { return (modes >> bit & 1) != 0; };
    for (const auto& mode : kModes) {
      if (has(link.supported, mode.bit))
        out.set(kMetrics[kSupportedSpeed], mode.megabits * kBytesPerMegabit, device, mode.duplex, mode.name);
      if (has(link.advertising, mode.bit))
        out.set(kMetrics[kAdvertisedSpeed], mode.megabits * kBytesPerMegabit, device, mode.duplex, mode.name);
    }
    for (const auto& port : kPorts)
      if (has(link.supported, port.bit)) out.set(kMetrics[kPort], 1, device, port.name);
    for (std::size_t i = 0; i < std::size(kCapabilities); ++i) {
      out.set(kMetrics[kSupported + i], has(link.supported, kCapabilities[i]), device);
      out.set(kMetrics[kAdvertised + i], has(link.advertising, kCapabilities[i]), device);
    }
    out.set(kMetrics[kAutonegotiate], link.autoneg, device);
  }

  const Host& host_;
  NameFilter devices_filter_, metrics_filter_;
  std::string folder_;
  Fd socket_;
  LinkWatch watch_;
  std::vector<Device> devices_;
  std::vector<PowerState> asleep_;  // of those that could not be described
  bool read_ = false;
  std::int64_t read_ns_ = 0;
  std::vector<std::uint64_t> values_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (auto same = same_network(host); !same) return fail(same.error());
  auto devices = NameFilter::exclusive(options, "collector.ethtool.device-exclude", "collector.ethtool.device-include");
  if (!devices) return fail(devices.error());
  auto metrics = NameFilter::make("", options.text("collector.ethtool.metrics-include"));
  if (!metrics) return fail(metrics.error());
  return std::make_unique<Ethtool>(host, std::move(*devices), std::move(*metrics));
}

}  // namespace

extern const CollectorInfo collector_ethtool;
const CollectorInfo collector_ethtool{kMetrics, kFlags, make};

}  // namespace vitald
