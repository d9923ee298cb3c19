// SPDX-License-Identifier: Apache-2.0
// Traffic counters of network interfaces, by rtnetlink or from /proc/net/dev.
#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <string>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/net/links.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/row_memo.h"

namespace vitald {
namespace {

constexpr std::string_view kSource = "rtnetlink RTM_GETLINK and RTM_GETSTATS, or /proc/net/dev";
// The short names (errs, drop, colls) are those of /proc/net/dev, the long ones come with detailed metrics.
constexpr MetricDesc kMetrics[] = {
    {"node_network_receive_bytes_total", MetricType::counter, "Network device statistic receive_bytes.", "device",
     "bytes", kSource},
    {"node_network_receive_packets_total", MetricType::counter, "Network device statistic receive_packets.", "device",
     "", kSource},
    {"node_network_receive_errs_total", MetricType::counter, "Network device statistic receive_errs.", "device", "",
     kSource},
    {"node_network_receive_errors_total", MetricType::counter, "Network device statistic receive_errors.", "device", "",
     kSource},
    {"node_network_receive_drop_total", MetricType::counter, "Network device statistic receive_drop.", "device", "",
     kSource},
    {"node_network_receive_dropped_total", MetricType::counter, "Network device statistic receive_dropped.", "device",
     "", kSource},
    {"node_network_receive_fifo_total", MetricType::counter, "Network device statistic receive_fifo.", "device", "",
     kSource},
    {"node_network_receive_fifo_errors_total", MetricType::counter, "Network device statistic receive_fifo_errors.",
     "device", "", kSource},
    {"node_network_receive_frame_total", MetricType::counter, "Network device statistic receive_frame.", "device", "",
     kSource},
    {"node_network_receive_frame_errors_total", MetricType::counter, "Network device statistic receive_frame_errors.",
     "device", "", kSource},
    {"node_network_receive_compressed_total", MetricType::counter, "Network device statistic receive_compressed.",
     "device", "", kSource},
    {"node_network_receive_multicast_total", MetricType::counter, "Network device statistic receive_multicast.",
     "device", "", kSource},
    {"node_network_multicast_total", MetricType::counter, "Network device statistic multicast.", "device", "", kSource},
    {"node_network_receive_length_errors_total", MetricType::counter, "Network device statistic receive_length_errors.",
     "device", "", kSource},
    {"node_network_receive_over_errors_total", MetricType::counter, "Network device statistic receive_over_errors.",
     "device", "", kSource},
    {"node_network_receive_crc_errors_total", MetricType::counter, "Network device statistic receive_crc_errors.",
     "device", "", kSource},
    {"node_network_receive_missed_errors_total", MetricType::counter, "Network device statistic receive_missed_errors.",
     "device", "", kSource},
    {"node_network_receive_nohandler_total", MetricType::counter, "Network device statistic receive_nohandler.",
     "device", "", kSource},
    {"node_network_transmit_bytes_total", MetricType::counter, "Network device statistic transmit_bytes.", "device",
     "bytes", kSource},
    {"node_network_transmit_packets_total", MetricType::counter, "Network device statistic transmit_packets.", "device",
     "", kSource},
    {"node_network_transmit_errs_total", MetricType::counter, "Network device statistic transmit_errs.", "device", "",
     kSource},
    {"node_network_transmit_errors_total", MetricType::counter, "Network device statistic transmit_errors.", "device",
     "", kSource},
    {"node_network_transmit_drop_total", MetricType::counter, "Network device statistic transmit_drop.", "device", "",
     kSource},
    {"node_network_transmit_dropped_total", MetricType::counter, "Network device statistic transmit_dropped.", "device",
     "", kSource},
    {"node_network_transmit_fifo_total", MetricType::counter, "Network device statistic transmit_fifo.", "device", "",
     kSource},
    {"node_network_transmit_fifo_errors_total", MetricType::counter, "Network device statistic transmit_fifo_errors.",
     "device", "", kSource},
    {"node_network_transmit_colls_total", MetricType::counter, "Network device statistic transmit_colls.", "device", "",
     kSource},
    {"node_network_collisions_total", MetricType::counter, "Network device statistic collisions.", "device", "",
     kSource},
    {"node_network_transmit_carrier_total", MetricType::counter, "Network device statistic transmit_carrier.", "device",
     "", kSource},
    {"node_network_transmit_carrier_errors_total", MetricType::counter,
     "Network device statistic transmit_carrier_errors.", "device", "", kSource},
    {"node_network_transmit_aborted_errors_total", MetricType::counter,
     "Network device statistic transmit_aborted_errors.", "device", "", kSource},
    {"node_network_transmit_heartbeat_errors_total", MetricType::counter,
     "Network device statistic transmit_heartbeat_errors.", "device", "", kSource},
    {"node_network_transmit_window_errors_total", MetricType::counter,
     "Network device statistic transmit_window_errors.", "device", "", kSource},
    {"node_network_transmit_compressed_total", MetricType::counter, "Network device statistic transmit_compressed.",
     "device", "", kSource},
    {"node_network_address_info", MetricType::gauge, "node network address by device", "device,address,netmask,scope",
     "", "rtnetlink RTM_GETADDR"},
};
// What is declared: the alias comes with a flag.
constexpr auto kDeclared = [] {
  auto all = std::to_array(kMetrics);
  for (auto& m : all)
    if (m.labels == "device") m.labels = "device,ifalias";
  return all;
}();
constexpr const MetricDesc& kAddress = kMetrics[std::size(kMetrics) - 1];

consteval const MetricDesc* network(std::string_view key) {
  constexpr std::string_view before = "node_network_", after = "_total";
  for (const auto& m : kMetrics)
    if (m.name.size() == before.size() + key.size() + after.size() && m.name.substr(before.size(), key.size()) == key)
      return &m;
  throw "no such statistic";
}

// A metric and the counters it is the sum of.
struct Statistic {
  const MetricDesc* desc;
  std::uint8_t count;
  std::uint8_t fields[4];
  consteval Statistic(std::string_view key, std::initializer_list<std::uint8_t> list)
      : desc(network(key)), count(static_cast<std::uint8_t>(list.size())), fields{} {
    for (std::size_t i = 0; i < list.size(); ++i) fields[i] = list.begin()[i];
  }
};

// The same sums that /proc/net/dev shows (dev_seq_printf_stats, net/core/net-procfs.c).
constexpr Statistic kShort[] = {
    {"receive_packets", {rx_packets}},
    {"transmit_packets", {tx_packets}},
    {"receive_bytes", {rx_bytes}},
    {"transmit_bytes", {tx_bytes}},
    {"receive_errs", {rx_errors}},
    {"transmit_errs", {tx_errors}},
    {"receive_drop", {rx_dropped, rx_missed_errors}},
    {"transmit_drop", {tx_dropped}},
    {"receive_multicast", {multicast}},
    {"transmit_colls", {collisions}},
    {"receive_frame", {rx_frame_errors, rx_length_errors, rx_over_errors, rx_crc_errors}},
    {"receive_fifo", {rx_fifo_errors}},
    {"transmit_carrier", {tx_carrier_errors, tx_aborted_errors, tx_heartbeat_errors, tx_window_errors}},
    {"transmit_fifo", {tx_fifo_errors}},
    {"receive_compressed", {rx_compressed}},
    {"transmit_compressed", {tx_compressed}},
    {"receive_nohandler", {rx_nohandler}},
};
constexpr Statistic kDetailed[] = {
    {"receive_packets", {rx_packets}},
    {"transmit_packets", {tx_packets}},
    {"receive_bytes", {rx_bytes}},
    {"transmit_bytes", {tx_bytes}},
    {"receive_errors", {rx_errors}},
    {"transmit_errors", {tx_errors}},
    {"receive_dropped", {rx_dropped}},
    {"transmit_dropped", {tx_dropped}},
    {"multicast", {multicast}},
    {"collisions", {collisions}},
    {"receive_length_errors", {rx_length_errors}},
    {"receive_over_errors", {rx_over_errors}},
    {"receive_crc_errors", {rx_crc_errors}},
    {"receive_frame_errors", {rx_frame_errors}},
    {"receive_fifo_errors", {rx_fifo_errors}},
    {"receive_missed_errors", {rx_missed_errors}},
    {"transmit_aborted_errors", {tx_aborted_errors}},
    {"transmit_carrier_errors", {tx_carrier_errors}},
    {"transmit_fifo_errors", {tx_fifo_errors}},
    {"transmit_heartbeat_errors", {tx_heartbeat_errors}},
    {"transmit_window_errors", {tx_window_errors}},
    {"receive_compressed", {rx_compressed}},
    {"transmit_compressed", {tx_compressed}},
    {"receive_nohandler", {rx_nohandler}},
};
// The columns of /proc/net/dev.
constexpr std::size_t kColumns = 16;
constexpr const MetricDesc* kShortColumns[kColumns] = {
    network("receive_bytes"),      network("receive_packets"),   network("receive_errs"),
    network("receive_drop"),       network("receive_fifo"),      network("receive_frame"),
    network("receive_compressed"), network("receive_multicast"), network("transmit_bytes"),
    network("transmit_packets"),   network("transmit_errs"),     network("transmit_drop"),
    network("transmit_fifo"),      network("transmit_colls"),    network("transmit_carrier"),
    network("transmit_compressed")};
// What has no other name in detail keeps it, as in node_exporter.
constexpr const MetricDesc* kDetailedColumns[kColumns] = {
    network("receive_bytes"),      network("receive_packets"),   network("receive_errors"),
    network("receive_dropped"),    network("receive_fifo"),      network("receive_frame"),
    network("receive_compressed"), network("receive_multicast"), network("transmit_bytes"),
    network("transmit_packets"),   network("transmit_errors"),   network("transmit_dropped"),
    network("transmit_fifo"),      network("transmit_colls"),    network("transmit_carrier"),
    network("transmit_compressed")};

constexpr std::string_view kInclude = "collector.netdev.device-include", kExclude = "collector.netdev.device-exclude";
constexpr FlagSpec kFlags[] = {
    {kInclude, FlagType::pattern, "", "Regexp of net devices to include (mutually exclusive to device-exclude).",
     "collector.netdev.device-whitelist"},
    {kExclude, FlagType::pattern, "", "Regexp of net devices to exclude (mutually exclusive to device-include).",
     "collector.netdev.device-blacklist"},
    {"collector.netdev.address-info", FlagType::boolean, "false", "Collect address-info for every device"},
    {"collector.netdev.enable-detailed-metrics", FlagType::boolean, "false",
     "Use (incompatible) metric names that provide more detailed stats on Linux"},
    {"collector.netdev.netlink", FlagType::boolean, "true", "Use netlink to gather stats instead of /proc/net/dev."},
    {"collector.netdev.label-ifalias", FlagType::boolean, "false", "Add ifAlias label"},
};

class Netdev final : public Collector {
 public:
  Netdev(const Host& host, const Options& options, NameFilter filter)
      : host_(host),
        filter_(std::move(filter)),
        address_info_(options.flag("collector.netdev.address-info")),
        detailed_(options.flag("collector.netdev.enable-detailed-metrics")),
        netlink_(options.flag("collector.netdev.netlink") && !host.other_network()),
        with_alias_(options.flag("collector.netdev.label-ifalias")),
        file_(host.procfs("net/dev"), KernelFile::Read::short_records) {}

