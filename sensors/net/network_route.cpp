// SPDX-License-Identifier: Apache-2.0
// Routes by interface, by rtnetlink.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/netlink.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_network_route_info", gauge, "network routing table information", "device,src,dest,gw,priority,proto,weight",
     "", "rtnetlink RTM_GETROUTE"},
    {"node_network_routes", gauge, "network routes by interface", "device", "", "rtnetlink RTM_GETROUTE"},
};
constexpr const MetricDesc& kRouteInfo = row(kMetrics, "node_network_route_info");
constexpr const MetricDesc& kRoutes = row(kMetrics, "node_network_routes");

struct Protocol {
  unsigned char number;
  std::string_view name;
};
// include/uapi/linux/rtnetlink.h, RTPROT_*
constexpr Protocol kProtocols[] = {
    {0, "unspec"},   {1, "redirect"}, {2, "kernel"}, {3, "boot"},      {4, "static"}, {8, "gated"}, {9, "ra"},
    {10, "mrt"},     {11, "zebra"},   {12, "bird"},  {13, "dnrouted"}, {14, "xorp"},  {15, "ntk"},  {16, "dhcp"},
    {17, "mrouted"}, {42, "babel"},   {186, "bgp"},  {187, "isis"},    {188, "ospf"}, {189, "rip"}, {192, "eigrp"}};

std::string_view protocol_name(unsigned char number) {
  const auto at = std::ranges::find(kProtocols, number, &Protocol::number);
  return at == std::end(kProtocols) ? "unknown" : at->name;
}

// RTA_VIA (struct rtvia): the family of a next hop that is not the route's, and its address.
std::string_view via_address(std::string_view payload) {
  return payload.substr(std::min(sizeof(rtvia), payload.size()));
}

std::string address_text(std::string_view bytes) {
  char buf[INET6_ADDRSTRLEN];
  const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  if (bytes.size() != 4 && bytes.size() != 16) return {};
  const char* text = ::inet_ntop(family, bytes.data(), buf, sizeof buf);
  return text ? text : "";
}

class NetworkRoute final : public Collector {
 public:
  explicit NetworkRoute(const Host&) {}

  Result<> collect(BatchWriter& out) override {
    devices_.clear();
    seen_.clear();
    rtmsg ask{};
    auto done = rtnetlink_.dump(RTM_GETROUTE, {reinterpret_cast<const char*>(&ask), sizeof ask},
                                [&](std::uint16_t, std::string_view message) { add(message, out); });
    if (!done) return done;
    std::ranges::sort(devices_);
    for (std::size_t i = 0; i < devices_.size();) {
      const auto same = std::ranges::upper_bound(devices_, devices_[i]) - devices_.begin();
      out.set(kRoutes, static_cast<double>(static_cast<std::size_t>(same) - i), devices_[i]);
      i = static_cast<std::size_t>(same);
    }
    return {};
  }

 private:
  void add(std::string_view message, BatchWriter& out) {
    const auto route = take_struct<rtmsg>(message);
    if (!route || route->rtm_type != RTN_UNICAST) return;
    std::string_view destination, source, gateway, hops;
    std::uint64_t priority = 0;
    int interface = 0;
    while (auto a = take_attribute(message)) switch (a->type) {
        case RTA_DST: destination = a->payload; break;
        case RTA_PREFSRC: source = a->payload; break;
        case RTA_GATEWAY: gateway = a->payload; break;
        case RTA_VIA: gateway = via_address(a->payload); break;
        case RTA_MULTIPATH: hops = a->payload; break;
        case RTA_PRIORITY: priority = a->number(); break;
        case RTA_OIF: interface = static_cast<int>(a->number()); break;
        default: break;
      }
    const std::string to =
        route->rtm_dst_len == 0 ? "default" : fmt::format("{}/{}", address_text(destination), route->rtm_dst_len);
    const auto emit = [&](int index, std::string_view via, std::string_view weight) {
      char buf[16];
      std::string device(rtnetlink_.interface_name(index, buf));
      const auto from = address_text(source), gate = address_text(via);
      const Decimal metric(priority);
      const std::string_view labels[] = {device, from, to, gate, metric, protocol_name(route->rtm_protocol), weight};
      // Each table (of a VRF, of a routing policy) may have the same route, and none of the labels says which it is of.
      if (seen_.insert(fmt::format("{}", fmt::join(labels, "\n"))).second) out.set_values(kRouteInfo, 1, labels);
      devices_.push_back(std::move(device));
    };
    if (hops.empty()) {
      emit(interface, gateway, "");
      return;
    }
    // struct rtnexthop and its attributes, one after the other.
    while (hops.size() >= sizeof(rtnexthop)) {
      rtnexthop hop;
      std::memcpy(&hop, hops.data(), sizeof hop);
      if (hop.rtnh_len < sizeof hop || hop.rtnh_len > hops.size()) break;
      std::string_view attributes = hops.substr(sizeof hop, hop.rtnh_len - sizeof hop), via;
      while (auto a = take_attribute(attributes)) {
        if (a->type == RTA_GATEWAY) via = a->payload;
        if (a->type == RTA_VIA) via = via_address(a->payload);
      }
      emit(hop.rtnh_ifindex, via, Decimal(hop.rtnh_hops + 1));
      hops.remove_prefix(std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), hops.size()));
    }
  }

  Netlink rtnetlink_{NETLINK_ROUTE};
  std::vector<std::string> devices_;      // of every route
  std::unordered_set<std::string> seen_;  // labels of this run
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (auto same = same_network(host); !same) return fail(same.error());
  return std::make_unique<NetworkRoute>(host);
}

}  // namespace

extern const CollectorInfo collector_network_route;
const CollectorInfo collector_network_route{kMetrics, {}, make};

}  // namespace vitald
