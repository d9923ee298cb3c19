// SPDX-License-Identifier: Apache-2.0
#include "sensors/net/qdisc_counts.h"

#include <linux/rtnetlink.h>

#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

template <class T>
std::string attribute(std::uint16_t type, const T& payload) {
  const rtattr head{static_cast<unsigned short>(RTA_LENGTH(sizeof payload)), type};
  std::string out(RTA_SPACE(sizeof payload), '\0');
  std::memcpy(out.data(), &head, sizeof head);
  std::memcpy(out.data() + RTA_LENGTH(0), &payload, sizeof payload);
  return out;
}

// The flag names a folder, which is only known when the tree is there.
CollectorRun with_fixtures(const std::string& json, FlagValues flags = {}) {
  const CollectorFixture tree("loadavg", {{"fixtures/results.json", json}});
  flags.emplace_back("collector.qdisc.fixtures", tree.root() + "/fixtures");
  auto got = run_collector("qdisc", {}, flags);
  if (const auto at = got.error.find(tree.root()); at != std::string::npos) got.error.erase(at, tree.root().size());
  return got;
}

}  // namespace

// Packets have 32 bits, and 64 in an attribute of their own where these are too few.
TEST(Qdisc, Counts) {
  const auto basic = attribute(TCA_STATS_BASIC, gnet_stats_basic{1000, 5});
  const auto hardware = attribute(TCA_STATS_BASIC_HW, gnet_stats_basic{900, 3});
  const auto packets = attribute(TCA_STATS_PKT64, (std::uint64_t{1} << 32) + 5);
  const auto queue = attribute(TCA_STATS_QUEUE, gnet_stats_queue{1, 2, 3, 4, 5});
  struct Case {
    const char* name;
    std::string nested;
    double packets, drops;
  };
  const Case cases[] = {
      {"32 bits", basic + queue, 5, 3},
      {"more", basic + packets + queue, 4294967301, 3},
      {"of the hardware", basic + hardware + packets + queue, 5, 3},
      {"torn", attribute(TCA_STATS_BASIC, 1), 0, 0},
      {"nothing", "", 0, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = parse_qdisc_counts(c.nested);
    EXPECT_EQ(got.packets, c.packets);
    EXPECT_EQ(got.drops, c.drops);
  }
}

TEST(Qdisc, Fixtures) {
  const std::string json = R"([
	{"IfaceName": "wlan0", "Bytes": 42, "Packets": 41, "Requeues": 1, "Kind": "fq", "Drops": 2},
	{"IfaceName": "wlan0", "Bytes": 1, "Parent": 65536, "Kind": "fq_codel"},
	{"IfaceName": "eth0", "Qlen": 7, "Kind": "pfifo_fast"}])";
  EXPECT_EQ(with_fixtures(json, {{"collector.qdisc.device-include", "wlan"}}).text,
            "node_qdisc_bytes_total{device=\"wlan0\",kind=\"fq\"} 42\n"
            "node_qdisc_packets_total{device=\"wlan0\",kind=\"fq\"} 41\n"
            "node_qdisc_drops_total{device=\"wlan0\",kind=\"fq\"} 2\n"
            "node_qdisc_requeues_total{device=\"wlan0\",kind=\"fq\"} 1\n"
            "node_qdisc_overlimits_total{device=\"wlan0\",kind=\"fq\"} 0\n"
            "node_qdisc_current_queue_length{device=\"wlan0\",kind=\"fq\"} 0\n"
            "node_qdisc_backlog{device=\"wlan0\",kind=\"fq\"} 0\n");
  EXPECT_TRUE(with_fixtures("[{").error.starts_with("malformed: /fixtures/results.json: "))
      << with_fixtures("[{").error;
  EXPECT_EQ(with_fixtures("[]").text, "");
}

// The loopback device has noqueue, which answers like any other.
TEST(Qdisc, AsksTheKernel) {
  const auto got = run_collector("qdisc", {}, {{"collector.qdisc.device-include", "^lo$"}});
  EXPECT_EQ(got.error, "");
  EXPECT_TRUE(got.text.empty() || got.text.starts_with("node_qdisc_bytes_total{device=\"lo\",kind=\"")) << got.text;
}

}  // namespace vitald
