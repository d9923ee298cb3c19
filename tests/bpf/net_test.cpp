// SPDX-License-Identifier: Apache-2.0
// Connections and packets in known numbers over the loopback, and softirqs against what the kernel counts of them.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "core/os/fd.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// A socket on a port that nobody else has, and which.
std::pair<Fd, std::uint16_t> bound(int type) {
  Fd fd(socket(AF_INET, type, 0));
  auto address = loopback(0);
  socklen_t size = sizeof address;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("bind");
  return {std::move(fd), ntohs(address.sin_port)};
}

int connect_to(std::uint16_t port, Fd& fd) {
  fd = Fd(socket(AF_INET, SOCK_STREAM, 0));
  const auto address = loopback(port);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

// "Tcp: ..." names, then "Tcp: ..." values.
double of_snmp(std::string_view what) {
  std::ifstream file("/proc/net/snmp");
  std::string names, values;
  while (std::getline(file, names) && std::getline(file, values)) {
    std::istringstream n(names), v(values);
    for (std::string name, number; n >> name && v >> number;)
      if (name == what) return std::stod(number);
  }
  return 0;
}

double all_of(const std::map<std::string, double>& series, const std::string& family, const std::string& label) {
  double sum = 0;
  for (const auto& [name, v] : series)
    if (name.starts_with(family + "{") && name.find(label) != std::string::npos) sum += v;
  return sum;
}

constexpr int kTimes = 50;

void check_connections(const Rung& rung) {
  LiveProbe probe("tcp_life");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  auto [closed, closed_port] = bound(SOCK_STREAM);  // and nobody listens
  auto [open, open_port] = bound(SOCK_STREAM);
  ASSERT_EQ(listen(open.get(), kTimes), 0);
  for (int i = 0; i < kTimes; ++i) {
    Fd fd;
    EXPECT_EQ(connect_to(closed_port, fd), ECONNREFUSED);
    EXPECT_EQ(connect_to(open_port, fd), 0);
    const Fd accepted(accept(open.get(), nullptr, nullptr));
    EXPECT_TRUE(accepted);
  }
  // Data for a connection that is over on its side: the reset is of what is left of it, which is no socket.
  const auto resets = of_snmp("OutRsts");
  {
    Fd fd;
    EXPECT_EQ(connect_to(open_port, fd), 0);
    const Fd accepted(accept(open.get(), nullptr, nullptr));
    fd = Fd();
    usleep(50'000);
    EXPECT_EQ(send(accepted.get(), "x", 1, MSG_NOSIGNAL), 1);
    usleep(50'000);
  }
  EXPECT_GE(of_snmp("OutRsts") - resets, 1);
  // Nobody accepts: the queue is full, and who comes then is not answered, so the kernel asks once more.
  const auto retransmitted = of_snmp("RetransSegs");
  ASSERT_EQ(listen(open.get(), 0), 0);
  std::vector<Fd> waiting(4);
  for (auto& fd : waiting) {
    fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const auto address = loopback(open_port);
    [[maybe_unused]] const auto is_under_way =
        connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  usleep(1'500'000);
  const auto again = of_snmp("RetransSegs") - retransmitted;
  waiting.clear();
  const auto after = probe.collect();
  const auto grown = [&](const char* family, const char* label) {
    return all_of(after, family, label) - all_of(before, family, label);
  };
  const auto connected = grown("vitald_owner_tcp_connections_total", "result=\"connected\""),
             accepted = grown("vitald_owner_tcp_connections_total", "result=\"accepted\""),
             failed = grown("vitald_owner_tcp_connections_total", "result=\"failed\""),
             sent = grown("vitald_owner_tcp_resets_total", "direction=\"sent\""),
             received = grown("vitald_owner_tcp_resets_total", "direction=\"received\""),
             retransmits = grown("vitald_owner_tcp_retransmits_total", "owner");
  fmt::print("{}: connected {}, accepted {}, failed {}, resets {} and {}, retransmits {} (snmp {})\n", rung.name,
             connected, accepted, failed, sent, received, retransmits, again);
  // The host has other connections as well, and few. Before Linux 6.10 nobody is told of resets without a socket.
  const bool all_sent = Host().shared<KernelFacts>().arguments("tcp_send_reset") >= 3;
  for (const auto count : {connected, accepted, failed, all_sent ? sent : received, received}) {
    EXPECT_GE(count, kTimes);
    EXPECT_LE(count, kTimes * 1.5);
  }
  const auto abandoned = grown("vitald_owner_tcp_connections_total", "result=\"abandoned\"");
  EXPECT_GE(abandoned, 1) << "whoever gave up himself has not failed";
  EXPECT_LE(abandoned, 4);
  EXPECT_GE(retransmits, 1);
  EXPECT_NEAR(retransmits, again, 2);
  const auto rtt = std::string("vitald_tcp_connect_rtt_seconds_count{direction=\"out\"}");
  EXPECT_GE(value(after, rtt) - value(before, rtt), kTimes);
}

TEST_F(Probes, TcpConnections) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_connections(rung); });
  }
}

