// SPDX-License-Identifier: Apache-2.0
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include "core/os/fd.h"
#include "core/text/scan.h"
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Netclass, Cases) {
  check_cases("netclass", {
                              {"one device",
                               {{"sys/class/net/eth0/operstate", "up\n"},
                                {"sys/class/net/eth0/address", "02:00:5e:00:01:07\n"},
                                {"sys/class/net/eth0/broadcast", "ff:ff:ff:ff:ff:ff\n"},
                                {"sys/class/net/eth0/duplex", "full\n"},
                                {"sys/class/net/eth0/flags", "0x1003\n"},
                                {"sys/class/net/eth0/ifalias", "a b\n"},
                                {"sys/class/net/eth0/speed", "1000\n"},
                                {"sys/class/net/eth0/mtu", "1500\n"},
                                {"sys/class/net/eth0/carrier_changes", "2\n"},
                                {"sys/class/net/eth0/dev_id", "0x20\n"},
                                {"sys/class/net/bonding_masters", "x\n"}},
                               "node_network_up{device=\"eth0\"} 1\n"
                               "node_network_info{address=\"02:00:5e:00:01:07\",adminstate=\"up\",broadcast=\"ff:ff:ff:"
                               "ff:ff:ff\",device=\"eth0\",duplex=\"full\",ifalias=\"a b\",operstate=\"up\"} 1\n"
                               "node_network_carrier_changes_total{device=\"eth0\"} 2\n"
                               "node_network_device_id{device=\"eth0\"} 32\n"
                               "node_network_flags{device=\"eth0\"} 4099\n"
                               "node_network_mtu_bytes{device=\"eth0\"} 1500\n"
                               "node_network_speed_bytes{device=\"eth0\"} 125000000\n",
                               ""},
                              {"ignored",
                               {{"sys/class/net/eth0/operstate", "up\n"},
                                {"sys/class/net/eth0/address", "02:00:5e:00:01:07\n"},
                                {"sys/class/net/eth0/broadcast", "ff:ff:ff:ff:ff:ff\n"},
                                {"sys/class/net/eth0/duplex", "full\n"},
                                {"sys/class/net/eth0/flags", "0x1003\n"},
                                {"sys/class/net/eth0/ifalias", "a b\n"},
                                {"sys/class/net/eth0/speed", "1000\n"},
                                {"sys/class/net/eth0/mtu", "1500\n"},
                                {"sys/class/net/eth0/carrier_changes", "2\n"},
                                {"sys/class/net/eth0/dev_id", "0x20\n"}},
                               "",
                               "",
                               {{"collector.netclass.ignored-devices", "^eth"}}},
                              {"invalid speed",
                               {{"sys/class/net/eth0/speed", "-1\n"}, {"sys/class/net/eth0/flags", "0x1002\n"}},
                               "node_network_up{device=\"eth0\"} 0\n"
                               "node_network_info{address=\"\",adminstate=\"down\",broadcast=\"\",device=\"eth0\","
                               "duplex=\"\",ifalias=\"\",operstate=\"\"} 1\n"
                               "node_network_flags{device=\"eth0\"} 4098\n"
                               "node_network_speed_bytes{device=\"eth0\"} -125000\n",
                               ""},
                              {"invalid speed ignored",
                               {{"sys/class/net/eth0/speed", "-1\n"}},
                               "node_network_up{device=\"eth0\"} 0\n"
                               "node_network_info{address=\"\",adminstate=\"unknown\",broadcast=\"\",device=\"eth0\","
                               "duplex=\"\",ifalias=\"\",operstate=\"\"} 1\n",
                               "",
                               {{"collector.netclass.ignore-invalid-speed", "true"}}},
                              {"no folder", {}, "", "absent: /sys/class/net: No such file or directory (ENOENT)"},
                          });
}

