// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/os/kernel_file.h"
#include "sensors/net/ethtool_names.h"
#include "tests/sensors/run_collector.h"

namespace vitald {

// Asks the running kernel for the interfaces that the tree names.
TEST(Ethtool, UnknownInterface) {
  const auto got = run_collector("ethtool", {{"sys/class/net/nosuch0/mtu", "1500\n"}});
  EXPECT_EQ(got.text, "");
  EXPECT_EQ(got.error, "");
}

TEST(Ethtool, StatisticsOfOneName) {
  static constexpr MetricDesc kA{"node_ethtool_a", MetricType::untyped, "", "device", "", ""};
  static constexpr MetricDesc kB{"node_ethtool_b", MetricType::untyped, "", "device", "", ""};
  struct Case {
    const char* name;
    std::vector<std::string> names;
    std::vector<const MetricDesc*> families, left;
    const char* said;
  };
  const Case cases[] = {
      {"none", {}, {}, {}, ""},
      {"each its own, some not asked for",
       {"b", "x", "x", "a"},
       {&kB, nullptr, nullptr, &kA},
       {&kB, nullptr, nullptr, &kA},
       ""},
      {"two", {"a-", "b", "a."}, {&kA, &kB, &kA}, {nullptr, &kB, nullptr}, "node_ethtool_a is a-, a."},
      {"two and three",
       {"b1", "a1", "b2", "a2", "b3"},
       {&kB, &kA, &kB, &kA, &kB},
       {nullptr, nullptr, nullptr, nullptr, nullptr},
       "node_ethtool_a is a1, a2 (and 1 more)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto families = c.families;
    EXPECT_EQ(leave_out_ambiguous(c.names, families), c.said);
    EXPECT_EQ(families, c.left);
  }
}

TEST(Ethtool, NoInterfaces) {
  EXPECT_EQ(run_collector("ethtool", {}).error, "absent: /sys/class/net: No such file or directory (ENOENT)");
}

TEST(Ethtool, OfThisMachine) {
  const auto names = list_directory("/sys/class/net");
  ASSERT_TRUE(names.has_value());
  Tree tree;
  for (const auto& name : *names) tree["sys/class/net/" + name + "/mtu"] = "1500\n";
  CollectorFixture fixture("ethtool", tree, {{"collector.ethtool.metrics-include", "^nothing$"}});
  const auto first = fixture.run();
  EXPECT_EQ(first.error, "");
  EXPECT_EQ(first.text.find("node_ethtool_received"), std::string::npos) << first.text;
  EXPECT_EQ(fixture.run().text, first.text);
}

TEST(Ethtool, BothFilters) {
  const auto got = run_collector(
      "ethtool", {}, {{"collector.ethtool.device-include", "a"}, {"collector.ethtool.device-exclude", "b"}});
  EXPECT_TRUE(got.error.starts_with("malformed: --collector.ethtool.device-exclude")) << got.error;
}

}  // namespace vitald
