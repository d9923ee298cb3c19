// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

std::string without_root(std::string text, const CollectorFixture& f) {
  for (std::size_t at; (at = text.find(f.root())) != std::string::npos;) text.erase(at, f.root().size());
  return text;
}

TEST(Rapl, Cases) {
  struct Case {
    const char* name;
    Tree tree;  // below sys/class/powercap
    FlagValues flags;
    const char *text, *problem;
  };
  const Case cases[] = {
      {"packages have their index in the name, others are counted",
       {{"intel-rapl/enabled", "1"},
        {"intel-rapl:0/name", "package-0\n"},
        {"intel-rapl:0/energy_uj", "951678416051\n"},
        {"intel-rapl:0:0/name", "dram\n"},
        {"intel-rapl:0:0/energy_uj", "1000000\n"},
        {"intel-rapl:1/name", "package-1\n"},
        {"intel-rapl:1/energy_uj", "2\n"},
        {"intel-rapl:1:0/name", "dram\n"},
        {"intel-rapl:1:0/energy_uj", "3000000\n"}},
       {},
       "node_rapl_package_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0\"} 951678.416051\n"
       "node_rapl_dram_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0:0\"} 1\n"
       "node_rapl_package_joules_total{index=\"1\",path=\"/sys/class/powercap/intel-rapl:1\"} 2e-06\n"
       "node_rapl_dram_joules_total{index=\"1\",path=\"/sys/class/powercap/intel-rapl:1:0\"} 3\n",
       ""},
      {"more packages than ten: their parts have their index",
       {{"intel-rapl:0/name", "package-0\n"},
        {"intel-rapl:0/energy_uj", "1000000\n"},
        {"intel-rapl:0:0/name", "dram\n"},
        {"intel-rapl:0:0/energy_uj", "1000000\n"},
        {"intel-rapl:10/name", "package-10\n"},
        {"intel-rapl:10/energy_uj", "11000000\n"},
        {"intel-rapl:10:0/name", "dram\n"},
        {"intel-rapl:10:0/energy_uj", "11000000\n"},
        {"intel-rapl:2/name", "package-2\n"},
        {"intel-rapl:2/energy_uj", "3000000\n"},
        {"intel-rapl:2:0/name", "dram\n"},
        {"intel-rapl:2:0/energy_uj", "3000000\n"}},
       {},
       "node_rapl_package_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0\"} 1\n"
       "node_rapl_dram_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0:0\"} 1\n"
       "node_rapl_package_joules_total{index=\"10\",path=\"/sys/class/powercap/intel-rapl:10\"} 11\n"
       "node_rapl_dram_joules_total{index=\"10\",path=\"/sys/class/powercap/intel-rapl:10:0\"} 11\n"
       "node_rapl_package_joules_total{index=\"2\",path=\"/sys/class/powercap/intel-rapl:2\"} 3\n"
       "node_rapl_dram_joules_total{index=\"2\",path=\"/sys/class/powercap/intel-rapl:2:0\"} 3\n",
       ""},
      {"a laptop with both interfaces, and a platform",
       {{"intel-rapl-mmio:0/name", "package-0\n"},
        {"intel-rapl-mmio:0/energy_uj", "1000000\n"},
        {"intel-rapl-mmio:0:0/name", "dram\n"},
        {"intel-rapl-mmio:0:0/energy_uj", "2000000\n"},
        {"intel-rapl:0/name", "package-0\n"},
        {"intel-rapl:0/energy_uj", "3000000\n"},
        {"intel-rapl:0:0/name", "dram\n"},
        {"intel-rapl:0:0/energy_uj", "4000000\n"},
        {"intel-rapl:1/name", "psys\n"},
        {"intel-rapl:1/energy_uj", "5000000\n"}},
       {},
       "node_rapl_package_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl-mmio:0\"} 1\n"
       "node_rapl_dram_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl-mmio:0:0\"} 2\n"
       "node_rapl_package_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0\"} 3\n"
       "node_rapl_dram_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0:0\"} 4\n"
       "node_rapl_psys_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:1\"} 5\n",
       ""},
      {"memory of the second package alone; dies are counted as they come",
       {{"intel-rapl:0/name", "package-0-die-0\n"},
        {"intel-rapl:0:0/name", "core\n"},
        {"intel-rapl:0:0/energy_uj", "1000000\n"},
        {"intel-rapl:1/name", "package-0-die-1\n"},
        {"intel-rapl:1:0/name", "core\n"},
        {"intel-rapl:1:0/energy_uj", "2000000\n"},
        {"intel-rapl:2/name", "package-1\n"},
        {"intel-rapl:2:0/name", "dram\n"},
        {"intel-rapl:2:0/energy_uj", "3000000\n"}},
       {},
       "node_rapl_core_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0:0\"} 1\n"
       "node_rapl_core_joules_total{index=\"1\",path=\"/sys/class/powercap/intel-rapl:1:0\"} 2\n"
       "node_rapl_dram_joules_total{index=\"1\",path=\"/sys/class/powercap/intel-rapl:2:0\"} 3\n",
       ""},
      {"one metric for all",
       {{"a/name", "core"}, {"a/energy_uj", "1000000"}},
       {{"collector.rapl.enable-zone-label", "true"}},
       "node_rapl_joules_total{index=\"0\",path=\"/sys/class/powercap/a\",rapl_zone=\"core\"} 1\n",
       ""},
      {"a zone that cannot be read costs only itself",
       {{"a/name", "psys"}, {"a/energy_uj", "-1"}, {"b/name", "core"}, {"b/energy_uj", "5000000"}},
       {},
       "node_rapl_core_joules_total{index=\"0\",path=\"/sys/class/powercap/b\"} 5\n",
       "malformed: /sys/class/powercap/a/energy_uj: '-1': a number of microjoules expected"},
      {"a zone without a counter", {{"dtpm/name", "cpu"}}, {}, "", ""},
      {"a name that is no metric name",
       {{"a/name", "x-y-1 z"}, {"a/energy_uj", "0"}},
       {},
       "node_rapl_x_y_1_z_joules_total{index=\"0\",path=\"/sys/class/powercap/a\"} 0\n",
       ""},
      {"2^64-1 and one more",
       {{"a/name", "a"},
        {"a/energy_uj", "18446744073709551615"},
        {"b/name", "b"},
        {"b/energy_uj", "18446744073709551616"}},
       {},
       "node_rapl_a_joules_total{index=\"0\",path=\"/sys/class/powercap/a\"} 18446744073709.55\n",
       "malformed: /sys/class/powercap/b/energy_uj: '18446744073709551616': a number of microjoules expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Tree tree;
    for (const auto& [path, content] : c.tree) tree["sys/class/powercap/" + path] = content;
    CollectorFixture f("rapl", tree, c.flags);
    const auto got = f.run();
    EXPECT_EQ(without_root(got.text, f), c.text);
    EXPECT_EQ(got.error, "");
    EXPECT_EQ(got.problems.empty() ? "" : got.problems[0], c.problem);
  }
}

TEST(Rapl, HelpNamesTheZone) {
  const auto got =
      run_collector("rapl", {{"sys/class/powercap/a/name", "uncore\n"}, {"sys/class/powercap/a/energy_uj", "1"}});
  EXPECT_EQ(got.types, "node_rapl_uncore_joules_total counter Current RAPL uncore value in joules\n");
}

// What Docker makes of it: the links are there, the folder they lead to is an empty one.
TEST(Rapl, HiddenByAContainer) {
  const Tree masked = {{"sys/class/powercap/intel-rapl", "->../../devices/virtual/powercap/intel-rapl"},
                       {"sys/class/powercap/intel-rapl:0", "->../../devices/virtual/powercap/intel-rapl/intel-rapl:0"}};
  CollectorFixture f("rapl", masked);
  for (int run = 0; run < 2; ++run) {
    const auto got = f.run();
    EXPECT_EQ(got.text, "");
    EXPECT_EQ(got.error,
              "denied: /sys/class/powercap: intel-rapl, intel-rapl:0 there lead nowhere: a container's engine hides "
              "what they lead to (/sys/devices/virtual/powercap, since CVE-2020-8694); mount the host's /sys and name "
              "it with --path.sysfs");
  }
  f.write("sys/devices/virtual/powercap/intel-rapl/enabled", "1\n");
  f.write("sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/name", "package-0\n");
  f.write("sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj", "1000000\n");
  const auto got = f.run();
  EXPECT_EQ(without_root(got.text, f),
            "node_rapl_package_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0\"} 1\n");
  EXPECT_EQ(got.error, "");
}

TEST(Rapl, NoPowercap) {
  EXPECT_EQ(run_collector("rapl", {}).error, "absent: /sys/class/powercap: No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace vitald
