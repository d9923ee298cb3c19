// SPDX-License-Identifier: Apache-2.0
#include "sensors/net/links.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace vitald {
namespace {

// Interfaces that come and go interrupt a dump; one that is interrupted again and again is taken as it is.
constexpr int kTries = 3;

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

void take_stats(Link& link, std::string_view payload) {
  link.stat_count = std::min<std::size_t>(payload.size() / sizeof(std::uint64_t), kLinkStats);
  std::memcpy(link.stats, payload.data(), link.stat_count * sizeof(std::uint64_t));
}

}  // namespace

Result<> LinkDump::dump(std::uint16_t type, std::string_view body) {
  Result<> done;
  for (int i = 0; i < kTries; ++i) {
    addresses_.clear();
    if (type == RTM_GETLINK) link_count_ = 0;
    stats_seen_ = 0;
    stats_match_ = true;
    done = netlink_.dump(type, body, [this](std::uint16_t answer, std::string_view payload) {
      switch (answer) {
        case RTM_NEWLINK: add_link(payload); break;
        case RTM_NEWSTATS: add_stats(payload); break;
        case RTM_NEWADDR: add_address(payload); break;
        default: break;
      }
    });
    if (!done || !netlink_.interrupted()) break;
  }
  return done;
}

Result<std::span<const Link>> LinkDump::links() {
  if (watch_.changed() || !listed_ || !dump_stats()) {
    const auto done = dump_links();
    listed_ = done.has_value();
    if (!done) return fail(done.error());
  }
  return std::span<const Link>(links_).first(link_count_);
}

Result<> LinkDump::dump_links() {
  // No virtual functions (RTEXT_FILTER_VF asks for them) and not the ~70 SNMP counters of IPv6, which the
  // kernel would add up over all CPUs for each interface.
  struct {
    ifinfomsg header{};
    rtattr attribute{RTA_LENGTH(sizeof(std::uint32_t)), IFLA_EXT_MASK};
    std::uint32_t mask = RTEXT_FILTER_SKIP_STATS;
  } request;
  return dump(RTM_GETLINK, bytes_of(request));
}

// False when the links are others than those known, or the kernel is older than 4.7.
bool LinkDump::dump_stats() {
  if_stats_msg request{};
  request.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
  return dump(RTM_GETSTATS, bytes_of(request)) && stats_match_ && stats_seen_ == link_count_ && !netlink_.interrupted();
}

void LinkDump::add_link(std::string_view payload) {
  const auto header = take_struct<ifinfomsg>(payload);
  if (!header) return;
  if (link_count_ == links_.size()) links_.emplace_back();
  Link& link = links_[link_count_];
  link.index = static_cast<unsigned>(header->ifi_index);
  link.name.clear();
  link.alias.clear();
  link.stat_count = 0;
  while (const auto attribute = take_attribute(payload)) {
    if (attribute->type == IFLA_IFNAME) link.name = attribute->text();
    else if (attribute->type == IFLA_IFALIAS) link.alias = attribute->text();
    else if (attribute->type == IFLA_STATS64) take_stats(link, attribute->payload);
  }
  if (!link.name.empty()) ++link_count_;
}

void LinkDump::add_stats(std::string_view payload) {
  const auto header = take_struct<if_stats_msg>(payload);
  // Both dumps come in the same order.
  if (!header || stats_seen_ == link_count_ || links_[stats_seen_].index != header->ifindex) {
    stats_match_ = false;
    return;
  }
  Link& link = links_[stats_seen_++];
  while (const auto attribute = take_attribute(payload))
    if (attribute->type == IFLA_STATS_LINK_64) take_stats(link, attribute->payload);
}

Result<std::vector<LinkAddress>> LinkDump::addresses() {
  if (auto done = dump(RTM_GETADDR, bytes_of(ifaddrmsg{})); !done) return fail(done.error());
  return std::move(addresses_);
}

void LinkDump::add_address(std::string_view payload) {
  const auto header = take_struct<ifaddrmsg>(payload);
  if (!header) return;
  std::string_view own, other;  // on a point-to-point link IFA_ADDRESS is the other end's
  while (const auto attribute = take_attribute(payload)) {
    if (attribute->type == IFA_LOCAL) own = attribute->payload;
    else if (attribute->type == IFA_ADDRESS) other = attribute->payload;
  }
  const auto bytes = own.empty() ? other : own;
  char buf[16], text[INET6_ADDRSTRLEN];
  const auto device = netlink_.interface_name(static_cast<int>(header->ifa_index), buf);
  if (bytes.size() != (header->ifa_family == AF_INET ? 4U : 16U) || device.empty() ||
      !inet_ntop(header->ifa_family, bytes.data(), text, sizeof text))
    return;
  const auto* raw = reinterpret_cast<const unsigned char*>(bytes.data());
  addresses_.push_back({std::string(device), text, header->ifa_prefixlen, address_scope({raw, bytes.size()})});
}

std::string_view address_scope(std::span<const unsigned char> a) {
  if (a.size() == 4) {
    const bool loopback = a[0] == 127, link_local = a[0] == 169 && a[1] == 254;
    const bool local_multicast = a[0] == 224 && a[1] == 0 && a[2] == 0;
    if (loopback || link_local || local_multicast) return "link-local";
    const auto all = [&](unsigned char byte) { return std::ranges::all_of(a, [=](auto b) { return b == byte; }); };
    return all(0) || all(255) || (a[0] & 0xF0) == 224 ? "" : "global";
  }
  if (a.size() != 16) return "";
  const bool zeros = std::all_of(a.begin(), a.end() - 1, [](auto b) { return b == 0; });
  if (zeros) return a[15] == 1 ? "link-local" : a[15] == 0 ? "" : "global";
  if (a[0] == 0xFE && (a[1] & 0xC0) == 0x80) return "link-local";
  if (a[0] != 0xFF) return "global";
  switch (a[1] & 0x0F) {  // multicast
    case 1: return "interface-local";
    case 2: return "link-local";
    default: return "";
  }
}

}  // namespace vitald
