// SPDX-License-Identifier: Apache-2.0
// How many neighbours each interface knows, by rtnetlink or from /proc/net/arp.
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <algorithm>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/netlink.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_arp_entries", gauge, "ARP entries by device", "device", "", "rtnetlink, /proc/net/arp"},
};
constexpr const MetricDesc& kEntries = row(kMetrics, "node_arp_entries");
constexpr FlagSpec kFlags[] = {
    {"collector.arp.device-include", FlagType::pattern, "",
     "Regexp of arp devices to include (mutually exclusive to device-exclude)."},
    {"collector.arp.device-exclude", FlagType::pattern, "",
     "Regexp of arp devices to exclude (mutually exclusive to device-include)."},
    {"collector.arp.netlink", FlagType::boolean, "true", "Use netlink to gather stats instead of /proc/net/arp."},
};

class Arp final : public Collector {
 public:
  Arp(const Host& host, NameFilter filter, bool netlink)
      : filter_(std::move(filter)), netlink_(netlink), file_(host.procfs("net/arp"), KernelFile::Read::short_records) {}

  Result<> collect(BatchWriter& out) override {
    for (auto& device : devices_) device.entries = 0;
    LeftOut left_out;
    if (auto done = netlink_ ? ask_kernel() : read_file(left_out); !done) return done;
    std::erase_if(devices_, [](const Device& d) { return d.entries == 0; });
    for (const auto& device : devices_)
      if (!filter_.ignored(device.name)) out.set(kEntries, device.entries, device.name);
    return left_out.outcome();
  }

 private:
  struct Device {
    std::string name;
    std::uint32_t entries = 0;
  };
  struct Index {
    int index = 0;
    std::uint32_t entries = 0;
  };

  void add(std::string_view name, std::uint32_t entries) {
    auto at = std::ranges::lower_bound(devices_, name, {}, [](const Device& d) { return std::string_view(d.name); });
    if (at == devices_.end() || at->name != name) at = devices_.insert(at, Device{std::string(name), 0});
    at->entries += entries;
  }

  Result<> ask_kernel() {
    indexes_.clear();
    ndmsg ask{};
    ask.ndm_family = AF_INET;
    auto done = rtnetlink_.dump(RTM_GETNEIGH, {reinterpret_cast<const char*>(&ask), sizeof ask},
                                [this](std::uint16_t, std::string_view message) { count(message); });
    if (!done) return done;
    for (const auto& index : indexes_) {
      char buf[16];
      const auto name = rtnetlink_.interface_name(index.index, buf);
      if (!name.empty()) add(name, index.entries);
    }
    return {};
  }
  void count(std::string_view message) {
    const auto neighbour = take_struct<ndmsg>(message);
    // /proc/net/arp leaves these out too (arp_seq_start, net/ipv4/arp.c).
    if (!neighbour || (neighbour->ndm_state & NUD_NOARP) != 0) return;
    auto at = std::ranges::find(indexes_, neighbour->ndm_ifindex, &Index::index);
    if (at == indexes_.end()) at = indexes_.insert(at, Index{neighbour->ndm_ifindex, 0});
    ++at->entries;
  }

  // "10.0.0.1    0x1         0x2         02:00:5e:10:20:30     *        eth0"
  Result<> read_file(LeftOut& left_out) {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "a line of names");
    std::string_view rest = *text;
    take_line(rest);
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      for (int skipped = 0; skipped < 5; ++skipped) take_word(words);
      const auto device = take_word(words);
      if (device.empty()) left_out.add(malformed(file_.path(), line, "six columns"));
      else add(device, 1);
    }
    return {};
  }

  NameFilter filter_;
  bool netlink_;
  KernelFile file_;
  Netlink rtnetlink_{NETLINK_ROUTE};
  std::vector<Index> indexes_;
  std::vector<Device> devices_;  // sorted
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::exclusive(options, "collector.arp.device-exclude", "collector.arp.device-include");
  if (!filter) return fail(filter.error());
  return std::make_unique<Arp>(host, std::move(*filter), options.flag("collector.arp.netlink") && host.view().network);
}

}  // namespace

extern const CollectorInfo collector_arp;
const CollectorInfo collector_arp{kMetrics, kFlags, make};

}  // namespace vitald
