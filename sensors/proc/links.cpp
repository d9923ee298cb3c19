// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/links.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

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

}  // namespace

Result<> LinkDump::dump(std::uint16_t type, std::string_view body) {
  Result<> done;
  for (int i = 0; i < kTries; ++i) {
    link_count_ = 0;
    addresses_.clear();
    done = netlink_.dump(type, body, [this](std::uint16_t answer, std::string_view payload) {
      if (answer == RTM_NEWLINK) add_link(payload);
      else if (answer == RTM_NEWADDR) add_address(payload);
    });
    if (!done || !netlink_.interrupted()) break;
  }
  return done;
}

Result<std::span<const Link>> LinkDump::links() {
  // No virtual functions (RTEXT_FILTER_VF asks for them) and not the ~70 SNMP counters of IPv6, which the
  // kernel would add up over all CPUs for each interface.
  struct {
    ifinfomsg header{};
    rtattr attribute{RTA_LENGTH(sizeof(std::uint32_t)), IFLA_EXT_MASK};
    std::uint32_t mask = RTEXT_FILTER_SKIP_STATS;
  } request;
  if (auto done = dump(RTM_GETLINK, bytes_of(request)); !done) return fail(done.error());
  return std::span<const Link>(links_).first(link_count_);
}

void LinkDump::add_link(std::string_view payload) {
  if (!take_struct<ifinfomsg>(payload)) return;
  if (link_count_ == links_.size()) links_.emplace_back();
  Link& link = links_[link_count_];
  link.name.clear();
  link.alias.clear();
  link.stat_count = 0;
  while (const auto attribute = take_attribute(payload)) {
    switch (attribute->type) {
      case IFLA_IFNAME: link.name = attribute->text(); break;
      case IFLA_IFALIAS: link.alias = attribute->text(); break;
      case IFLA_STATS64:
        link.stat_count = std::min<std::size_t>(attribute->payload.size() / sizeof(std::uint64_t), kLinkStats);
        std::memcpy(link.stats, attribute->payload.data(), link.stat_count * sizeof(std::uint64_t));
        break;
      default: break;
    }
  }
  if (!link.name.empty()) ++link_count_;
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
