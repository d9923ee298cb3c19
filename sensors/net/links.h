// SPDX-License-Identifier: Apache-2.0
// The network interfaces of this process' network namespace by rtnetlink: no file of /sys/class/net is read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "sensors/read/netlink.h"

namespace vitald {

// The members of struct rtnl_link_stats64, all 64 bits wide, in its order.
enum LinkStat : std::uint8_t {
  rx_packets,
  tx_packets,
  rx_bytes,
  tx_bytes,
  rx_errors,
  tx_errors,
  rx_dropped,
  tx_dropped,
  multicast,
  collisions,
  rx_length_errors,
  rx_over_errors,
  rx_crc_errors,
  rx_frame_errors,
  rx_fifo_errors,
  rx_missed_errors,
  tx_aborted_errors,
  tx_carrier_errors,
  tx_fifo_errors,
  tx_heartbeat_errors,
  tx_window_errors,
  rx_compressed,
  tx_compressed,
  rx_nohandler,
  kLinkStats
};

struct Link {
  unsigned index = 0;
  std::string name, alias;
  std::uint64_t stats[kLinkStats] = {};
  std::size_t stat_count = 0;  // how many of them this kernel has
};

struct LinkAddress {
  std::string device, address;  // "eth0", "fe80::1"
  unsigned prefix_length = 0;
  std::string_view scope;  // link-local, interface-local, global or empty; see address_scope()
};

// Not thread-safe. A full dump of the links costs the kernel five times as much as one of their counters
// alone, which has no names: so names are asked for only when the kernel has announced a change of any link.
class LinkDump {
 public:
  // Valid until the next call.
  Result<std::span<const Link>> links();
  Result<std::vector<LinkAddress>> addresses();

 private:
  Result<> dump(std::uint16_t type, std::string_view body);
  Result<> dump_links();
  bool dump_stats();
  void add_link(std::string_view payload);
  void add_stats(std::string_view payload);
  void add_address(std::string_view payload);

  Netlink netlink_{NETLINK_ROUTE};
  LinkWatch watch_;
  std::vector<Link> links_;  // of which the first link_count_ are in use: their strings keep their memory
  std::size_t link_count_ = 0;
  bool listed_ = false;
  std::size_t stats_seen_ = 0;
  bool stats_match_ = false;
  std::vector<LinkAddress> addresses_;
};

// What node_exporter calls the scope of an address of 4 or 16 bytes: loopback counts as link-local.
std::string_view address_scope(std::span<const unsigned char> address);

}  // namespace vitald