// In a tree that is not the running kernel's own.
TEST(Netclass, ReadsAgainWhatChanged) {
  const std::string a = "sys/class/net/a/", b = "sys/class/net/b/";
  CollectorFixture fixture("netclass", {{a + "ifindex", "2\n"},
                                        {a + "operstate", "up\n"},
                                        {a + "flags", "0x1003\n"},
                                        {a + "carrier_changes", "2\n"},
                                        {a + "speed", "1000\n"},
                                        {a + "mtu", "1500\n"}});
  fixture.run(), fixture.run();
  const auto has = [&](const std::string& line) {
    const auto text = fixture.run().text;
    EXPECT_NE(text.find(line), std::string::npos) << text;
  };
  fixture.write(a + "speed", "10000\n");
  has("node_network_speed_bytes{device=\"a\"} 125000000\n");
  fixture.write(a + "carrier_changes", "4\n");
  has("node_network_speed_bytes{device=\"a\"} 1250000000\n");
  fixture.write(a + "operstate", "down\n");
  has("node_network_up{device=\"a\"} 0\n");
  fixture.write(b + "mtu", "9000\n");  // which lacks the signs: read every time
  has("node_network_mtu_bytes{device=\"b\"} 9000\n");
  fixture.write(b + "mtu", "1500\n");
  has("node_network_mtu_bytes{device=\"b\"} 1500\n");
  fixture.write(a + "mtu", "9000\n");
  has("node_network_mtu_bytes{device=\"a\"} 1500\n");
  fixture.clock.advance_ns(1'000'000'001);  // of so few
  has("node_network_mtu_bytes{device=\"a\"} 9000\n");
}

// Of the running kernel: every network namespace has a loopback device.
TEST(Netclass, ByNetlink) {
  const FlagValues netlink = {{"collector.netclass.netlink", "true"}};
  CollectorFixture fixture("netclass", {}, netlink);
  const auto first = fixture.run();
  EXPECT_EQ(first.error, "");
  EXPECT_NE(first.text.find("node_network_mtu_bytes{device=\"lo\"} "), std::string::npos) << first.text;
  EXPECT_NE(first.text.find("node_network_info{address=\"00:00:00:00:00:00\",broadcast=\"00:00:00:00:00:00\","
                            "device=\"lo\","),
            std::string::npos)
      << first.text;
  EXPECT_EQ(first.text.find("adminstate"), std::string::npos);
  EXPECT_EQ(fixture.run().text, first.text);

  const auto with_stats = run_collector(
      "netclass", {}, {{"collector.netclass.netlink", "true"}, {"collector.netclass_rtnl.with-stats", "true"}});
  EXPECT_NE(with_stats.text.find("node_network_receive_bytes_total{device=\"lo\"} "), std::string::npos);
  EXPECT_EQ(run_collector("netclass", {},
                          {{"collector.netclass.netlink", "true"}, {"collector.netclass.ignored-devices", ".*"}})
                .text,
            "");
}

// sysfs has IFF_PROMISC (0x100) among the flags, rtnetlink's own flags have not.
TEST(Netclass, PromiscuousInterface) {
  const Fd packets(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!packets) GTEST_SKIP() << "a packet socket needs CAP_NET_RAW";
  LiveCollector collector("netclass");
  const auto flags = [&] {
    const auto text = lines_with(collector.run(), "node_network_flags{device=\"lo\"}");
    return static_cast<unsigned>(parse_double(trim(text.substr(text.find(' ')))).value_or(0));
  };
  collector.run();
  const auto before = flags();
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = static_cast<int>(if_nametoindex("lo"));
  promiscuous.mr_type = PACKET_MR_PROMISC;
  ASSERT_EQ(setsockopt(packets.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous), 0);
  EXPECT_EQ(flags(), before | 0x100);
  ASSERT_EQ(setsockopt(packets.get(), SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promiscuous, sizeof promiscuous), 0);
  EXPECT_EQ(flags(), before);
}

}  // namespace vitald