  Result<> collect(BatchWriter& out) override {
    ignored_.start();
    Result<> outcome = netlink_ ? collect_links(out) : collect_file(out);
    if (address_info_ && host_.other_network()) {
      // The counters come of a file of the host's; addresses would be ours.
      if (const auto same = same_network(host_); !same)
        out.problem({Errc::io, 0, "no addresses: " + same.error().text});
    } else if (address_info_) {
      const auto addresses = dump_.addresses();
      if (addresses) {
        for (const auto& a : *addresses)
          if (!filter_.ignored(a.device)) out.set(kAddress, 1, a.device, a.address, Decimal(a.prefix_length), a.scope);
      } else if (outcome) {
        outcome = fail(addresses.error());
      }
    }
    return outcome;
  }

 private:
  // Asks the running kernel even of a fixture tree, as node_exporter does.
  Result<> collect_links(BatchWriter& out) {
    const auto links = dump_.links();
    if (!links) return fail(links.error());
    const auto table = detailed_ ? std::span<const Statistic>(kDetailed) : std::span<const Statistic>(kShort);
    for (const auto& link : *links) {
      if (link.stat_count == 0 || ignored(link.name)) continue;
      for (const auto& statistic : table) {
        std::uint64_t sum = 0;
        bool known = true;
        for (std::size_t i = 0; i < statistic.count; ++i) {
          known = known && statistic.fields[i] < link.stat_count;
          if (known) sum += link.stats[statistic.fields[i]];
        }
        if (known) emit(out, *statistic.desc, sum, link.name, link.alias);
      }
    }
    return {};
  }

