// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Selinux, Cases) {
  check_cases("selinux", {
                             {"off", {}, "node_selinux_enabled 0\n", ""},
                             {"enforcing",
                              {{"sys/fs/selinux/enforce", "1"},
                               {"root/etc/selinux/config",
                                "# x\n"
                                "SELINUX=permissive\n"
                                "SELINUXTYPE=targeted\n"}},
                              "node_selinux_enabled 1\n"
                              "node_selinux_config_mode 0\n"
                              "node_selinux_current_mode 1\n",
                              ""},
                             {"permissive, no configuration",
                              {{"sys/fs/selinux/enforce", "0"}},
                              "node_selinux_enabled 1\n"
                              "node_selinux_config_mode -1\n"
                              "node_selinux_current_mode 0\n",
                              ""},
                             {"torn",
                              {{"sys/fs/selinux/enforce", ""}},
                              "node_selinux_enabled 1\n"
                              "node_selinux_config_mode -1\n",
                              "malformed: /sys/fs/selinux/enforce: '': 0 or 1 expected"},
                         });
}

TEST(Selinux, IsLookedForNowAndThen) {
  CollectorFixture fixture("selinux");
  EXPECT_EQ(fixture.run().text, "node_selinux_enabled 0\n");
  fixture.write("sys/fs/selinux/enforce", "1");
  EXPECT_EQ(fixture.run().text, "node_selinux_enabled 0\n");
  fixture.clock.advance_ns(5'000'000'001);
  EXPECT_EQ(lines_with(fixture.run().text, "enabled"), "node_selinux_enabled 1\n");
}

}  // namespace vitald