void check_drops(const Rung& rung) {
  LiveProbe probe("net_drops");
  if (probe.status().find("says too little") != std::string::npos) GTEST_SKIP() << probe.status();
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  auto [held, port] = bound(SOCK_DGRAM);
  held = Fd();  // nobody has it now
  const Fd sender(socket(AF_INET, SOCK_DGRAM, 0));
  const auto address = loopback(port);
  constexpr int kPackets = 1000;
  for (int i = 0; i < kPackets; ++i)
    EXPECT_EQ(sendto(sender.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address), 1);
  const auto after = probe.collect();
  const std::string series = "vitald_network_drops_total{reason=\"no_socket\"}";
  const auto dropped = value(after, series) - (before.contains(series) ? before.at(series) : 0);
  fmt::print("{}: {} of {} packets to nobody\n", rung.name, dropped, kPackets);
  EXPECT_GE(dropped, kPackets);
  EXPECT_LE(dropped, kPackets * 1.05);
}

TEST_F(Probes, DropsByReason) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_drops(rung); });
  }
}

// "      NET_RX:    1234    5678"
std::map<std::string, double> kernel_softirqs() {
  std::map<std::string, double> all;
  std::ifstream file("/proc/softirqs");
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (double count; words >> count;) all[name.substr(0, name.size() - 1)] += count;
  }
  return all;
}

void check_softirqs(const Rung& rung) {
  LiveProbe probe("softirq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto count = [](const std::map<std::string, double>& series, const std::string& type) {
    const auto it = series.find("vitald_softirq_seconds_count{type=\"" + type + "\"}");
    return it == series.end() ? 0 : it->second;
  };
  const auto truth_before = kernel_softirqs();
  const auto before = probe.collect();
  auto [receiver, port] = bound(SOCK_DGRAM);
  const Fd sender(socket(AF_INET, SOCK_DGRAM, 0));
  const auto address = loopback(port);
  char byte = 'x';
  for (int i = 0; i < 5000; ++i) {
    EXPECT_EQ(sendto(sender.get(), &byte, 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address), 1);
    EXPECT_EQ(recv(receiver.get(), &byte, 1, 0), 1);
  }
  const auto after = probe.collect();
  auto truth = kernel_softirqs();
  for (auto& [type, n] : truth) n -= truth_before.at(type);
  for (const std::string type : {"NET_RX", "TIMER", "SCHED", "RCU"}) {
    const auto seen = count(after, type) - count(before, type);
    fmt::print("{}: {} {} ({})\n", rung.name, type, seen, truth[type]);
    EXPECT_LE(seen, truth[type] + 1) << type;
    EXPECT_GE(seen, truth[type] * 0.99 - 20) << type;
  }
  EXPECT_GE(count(after, "NET_RX") - count(before, "NET_RX"), 4900);
  const auto sum = std::string("vitald_softirq_seconds_sum{type=\"NET_RX\"}");
  const auto each = (value(after, sum) - (before.contains(sum) ? before.at(sum) : 0)) / 5000;
  EXPECT_GT(each, 1e-7);
  EXPECT_LT(each, 1e-3);
}

TEST_F(Probes, Softirqs) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_softirqs(rung); });
  }
}

void check_hardirqs(const Rung& rung) {
  LiveProbe probe("hardirq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  // Whatever comes: the disk's, the serial line's.
  double count = 0;
  std::map<std::string, double> after;
  for (int i = 0; i < 100 && count < 5; ++i) {
    usleep(50'000);
    sync();
    after = probe.collect();
    count = value(after, "vitald_hardirq_seconds_count") - value(before, "vitald_hardirq_seconds_count");
  }
  if (count == 0) GTEST_SKIP() << "no interrupt in five seconds";
  const auto handlers = sum_of(after, "vitald_hardirq_handler_seconds_total");
  fmt::print("{}: {} interrupts, {:.6f} s in handlers, {:.6f} in the histogram\n", rung.name, count, handlers,
             value(after, "vitald_hardirq_seconds_sum"));
  EXPECT_NEAR(handlers, value(after, "vitald_hardirq_seconds_sum"), 1e-4 + handlers * 0.01);
}

TEST_F(Probes, Hardirqs) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_hardirqs(rung); });
  }
}

}  // namespace
}  // namespace vitald
