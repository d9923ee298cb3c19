// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Bonding, Cases) {
  check_cases(
      "bonding",
      {
          {"one of two up, one bond without slaves",
           {{"sys/class/net/bonding_masters", "bond0 bond1\n"},
            {"sys/class/net/bond0/bonding/slaves", "eth0 eth1\n"},
            {"sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n"},
            {"sys/class/net/bond0/slave_eth1/bonding_slave/mii_status", "down\n"},
            {"sys/class/net/bond1/bonding/slaves", "\n"}},
           "node_bonding_slaves{master=\"bond0\"} 2\n"
           "node_bonding_active{master=\"bond0\"} 1\n"
           "node_bonding_slaves{master=\"bond1\"} 0\n"
           "node_bonding_active{master=\"bond1\"} 0\n",
           ""},
          {"a slave without status",
           {{"sys/class/net/bonding_masters", "bond0 bond1\n"},
            {"sys/class/net/bond0/bonding/slaves", "eth0 eth1\n"},
            {"sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n"},
            {"sys/class/net/bond0/slave_eth1/bonding_slave/mii_status", "down\n"},
            {"sys/class/net/bond1/bonding/slaves", "eth9\n"}},
           "node_bonding_slaves{master=\"bond0\"} 2\n"
           "node_bonding_active{master=\"bond0\"} 1\n"
           "node_bonding_slaves{master=\"bond1\"} 1\n",
           "gone: /sys/class/net/bond1/slave_eth9/bonding_slave/mii_status: No such file or directory (ENOENT)"},
          {"no bonds", {{"sys/class/net/bonding_masters", "\n"}}, "", ""},
          {"module not loaded", {}, "", "absent: /sys/class/net/bonding_masters: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
