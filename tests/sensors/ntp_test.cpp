// SPDX-License-Identifier: Apache-2.0
// Against a server in this process, whose clock is a known time apart from the collector's.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <functional>
#include <thread>

#include "core/os/fd.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using Packet = std::array<unsigned char, 48>;
constexpr std::uint64_t kSecond = std::uint64_t{1} << 32;
constexpr std::uint64_t kNow = (1'700'000'000 + 2'208'988'800ULL) * kSecond;  // FakeClock's time of day

void put(Packet& p, std::size_t at, std::uint64_t n, int bytes) {
  for (int i = 0; i < bytes; ++i)
    p[at + static_cast<std::size_t>(i)] = static_cast<unsigned char>(n >> (8 * (bytes - 1 - i)));
}

// A good answer of a server of stratum 2, 1/4 s ahead, that was set 64 s ago: the tests change parts of it.
void answer(Packet& p) {
  const Packet query = p;
  p = {};
  p[0] = 0x24;  // no warning, version 4, server
  p[1] = 2;
  put(p, 4, 0x0800, 4);  // root delay 1/32 s
  put(p, 8, 0x0400, 4);  // root dispersion 1/64 s
  put(p, 16, kNow - 64 * kSecond, 8);
  std::memcpy(p.data() + 24, query.data() + 40, 8);
  put(p, 32, kNow + kSecond / 4, 8);
  put(p, 40, kNow + kSecond / 4, 8);
}

class Server {
 public:
  using Edit = std::function<void(Packet&)>;
  explicit Server(Edit edit) : edit_(std::move(edit)), fd_(socket(AF_INET, SOCK_DGRAM, 0)), stop_(eventfd(0, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    socklen_t size = sizeof address;
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  [[nodiscard]] std::string port() const { return std::to_string(port_); }

 private:
  void serve() {
    for (;;) {
      pollfd ready[] = {{fd_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      poll(ready, 2, -1);
      if (ready[1].revents != 0) return;
      Packet p;
      sockaddr_in from{};
      socklen_t size = sizeof from;
      if (recvfrom(fd_.get(), p.data(), p.size(), 0, reinterpret_cast<sockaddr*>(&from), &size) != 48) continue;
      answer(p);
      edit_(p);
      sendto(fd_.get(), p.data(), p.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  Edit edit_;
  Fd fd_, stop_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

TEST(Ntp, Values) {
  const Server server([](Packet&) {});
  CollectorFixture fixture("ntp", {}, {{"collector.ntp.server-port", server.port()}});
  const auto got = fixture.run();
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.text,
            "node_ntp_stratum 2\n"
            "node_ntp_leap 0\n"
            "node_ntp_rtt_seconds 0\n"
            "node_ntp_offset_seconds 0.25\n"
            "node_ntp_reference_timestamp_seconds 1699999936\n"
            "node_ntp_root_delay_seconds 0.03125\n"
            "node_ntp_root_dispersion_seconds 0.015625\n"
            "node_ntp_sanity 0\n");  // the clocks differ by more than 1 ms
}

TEST(Ntp, Sanity) {
  struct Case {
    const char* name;
    Server::Edit edit;
    const char* sane;
    const char* tolerance = "300ms";
  };
  const Case cases[] = {
      {"good", [](Packet&) {}, "1"},
      {"beyond the tolerance", [](Packet&) {}, "0", "249ms"},
      {"kiss of death", [](Packet& p) { p[1] = 0; }, "0"},
      {"stratum 16", [](Packet& p) { p[1] = 16; }, "0"},
      {"not in sync", [](Packet& p) { p[0] |= 0xc0; }, "0"},
      {"set more than 2^17 s ago", [](Packet& p) { put(p, 16, kNow - 131'073 * kSecond, 8); }, "0"},
      {"set in its future", [](Packet& p) { put(p, 16, kNow + 2 * kSecond, 8); }, "0"},
      {"far from the root", [](Packet& p) { put(p, 4, 7 << 16, 4); }, "0"},
      {"a leap second is near: one second more", [](Packet& p) { p[0] |= 0x40; }, "1", "1ms"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Server server(c.edit);
    CollectorFixture fixture(
        "ntp", {},
        {{"collector.ntp.server-port", server.port()}, {"collector.ntp.local-offset-tolerance", c.tolerance}});
    const auto got = fixture.run();
    EXPECT_EQ(got.error, "");
    EXPECT_EQ(lines_with(got.text, "sanity"), std::string("node_ntp_sanity ") + c.sane + "\n");
  }
}

// Times that are half the range of the clock apart, or as far as there is.
TEST(Ntp, OddTimes) {
  constexpr std::uint64_t kTimes[] = {1, kNow ^ (std::uint64_t{1} << 63), ~std::uint64_t{0}};
  for (const auto first : kTimes)
    for (const auto last : kTimes) {
      if (last < first) continue;
      const Server server([=](Packet& p) {
        put(p, 32, first, 8);
        put(p, 40, last, 8);
      });
      CollectorFixture fixture("ntp", {}, {{"collector.ntp.server-port", server.port()}});
      EXPECT_EQ(fixture.run().error, "");
    }
}

TEST(Ntp, BadReplies) {
  struct Case {
    Server::Edit edit;
    const char* error;
  };
  const Case cases[] = {
      {[](Packet& p) { p[0] = 0x23; }, "the reply is not in server mode"},
      {[](Packet& p) { put(p, 40, 0, 8); }, "the reply has no transmit time"},
      {[](Packet& p) { p[24] ^= 1; }, "the reply is to another question"},
      {[](Packet& p) { put(p, 32, kNow + kSecond, 8); }, "the server's clock went backwards"},
  };
  for (const auto& c : cases) {
    const Server server(c.edit);
    CollectorFixture fixture("ntp", {}, {{"collector.ntp.server-port", server.port()}});
    const auto got = fixture.run();
    EXPECT_EQ(got.text, "");
    EXPECT_EQ(got.error, "malformed: NTP server 127.0.0.1 port " + server.port() + ": " + c.error);
  }
}

TEST(Ntp, Flags) {
  struct Case {
    FlagValues flags;
    const char* error;
  };
  const Case cases[] = {
      {{{"collector.ntp.server", "192.0.2.1"}},
       "malformed: --collector.ntp.server: '192.0.2.1' is no loopback address; if the server is yours, say "
       "--collector.ntp.server-is-local"},
  };
  for (const auto& c : cases) EXPECT_EQ(run_collector("ntp", {}, c.flags).error, c.error);
}

}  // namespace
}  // namespace vitald