  // "  eth0: 64910168 520993 0 0 0 0 0 0 4654312 43451 0 0 0 0 0 0" after two lines of heading
  Result<> collect_file(BatchWriter& out) {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (trim(*text).empty())
      return fail(Errc::malformed, fmt::format("{}: '': two lines of headings expected", file_.path()));
    std::string_view rest = *text;
    std::string copy;  // reading the aliases uses the same buffer
    if (with_alias_) rest = copy = *text;
    take_line(rest);
    take_line(rest);
    Result<> outcome;
    const auto& columns = detailed_ ? kDetailedColumns : kShortColumns;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (trim(line).empty()) continue;
      const auto colon = line.rfind(':');  // names may have one: "eth0:1"
      const auto name = colon == std::string_view::npos ? std::string_view() : trim(line.substr(0, colon));
      std::uint64_t values[kColumns];
      std::size_t count = 0;
      if (!name.empty()) {
        for (auto numbers = line.substr(colon + 1); count < kColumns; ++count) {
          const auto n = take_u64(numbers);
          if (!n || !(numbers.empty() || is_space(numbers.front()))) break;
          values[count] = *n;
        }
      }
      if (count < kColumns) {
        if (outcome)
          outcome =
              fail(Errc::malformed, fmt::format("{}: '{}': 'name:' and 16 numbers expected", file_.path(), trim(line)));
        continue;
      }
      if (ignored(name)) continue;
      const auto alias = with_alias_ ? alias_of(name) : std::string();
      for (std::size_t i = 0; i < kColumns; ++i) emit(out, *columns[i], values[i], name, alias);
    }
    return outcome;
  }

  bool ignored(std::string_view name) {
    const auto* known = ignored_.match(name);
    return known ? *known : *ignored_.insert(name, filter_.ignored(name));
  }
  void emit(BatchWriter& out, const MetricDesc& desc, std::uint64_t value, std::string_view name,
            std::string_view alias) const {
    if (!with_alias_) {
      out.set(desc, static_cast<double>(value), name);
      return;
    }
    const Label labels[] = {{"device", name}, {"ifalias", alias}};
    out.set_labels(desc, static_cast<double>(value), labels);
  }
  [[nodiscard]] std::string alias_of(std::string_view name) const {
    const auto text = read_kernel_file(host_.sysfs("class/net/" + std::string(name) + "/ifalias"));
    return text ? std::string(trim(*text)) : std::string();
  }

  const Host& host_;
  NameFilter filter_;
  bool address_info_, detailed_, netlink_, with_alias_;
  KernelFile file_;
  LinkDump dump_;
  RowMemo<bool> ignored_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::exclusive(options, kExclude, kInclude);
  if (!filter) return fail(filter.error());
  return std::make_unique<Netdev>(host, options, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_netdev;
const CollectorInfo collector_netdev{kDeclared, kFlags, make};

}  // namespace vitald
