// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>

#include <cstring>

#include "sensors/net/wifi_rate.h"
#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

// The flag names a folder, which is only known when the tree is there.
CollectorRun with_fixtures(const Tree& files) {
  const CollectorFixture tree("loadavg", files);
  auto got = run_collector("wifi", {}, {{"collector.wifi.fixtures", tree.root() + "/wifi"}});
  if (const auto at = got.error.find(tree.root()); at != std::string::npos) got.error.erase(at, tree.root().size());
  return got;
}

}  // namespace

TEST(Wifi, Fixtures) {
  const auto got = with_fixtures({
      {"wifi/interfaces.json", "[\n\t{\"name\": \"wlan0\", \"type\": 2, \"frequency\": 2412},\n\t{\"type\": 10}\n]"},
      {"wifi/wlan0/bss.json", "{\"ssid\": \"a b\", \"bssid\": \"AgBeAAAB\", \"status\": 1}"},
      {"wifi/wlan0/stationinfo.json", R"([{"hardwareaddr": "AgBeAAAC", "connected": 50000000000, "signal": -52}])"},
  });
  EXPECT_EQ(got.error, "");
  EXPECT_TRUE(
      got.text.starts_with("node_wifi_interface_frequency_hertz{device=\"wlan0\"} 2412000000\n"
                           "node_wifi_station_info{bssid=\"02:00:5e:00:00:01\",device=\"wlan0\","
                           "mode=\"client\",ssid=\"a b\"} 1\n"
                           "node_wifi_station_connected_seconds_total{device=\"wlan0\","
                           "mac_address=\"02:00:5e:00:00:02\"} 50\n"))
      << got.text;
  EXPECT_NE(got.text.find("signal_dbm{device=\"wlan0\",mac_address=\"02:00:5e:00:00:02\"} -52\n"), std::string::npos);
}

TEST(Wifi, BadFixtures) {
  EXPECT_EQ(with_fixtures({}).error, "absent: /wifi/interfaces.json: No such file or directory (ENOENT)");
  EXPECT_TRUE(with_fixtures({{"wifi/interfaces.json", "[{"}}).error.starts_with("malformed: /wifi/interfaces.json: "));
}

TEST(Wifi, Rates) {
  const auto attribute = [](std::uint16_t type, auto value) {
    const nlattr header{static_cast<std::uint16_t>(NLA_HDRLEN + sizeof value), type};
    std::string out(NLA_HDRLEN + NLA_ALIGN(sizeof value), '\0');
    std::memcpy(out.data(), &header, sizeof header);
    std::memcpy(out.data() + NLA_HDRLEN, &value, sizeof value);
    return out;
  };
  const auto of_16 = attribute(NL80211_RATE_INFO_BITRATE, std::uint16_t{540}),
             of_32 = attribute(NL80211_RATE_INFO_BITRATE32, std::uint32_t{86'700}),
             width = attribute(NL80211_RATE_INFO_MCS, std::uint8_t{7});
  EXPECT_EQ(wifi_rate(of_16 + width), 54e6);
  EXPECT_EQ(wifi_rate(of_32 + width), 8670e6);
  EXPECT_EQ(wifi_rate(of_16 + of_32), 8670e6);
  EXPECT_EQ(wifi_rate(of_32 + of_16), 8670e6);
  EXPECT_EQ(wifi_rate(attribute(NL80211_RATE_INFO_BITRATE, std::uint16_t{0})), 0);
  EXPECT_EQ(wifi_rate(""), std::nullopt) << "no rate is not 0 bits per second";
  EXPECT_EQ(wifi_rate(width), std::nullopt);
}

// A machine without radio has no nl80211, or one without interfaces.
TEST(Wifi, AsksTheKernel) {
  const auto got = run_collector("wifi", {});
  EXPECT_TRUE(got.error.empty() || got.error.starts_with("absent: ")) << got.error;
}

}  // namespace vitald
