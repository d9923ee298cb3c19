// SPDX-License-Identifier: Apache-2.0
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

// A machine without radio has no nl80211, or one without interfaces.
TEST(Wifi, AsksTheKernel) {
  const auto got = run_collector("wifi", {});
  EXPECT_TRUE(got.error.empty() || got.error.starts_with("absent: ")) << got.error;
}

}  // namespace vitald
