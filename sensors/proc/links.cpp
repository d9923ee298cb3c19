// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/links.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vitald {
namespace {

// The kernel makes answers of at most 32 KiB (netlink_dump, net/netlink/af_netlink.c), and only as large as
// the room that it once saw offered.
constexpr std::size_t kRoom = std::size_t{64} << 10;
// Interfaces coming and going interrupt a dump, which then may miss one or have it twice.
constexpr int kTries = 3;

// Calls f(header, payload) for each message in the answer.
template <class Header, class F>
void each_message(const char* at, std::size_t size, std::uint16_t type, F&& f) {
  nlmsghdr h;
  while (size >= sizeof h) {
    std::memcpy(&h, at, sizeof h);
    if (h.nlmsg_len < sizeof h || h.nlmsg_len > size) return;
    if (h.nlmsg_type == type && h.nlmsg_len >= NLMSG_LENGTH(sizeof(Header))) {
      Header header;
      std::memcpy(&header, at + NLMSG_HDRLEN, sizeof header);
      constexpr std::size_t skip = NLMSG_SPACE(sizeof(Header));
      f(header, std::string_view(at, h.nlmsg_len).substr(std::min<std::size_t>(skip, h.nlmsg_len)));
    }
    const std::size_t step = std::min<std::size_t>(NLMSG_ALIGN(h.nlmsg_len), size);
    at += step;
    size -= step;
  }
}

template <class F>
void each_attribute(std::string_view rest, F&& f) {
  rtattr a;
  while (rest.size() >= sizeof a) {
    std::memcpy(&a, rest.data(), sizeof a);
    if (a.rta_len < sizeof a || a.rta_len > rest.size()) return;
    f(a.rta_type & NLA_TYPE_MASK, rest.substr(sizeof a, a.rta_len - sizeof a));
    rest.remove_prefix(std::min<std::size_t>(RTA_ALIGN(a.rta_len), rest.size()));
  }
}

std::string_view c_string(std::string_view payload) { return payload.substr(0, payload.find('\0')); }

}  // namespace

std::uint64_t Link::stat(std::size_t i) const {
  std::uint64_t n;
  std::memcpy(&n, stats + i * sizeof n, sizeof n);
  return n;
}

Result<> LinkDump::request(std::uint16_t type) {
  if (!socket_) {
    socket_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket_) return fail(from_errno("rtnetlink: socket", errno));
    // Since 4.20: the kernel then reads the request's fields instead of ignoring most of them.
    const int on = 1;
    setsockopt(socket_.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    const timeval limit{2, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  struct {
    nlmsghdr header;
    union {
      ifinfomsg link;
      ifaddrmsg address;
    };
    rtattr attribute;
    std::uint32_t mask;
  } message{};
  const bool links = type == RTM_GETLINK;
  message.header.nlmsg_len = links ? sizeof message : NLMSG_LENGTH(sizeof(ifaddrmsg));
  message.header.nlmsg_type = type;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.header.nlmsg_seq = ++sequence_;
  // No virtual functions (RTEXT_FILTER_VF is what asks for them) and not the ~70 SNMP counters of IPv6,
  // which the kernel would add up over all CPUs for each interface.
  message.attribute = {RTA_LENGTH(sizeof message.mask), IFLA_EXT_MASK};
  message.mask = RTEXT_FILTER_SKIP_STATS;
  if (send(socket_.get(), &message, message.header.nlmsg_len, 0) < 0) return fail(from_errno("rtnetlink: send", errno));
  return {};
}

Result<LinkDump::More> LinkDump::receive() {
  if (answer_.size() < size_ + kRoom) answer_.resize(size_ + kRoom);
  char* const at = answer_.data() + size_;
  ssize_t n;
  do n = recv(socket_.get(), at, kRoom, MSG_TRUNC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail(from_errno("rtnetlink: recv", errno == EAGAIN ? ETIMEDOUT : errno));
  auto left = static_cast<std::size_t>(n);
  if (left > kRoom) return fail(Errc::io, "rtnetlink: an answer longer than 64 KiB was cut");

  More more = More::yes;
  std::size_t offset = 0;
  nlmsghdr h;
  while (left - offset >= sizeof h) {
    std::memcpy(&h, at + offset, sizeof h);
    if (h.nlmsg_len < sizeof h || h.nlmsg_len > left - offset)
      return fail(Errc::malformed, "rtnetlink: a message longer than its packet");
    if (h.nlmsg_seq != sequence_) return More::yes;  // left over from a request that was given up
    if ((h.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted_ = true;
    if (h.nlmsg_type == NLMSG_ERROR || h.nlmsg_type == NLMSG_DONE) {
      int code = 0;
      if (h.nlmsg_len >= NLMSG_LENGTH(sizeof code)) std::memcpy(&code, at + offset + NLMSG_HDRLEN, sizeof code);
      if (code < 0) return fail(from_errno("rtnetlink: dump", -code));
      more = More::no;
      break;
    }
    offset += std::min<std::size_t>(NLMSG_ALIGN(h.nlmsg_len), left - offset);
  }
  size_ += offset;
  return more;
}

Result<> LinkDump::dump(std::uint16_t type) {
  Result<> outcome;
  for (int i = 0; i < kTries; ++i) {
    size_ = 0;
    interrupted_ = false;
    outcome = request(type);
    for (More more = More::yes; outcome && more == More::yes;) {
      const auto got = receive();
      if (got) more = *got;
      else outcome = fail(got.error());
    }
    if (!outcome) socket_.reset();  // whatever is still on its way goes with it
    else if (!interrupted_) break;
  }
  return outcome;
}

Result<std::span<const Link>> LinkDump::links() {
  if (auto done = dump(RTM_GETLINK); !done) return fail(done.error());
  links_.clear();
  each_message<ifinfomsg>(answer_.data(), size_, RTM_NEWLINK, [&](const ifinfomsg&, std::string_view payload) {
    Link link;
    each_attribute(payload, [&](int type, std::string_view value) {
      if (type == IFLA_IFNAME) link.name = c_string(value);
      else if (type == IFLA_IFALIAS) link.alias = c_string(value);
      else if (type == IFLA_STATS64) {
        link.stats = value.data();
        link.stat_count = std::min<std::size_t>(value.size() / sizeof(std::uint64_t), kLinkStats);
      }
    });
    if (!link.name.empty()) links_.push_back(link);
  });
  return std::span<const Link>(links_);
}

Result<std::vector<LinkAddress>> LinkDump::addresses() {
  if (auto done = dump(RTM_GETADDR); !done) return fail(done.error());
  std::vector<LinkAddress> addresses;
  each_message<ifaddrmsg>(answer_.data(), size_, RTM_NEWADDR, [&](const ifaddrmsg& m, std::string_view payload) {
    std::string_view own, other;  // on a point-to-point link IFA_ADDRESS is the other end's
    each_attribute(payload, [&](int type, std::string_view value) {
      if (type == IFA_LOCAL) own = value;
      else if (type == IFA_ADDRESS) other = value;
    });
    const auto bytes = own.empty() ? other : own;
    char device[IF_NAMESIZE], text[INET6_ADDRSTRLEN];
    if (bytes.size() != (m.ifa_family == AF_INET ? 4U : 16U) || !if_indextoname(m.ifa_index, device) ||
        !inet_ntop(m.ifa_family, bytes.data(), text, sizeof text))
      return;
    const auto* raw = reinterpret_cast<const unsigned char*>(bytes.data());
    addresses.push_back({device, text, m.ifa_prefixlen, address_scope({raw, bytes.size()})});
  });
  return addresses;
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
