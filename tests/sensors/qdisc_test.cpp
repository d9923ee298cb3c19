// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

// The flag names a folder, which is only known when the tree is there.
CollectorRun with_fixtures(const std::string& json, FlagValues flags = {}) {
  const CollectorFixture tree("loadavg", {{"fixtures/results.json", json}});
  flags.emplace_back("collector.qdisc.fixtures", tree.root() + "/fixtures");
  auto got = run_collector("qdisc", {}, flags);
  if (const auto at = got.error.find(tree.root()); at != std::string::npos) got.error.erase(at, tree.root().size());
  return got;
}

}  // namespace

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
