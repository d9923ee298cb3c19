// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/os/fd.h"
#include "core/text/scan.h"
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(UdpQueues, Cases) {
  check_cases(
      "udp_queues",
      {
          {"two sockets, and IPv6 without any",
           {{"proc/net/udp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 00000000:0016 00000000:0000 0A 00000024:00000001 00:00000000 00000000     0        0 7630 1 0 0\n"
             "   0: 00000000:0016 00000000:0000 0A 00000024:00000001 00:00000000 00000000     0        0 7630 1 0 0\n"},
            {"proc/net/udp6",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"}},
           "node_udp_queues{ip=\"v4\",queue=\"tx\"} 72\n"
           "node_udp_queues{ip=\"v4\",queue=\"rx\"} 2\n"
           "node_udp_queues{ip=\"v6\",queue=\"tx\"} 0\n"
           "node_udp_queues{ip=\"v6\",queue=\"rx\"} 0\n",
           ""},
          {"IPv4 only",
           {{"proc/net/udp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 00000000:0016 00000000:0000 0A 00000024:00000001 00:00000000 00000000     0        0 7630 1 0 "
             "0\n"}},
           "node_udp_queues{ip=\"v4\",queue=\"tx\"} 36\n"
           "node_udp_queues{ip=\"v4\",queue=\"rx\"} 1\n",
           ""},
          {"torn",
           {{"proc/net/udp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 00000000:0016 00000000:0000 0A 000"}},
           "",
           "malformed: /proc/net/udp: '   0: 00000000:0016 00000000:0000 0A 000': tx_queue:rx_queue in the fifth "
           "column expected"},
          {"empty", {{"proc/net/udp", ""}}, "", "malformed: /proc/net/udp: '': a line of names expected"},
          {"no files", {}, "", "absent: /proc/net/udp, /proc/net/udp6: neither is there"},
      });
}

// On the running system the table is walked only when there are sockets in it.
TEST(UdpQueues, OfThisHost) {
  LiveCollector collector("udp_queues");
  // Of one IP version; what other programs have queued comes and goes.
  const auto rx_bytes = [&](std::string_view ip) {
    auto text = lines_with(collector.run(), fmt::format("ip=\"{}\",queue=\"rx\"", ip));
    return parse_double(trim(text.substr(text.find(' ')))).value_or(-1);
  };
  rx_bytes("v4");
  for (const int family : {AF_INET, AF_INET6}) {
    const Fd socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) continue;  // no IPv6 here
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_addr = IN6ADDR_LOOPBACK_INIT;
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* address = family == AF_INET ? reinterpret_cast<sockaddr*>(&four) : reinterpret_cast<sockaddr*>(&six);
    socklen_t size = family == AF_INET ? sizeof four : sizeof six;
    if (bind(socket.get(), address, size) != 0) continue;  // no ::1 here
    ASSERT_EQ(getsockname(socket.get(), address, &size), 0);
    ASSERT_EQ(sendto(socket.get(), "unread", 6, 0, address, size), 6);
    usleep(20'000);  // SharedFile: a text of one cycle is not read again
    EXPECT_GT(rx_bytes(family == AF_INET ? "v4" : "v6"), 0);
  }
}

}  // namespace vitald
