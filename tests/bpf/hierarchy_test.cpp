// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/hierarchy.h"

#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

TEST(V1Hierarchy, Cases) {
  using enum V1Hierarchy::Controller;
  struct Case {
    const char *name, *file;
    V1Hierarchy for_cpu, for_memory;
  };
  const Case cases[] = {
      {"v2", "0::/init.scope\n", {}, {}},
      {"v1", "4:memory:/a\n2:cpu,cpuacct:/\n", {cpuacct, 2}, {memory, 4}},
      {"v1, each apart, and v2", "3:memory:/a\n2:cpuacct:/\n1:cpu:/\n0::/\n", {cpuacct, 2}, {memory, 3}},
      {"v1, cpu alone", "9:name=systemd:/\n1:cpu:/\n0::/\n", {cpu, 1}, {}},
      {"not a number", "x:cpuacct:/\n", {}, {}},
      {"empty", "", {}, {}},
      {"no file", nullptr, {}, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture tree("loadavg");
    const Host host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""});
    if (c.file) tree.write("proc/self/cgroup", c.file);
    EXPECT_EQ(cpu_hierarchy(host), c.for_cpu) << describe(cpu_hierarchy(host));
    EXPECT_EQ(memory_hierarchy(host), c.for_memory) << describe(memory_hierarchy(host));
  }
}

}  // namespace
}  // namespace vitald
