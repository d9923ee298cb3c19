// SPDX-License-Identifier: Apache-2.0
#include "sensors/sys/thermal_news.h"

#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/thermal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "sensors/read/netlink.h"

namespace vitald {
namespace {

void append(std::string& body, std::uint16_t type, std::string_view payload) {
  const nlattr a{static_cast<std::uint16_t>(NLA_HDRLEN + payload.size()), type};
  body.append(reinterpret_cast<const char*>(&a), sizeof a).append(payload);
  body.resize(NLMSG_ALIGN(body.size()));
}

// Number of the group with our news; 0: there is none.
Result<std::uint32_t> event_group() {
  Netlink genetlink(NETLINK_GENERIC);
  const genlmsghdr header{CTRL_CMD_GETFAMILY, 1, 0};
  std::string body(reinterpret_cast<const char*>(&header), sizeof header);
  append(body, CTRL_ATTR_FAMILY_NAME, {THERMAL_GENL_FAMILY_NAME, sizeof THERMAL_GENL_FAMILY_NAME});
  std::uint32_t group = 0;
  auto found = genetlink.request(GENL_ID_CTRL, 0, body, [&](std::uint16_t, std::string_view message) {
    if (!take_struct<genlmsghdr>(message)) return;
    while (auto a = take_attribute(message)) {
      if (a->type != CTRL_ATTR_MCAST_GROUPS) continue;
      for (std::string_view groups = a->payload; auto g = take_attribute(groups);) {
        std::string_view name;
        std::uint32_t id = 0;
        for (std::string_view of = g->payload; auto b = take_attribute(of);) {
          if (b->type == CTRL_ATTR_MCAST_GRP_NAME) name = b->text();
          if (b->type == CTRL_ATTR_MCAST_GRP_ID) id = static_cast<std::uint32_t>(b->number());
        }
        if (name == THERMAL_GENL_EVENT_GROUP_NAME) group = id;
      }
    }
  });
  if (!found && found.error().kind != Errc::gone && found.error().kind != Errc::absent) return fail(found.error());
  if (group == 0)
    return fail(Errc::absent,
                "thermal: the kernel has no such netlink family; it takes Linux 5.9 with CONFIG_THERMAL_NETLINK");
  return group;
}

// Cooling devices change their state many times a second: the kernel leaves out what is no news to us.
Result<> leave_out_the_rest(int fd) {
  constexpr std::uint32_t kCommand = NLMSG_HDRLEN + offsetof(genlmsghdr, cmd);
  constexpr std::array kWanted = {THERMAL_GENL_EVENT_TZ_DISABLE, THERMAL_GENL_EVENT_TZ_ENABLE,
                                  THERMAL_GENL_EVENT_TZ_TRIP_UP, THERMAL_GENL_EVENT_TZ_TRIP_DOWN};
  std::array<sock_filter, kWanted.size() + 3> code{};
  code[0] = BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kCommand);
  for (std::size_t i = 0; i < kWanted.size(); ++i)
    code[i + 1] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(kWanted[i]),
                           static_cast<std::uint8_t>(kWanted.size() - i), 0);
  code[kWanted.size() + 1] = BPF_STMT(BPF_RET | BPF_K, 0);
  code[kWanted.size() + 2] = BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return fail(from_errno("thermal: a filter on its netlink socket", errno));
  return {};
}

}  // namespace

std::optional<ThermalNews> thermal_news_of(std::string_view message) {
  const auto header = take_struct<genlmsghdr>(message);
  if (!header) return std::nullopt;
  ThermalNews news;
  switch (header->cmd) {
    case THERMAL_GENL_EVENT_TZ_TRIP_UP: news.what = kThermalNews[0]; break;
    case THERMAL_GENL_EVENT_TZ_TRIP_DOWN: news.what = kThermalNews[1]; break;
    case THERMAL_GENL_EVENT_TZ_DISABLE: news.what = kThermalNews[2]; break;
    case THERMAL_GENL_EVENT_TZ_ENABLE: news.what = kThermalNews[3]; break;
    default: return std::nullopt;
  }
  bool has_zone = false;
  while (auto a = take_attribute(message)) {
    if (a->payload.size() != sizeof(std::uint32_t)) continue;
    const auto number = static_cast<std::uint32_t>(a->number());
    if (a->type == THERMAL_GENL_ATTR_TZ_ID) {
      news.zone = number;
      has_zone = true;
    } else if (a->type == THERMAL_GENL_ATTR_TZ_TRIP_ID) {
      news.trip = number;
    } else if (a->type == THERMAL_GENL_ATTR_TZ_TEMP) {  // millidegrees, with a sign
      news.celsius = static_cast<double>(static_cast<std::int32_t>(number)) / 1000;
    }
  }
  if (!has_zone) return std::nullopt;
  return news;
}

Result<ThermalListener> ThermalListener::open() {
  const auto group = event_group();
  if (!group) return fail(group.error());
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC));
  if (!socket) return fail(from_errno("thermal: a netlink socket", errno));
  if (auto filtered = leave_out_the_rest(socket.get()); !filtered) return fail(filtered.error());
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
    return fail(from_errno("thermal: a netlink socket", errno));
  const auto number = static_cast<int>(*group);
  if (setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &number, sizeof number) != 0)
    return fail(from_errno("thermal: netlink group 'event'", errno));
  return ThermalListener(std::move(socket));
}

bool ThermalListener::take(const std::function<void(const ThermalNews&)>& each) {
  alignas(nlmsghdr) std::array<char, 8192> buffer;
  bool lost = false;
  for (int n = 0; n < kMostAtOnce; ++n) {
    sockaddr_nl from{};
    socklen_t from_size = sizeof from;
    const auto size =
        recvfrom(socket_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == ENOBUFS) {
      lost = true;
      continue;
    }
    if (size <= 0) break;
    if (from_size == sizeof from && from.nl_family == AF_NETLINK && from.nl_pid != 0) continue;  // not the kernel
    std::string_view rest(buffer.data(), static_cast<std::size_t>(size));
    while (rest.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      std::memcpy(&header, rest.data(), sizeof header);
      if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > rest.size()) break;
      if (auto news = thermal_news_of(rest.substr(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN))) each(*news);
      rest.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
    }
  }
  return lost;
}

}  // namespace vitald
