// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "core/text/scan.h"
#include "sensors/net/links.h"
#include "tests/sensors/run_collector.h"

namespace vitald {

namespace {

constexpr const char* kHeading =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
    "compressed\n";
constexpr const char* kEth0 = "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
const FlagValues kFile = {{"collector.netdev.netlink", "false"}};

FlagValues and_also(FlagValues flags, FlagValues more) {
  for (auto& flag : more) flags.push_back(std::move(flag));
  return flags;
}
std::string metrics(std::string_view labels, std::initializer_list<const char*> names) {
  std::string out;
  int value = 0;
  for (const auto* name : names)
    out +=
        std::string("node_network_") + name + "_total{" + std::string(labels) + "} " + std::to_string(++value) + "\n";
  return out;
}
std::string eth0(std::string_view labels = "device=\"eth0\"") {
  return metrics(labels,
                 {"receive_bytes", "receive_packets", "receive_errs", "receive_drop", "receive_fifo", "receive_frame",
                  "receive_compressed", "receive_multicast", "transmit_bytes", "transmit_packets", "transmit_errs",
                  "transmit_drop", "transmit_fifo", "transmit_colls", "transmit_carrier", "transmit_compressed"});
}

}  // namespace

TEST(Netdev, File) {
  struct Case {
    const char* name;
    std::string file, text, error;
  };
  const Case cases[] = {
      {"normal", std::string(kHeading) + kEth0, eth0(), ""},
      {"no blank after the colon, columns of a newer kernel",
       std::string(kHeading) + "eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n", eth0(), ""},
      {"a name with a colon", std::string(kHeading) + "eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
       eth0("device=\"eth0:1\""), ""},
      {"a torn line costs itself", std::string(kHeading) + "lo: 1 2 3 4 5 6\n" + kEth0, eth0(),
       "malformed: /proc/net/dev: 'lo: 1 2 3 4 5 6': 'name:' and 16 numbers expected"},
      {"no name", std::string(kHeading) + " : 1 2\n" + kEth0, eth0(),
       "malformed: /proc/net/dev: ': 1 2': 'name:' and 16 numbers expected"},
      {"too large", std::string(kHeading) + "lo: 18446744073709551616 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", "",
       "malformed: /proc/net/dev: 'lo: 18446744073709551616 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16': 'name:' and 16 "
       "numbers expected"},
      {"heading only", kHeading, "", ""},
      {"empty", "", "", "malformed: /proc/net/dev: '': two lines of headings expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("netdev", {{"proc/net/dev", c.file}}, kFile);
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
  }
  EXPECT_EQ(run_collector("netdev", {}, kFile).error, "gone: /proc/net/dev: No such file or directory (ENOENT)");
}

TEST(Netdev, FileDetailedAndAliased) {
  const Tree tree = {{"proc/net/dev", std::string(kHeading) + kEth0}, {"sys/class/net/eth0/ifalias", "uplink \"a\"\n"}};
  EXPECT_EQ(run_collector("netdev", tree, and_also(kFile, {{"collector.netdev.enable-detailed-metrics", "true"}})).text,
            metrics("device=\"eth0\"", {"receive_bytes", "receive_packets", "receive_errors", "receive_dropped",
                                        "receive_fifo", "receive_frame", "receive_compressed", "receive_multicast",
                                        "transmit_bytes", "transmit_packets", "transmit_errors", "transmit_dropped",
                                        "transmit_fifo", "transmit_colls", "transmit_carrier", "transmit_compressed"}));
  EXPECT_EQ(run_collector("netdev", tree, and_also(kFile, {{"collector.netdev.label-ifalias", "true"}})).text,
            eth0("device=\"eth0\",ifalias=\"uplink \\\"a\\\"\""));
}

TEST(Netdev, Filters) {
  const Tree tree = {{"proc/net/dev", std::string(kHeading) + "lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n" + kEth0}};
  EXPECT_EQ(run_collector("netdev", tree, and_also(kFile, {{"collector.netdev.device-include", "eth"}})).text, eth0());
  EXPECT_EQ(run_collector("netdev", tree, and_also(kFile, {{"collector.netdev.device-exclude", "^lo$"}})).text, eth0());
  EXPECT_EQ(run_collector("netdev", tree,
                          {{"collector.netdev.device-exclude", "a"}, {"collector.netdev.device-include", "b"}})
                .error,
            "malformed: --collector.netdev.device-exclude and --collector.netdev.device-include are mutually "
            "exclusive: give one of them");
}

// In a network namespace of its own the counters of lo are known: what this test sent.
class NetdevLive : public testing::Test {
 protected:
  // A child, so that the other tests keep their network; its exit status is the result.
  static void in_namespace(const std::function<bool()>& body) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (unshare(CLONE_NEWNET) != 0) _exit(77);
      const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      ifreq up{};
      std::strcpy(up.ifr_name, "lo");
      up.ifr_flags = IFF_UP;
      if (ioctl(s, SIOCSIFFLAGS, &up) != 0) _exit(78);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(9);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      const char payload[100] = {};
      for (int i = 0; i < 5; ++i)
        if (sendto(s, payload, sizeof payload, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) _exit(79);
      _exit(body() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
      GTEST_SKIP() << "needs root or CAP_SYS_ADMIN for a network namespace of its own";
    EXPECT_EQ(status, 0);
  }
};

TEST_F(NetdevLive, SameAsTheFile) {
  in_namespace([] {
    CollectorFixture netlink("netdev");
    std::string missing, got;
    for (int attempt = 0; attempt < 100; ++attempt) {  // a late answer may come between the two readings
      // /proc/self/net may be that of the test's parent: this is the child's own.
      std::ifstream in("/proc/" + std::to_string(getpid()) + "/net/dev");
      std::stringstream text;
      text << in.rdbuf();
      std::stringstream lines(run_collector("netdev", {{"proc/net/dev", text.str()}}, kFile).text);
      const auto run = netlink.run();
      got = run.error + run.text;
      missing.clear();
      for (std::string line; std::getline(lines, line);)
        if (got.find(line + "\n") == std::string::npos) missing += line + "\n";
      if (missing.empty()) break;
    }
    const auto packets = lines_with(got, "receive_packets_total{device=\"lo\"}");
    // On top of the file: packets that nobody wanted.
    const bool all = missing.empty() && !lines_with(got, "receive_nohandler_total{device=\"lo\"}").empty();
    if (all && !packets.empty() && packets.find(" 0\n") == std::string::npos) return true;
    std::fprintf(stderr, "missing:\n%sgot:\n%s", missing.c_str(), got.c_str());
    return false;
  });
}

TEST_F(NetdevLive, Detailed) {
  in_namespace([] {
    const auto got = run_collector(
        "netdev", {},
        {{"collector.netdev.enable-detailed-metrics", "true"}, {"collector.netdev.device-include", "^lo$"}});
    std::string names;
    for (std::string_view rest = got.text; !rest.empty();) {
      auto line = take_line(rest);
      names += std::string(take_until(line, '{')) + "\n";
    }
    const std::string want =
        "node_network_receive_packets_total\nnode_network_transmit_packets_total\n"
        "node_network_receive_bytes_total\nnode_network_transmit_bytes_total\n"
        "node_network_receive_errors_total\nnode_network_transmit_errors_total\n"
        "node_network_receive_dropped_total\nnode_network_transmit_dropped_total\n"
        "node_network_multicast_total\nnode_network_collisions_total\n"
        "node_network_receive_length_errors_total\nnode_network_receive_over_errors_total\n"
        "node_network_receive_crc_errors_total\nnode_network_receive_frame_errors_total\n"
        "node_network_receive_fifo_errors_total\nnode_network_receive_missed_errors_total\n"
        "node_network_transmit_aborted_errors_total\nnode_network_transmit_carrier_errors_total\n"
        "node_network_transmit_fifo_errors_total\nnode_network_transmit_heartbeat_errors_total\n"
        "node_network_transmit_window_errors_total\nnode_network_receive_compressed_total\n"
        "node_network_transmit_compressed_total\nnode_network_receive_nohandler_total\n";
    if (names != want) std::fprintf(stderr, "%s%s", got.error.c_str(), names.c_str());
    return names == want;
  });
}

// Names are asked for only after the kernel has announced a change.
TEST_F(NetdevLive, FollowsLinksThatComeAndGo) {
  in_namespace([] {
    CollectorFixture f("netdev");
    const auto has = [&f](const char* device) {
      const auto got = f.run();
      const auto needle = std::string("receive_packets_total{device=\"") + device + "\"}";
      return got.error.empty() && !lines_with(got.text, needle).empty();
    };
    if (!has("lo") || !has("lo") || has("tap7")) return false;
    const int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ifreq request{};
    std::strcpy(request.ifr_name, "tap7");
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) != 0) {
      std::perror("/dev/net/tun");
      return false;
    }
    if (!has("tap7") || !has("tap7")) return false;
    std::strcpy(request.ifr_newname, "tap8");
    const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (ioctl(s, SIOCSIFNAME, &request) != 0) return false;
    if (!has("tap8") || has("tap7")) return false;
    close(tap);
    return has("lo") && !has("tap8");
  });
}

TEST_F(NetdevLive, Addresses) {
  in_namespace([] {
    const auto got = run_collector(
        "netdev", {}, {{"collector.netdev.address-info", "true"}, {"collector.netdev.device-include", "^lo$"}});
    const auto addresses = lines_with(got.text, "node_network_address_info");
    const std::string want =
        "node_network_address_info{address=\"127.0.0.1\",device=\"lo\",netmask=\"8\",scope=\"link-local\"} 1\n"
        "node_network_address_info{address=\"::1\",device=\"lo\",netmask=\"128\",scope=\"link-local\"} 1\n";
    if (addresses != want) std::fprintf(stderr, "%s", addresses.c_str());
    return addresses == want;
  });
}

TEST(Netdev, AddressScopes) {
  struct Case {
    const char *address, *scope;
  };
  const Case cases[] = {
      {"127.0.0.1", "link-local"},
      {"169.254.9.9", "link-local"},
      {"224.0.0.1", "link-local"},
      {"224.0.1.1", ""},
      {"10.1.2.3", "global"},
      {"192.0.2.1", "global"},
      {"0.0.0.0", ""},
      {"255.255.255.255", ""},
      {"::1", "link-local"},
      {"fe80::1", "link-local"},
      {"ff02::1", "link-local"},
      {"ff01::1", "interface-local"},
      {"ff05::1", ""},
      {"2001:db8::1", "global"},
      {"fd00::1", "global"},
      {"::", ""},
  };
  for (const auto& c : cases) {
    unsigned char bytes[16];
    const bool v6 = std::strchr(c.address, ':') != nullptr;
    ASSERT_EQ(inet_pton(v6 ? AF_INET6 : AF_INET, c.address, bytes), 1);
    EXPECT_EQ(address_scope({bytes, v6 ? 16U : 4U}), c.scope) << c.address;
  }
}

}  // namespace vitald
