// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "core/fd.h"
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
          {"empty",
           {{"proc/net/udp", ""}},
           "node_udp_queues{ip=\"v4\",queue=\"tx\"} 0\n"
           "node_udp_queues{ip=\"v4\",queue=\"rx\"} 0\n",
           ""},
          {"no files", {}, "", "absent: /proc/net/udp, /proc/net/udp6: neither is there"},
      });
}

// On the running system the table is walked only when there are sockets in it.
TEST(UdpQueues, OfThisHost) {
  const Host host;
  Options options;
  const auto& list = collector_list();
  const auto entry = std::ranges::find(list, "udp_queues", &CollectorEntry::name);
  ASSERT_NE(entry, list.end());
  const auto collector = std::move(*entry->info->make(host, options));
  BatchWriter writer("udp_queues");
  // ip -> rx and tx bytes
  const auto collect = [&] {
    writer.begin(0);
    const auto outcome = collector->collect(writer);
    EXPECT_TRUE(outcome) << outcome.error().text;
    const auto batch = writer.finish(outcome, 0, 0);
    std::map<std::string, double> bytes;
    for (const auto& s : batch->layout->samples())
      bytes[std::string(batch->layout->labels(s)[0].value)] += batch->values[s.value];
    return bytes;
  };
  collect();
  auto before = collect();
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
    EXPECT_GT(collect()[family == AF_INET ? "v4" : "v6"], before[family == AF_INET ? "v4" : "v6"]);
  }
}

}  // namespace vitald
