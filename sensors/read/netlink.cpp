// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/netlink.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/os/per_thread.h"

namespace vitald {
namespace {

// The kernel fills at most 32 KiB per message of a dump (net/netlink/af_netlink.c netlink_dump).
constexpr std::size_t kBufferBytes = 32 * 1024;
constexpr int kReceiveTimeoutSeconds = 5;

}  // namespace

std::uint64_t NetlinkAttribute::number() const {
  std::uint8_t n8{};
  std::uint16_t n16{};
  std::uint32_t n32{};
  std::uint64_t n64{};
  switch (payload.size()) {
    case 1: return std::memcpy(&n8, payload.data(), 1), n8;
    case 2: return std::memcpy(&n16, payload.data(), 2), n16;
    case 4: return std::memcpy(&n32, payload.data(), 4), n32;
    case 8: return std::memcpy(&n64, payload.data(), 8), n64;
    default: return 0;
  }
}

std::optional<NetlinkAttribute> take_attribute(std::string_view& rest) {
  nlattr header;
  if (rest.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, rest.data(), sizeof header);
  if (header.nla_len < sizeof header || header.nla_len > rest.size()) return std::nullopt;
  const NetlinkAttribute attribute{static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
                                   rest.substr(NLA_HDRLEN, header.nla_len - NLA_HDRLEN)};
  rest.remove_prefix(std::min<std::size_t>(NLA_ALIGN(header.nla_len), rest.size()));
  return attribute;
}

Result<> same_network(const Host& host) {
  if (!host.other_network()) return {};
  return fail(Errc::absent,
              "the kernel would answer of our own network namespace, which is not the host's: share it "
              "(hostNetwork: true, --network=host)");
}

Result<> Netlink::open() {
  fd_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol_));
  if (!fd_) return fail(from_errno("socket(AF_NETLINK)", errno));
  const timeval timeout{kReceiveTimeoutSeconds, 0};
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0)
    return fail(from_errno("setsockopt(SO_RCVTIMEO)", errno));
  return {};
}

Result<> Netlink::request(std::uint16_t type, std::uint16_t flags, std::string_view body, const Each& each) {
  if (!fd_)
    if (auto opened = open(); !opened) return opened;
  interrupted_ = false;
  const nlmsghdr header{static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size()), type,
                        static_cast<std::uint16_t>(NLM_F_REQUEST | flags), ++sequence_, 0};
  message_.assign(reinterpret_cast<const char*>(&header), sizeof header);
  message_.append(body);
  if (::send(fd_.get(), message_.data(), message_.size(), 0) < 0) {
    const int err = errno;
    fd_.reset();
    return fail(from_errno("netlink request", err));
  }
  auto done = receive(header.nlmsg_seq, each);
  if (!done) fd_.reset();  // whatever is still queued belongs to nobody
  return done;
}

Result<> Netlink::receive(std::uint32_t sequence, const Each& each) {
  // Made by those who ask: what is thread_local, every thread has zeros for.
  struct Buffer {
    alignas(nlmsghdr) char bytes[kBufferBytes];
  };
  static const PerThread<Buffer> kBuffers;
  auto& buf = kBuffers.mine().bytes;
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), buf, sizeof buf, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(from_errno("netlink answer", errno == EAGAIN ? ETIMEDOUT : errno));
    std::string_view rest(buf, static_cast<std::size_t>(n));
    nlmsghdr header;
    while (rest.size() >= sizeof header) {
      std::memcpy(&header, rest.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
      std::string_view payload = rest.substr(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
      rest.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
      if (header.nlmsg_seq != sequence) continue;
      if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted_ = true;
      if (header.nlmsg_type == NLMSG_DONE) return {};
      if (header.nlmsg_type == NLMSG_ERROR) {
        const auto error = take_struct<nlmsgerr>(payload);
        if (error && error->error == 0) return {};
        // What is no negative errno (MAX_ERRNO, include/linux/err.h) did not come from the kernel.
        const bool known = error && error->error < 0 && error->error >= -4095;
        return fail(from_errno("netlink answer", known ? -error->error : EPROTO));
      }
      each(header.nlmsg_type, payload);
      if ((header.nlmsg_flags & NLM_F_MULTI) == 0) return {};
    }
  }
}

std::string_view Netlink::interface_name(int index, std::span<char, 16> buf) const {
  static_assert(IFNAMSIZ == 16);
  ifreq request{};
  request.ifr_ifindex = index;
  if (::ioctl(fd_.get(), SIOCGIFNAME, &request) != 0) return {};
  std::ranges::copy(request.ifr_name, buf.begin());
  return {buf.data(), ::strnlen(buf.data(), buf.size())};
}

// Joins the kernel's announcements of links on first use; later: whether there were any. What they say does
// not matter, so a queue that is too small for all of them (ENOBUFS) is an answer too.
bool LinkWatch::changed() {
  if (!fd_) {
    fd_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    const int few_bytes = 4096;
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &few_bytes, sizeof few_bytes);
    // Not by NETLINK_ADD_MEMBERSHIP: a socket without a port of its own counts as the sender of what the
    // kernel announces, and is left out (do_one_broadcast, net/netlink/af_netlink.c).
    sockaddr_nl all_links{};
    all_links.nl_family = AF_NETLINK;
    all_links.nl_groups = RTMGRP_LINK;
    if (bind(fd_.get(), reinterpret_cast<const sockaddr*>(&all_links), sizeof all_links) != 0) fd_.reset();
    return true;
  }
  bool any = false;
  for (;;) {
    char ignored[16];  // a longer message is cut and gone
    if (recv(fd_.get(), ignored, sizeof ignored, 0) < 0) {
      if (errno == EAGAIN) return any;
      if (errno != EINTR && errno != ENOBUFS) fd_.reset();
      if (!fd_) return true;
    }
    any = true;
  }
}

}  // namespace vitald
