// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

TEST(PowerSupplyClass, Cases) {
  struct Case {
    const char* name;
    Tree tree;  // below sys/class/power_supply
    FlagValues flags;
    const char *text, *problem;
  };
  const Case cases[] = {
      {"mains and battery",
       {{"AC/online", "0\n"},
        {"AC/type", "Mains\n"},
        {"BAT0/capacity", "81\n"},
        {"BAT0/energy_now", "41200000\n"},
        {"BAT0/power_now", "8226000\n"},
        {"BAT0/temp", "-15\n"},
        {"BAT0/cycle_count", "7\n"},
        {"BAT0/time_to_empty_now", "3600\n"},
        {"BAT0/type", "Battery\n"},
        {"BAT0/status", "Discharging\n"},
        {"BAT0/model_name", "LNV \xff\n"}},
       {},
       "node_power_supply_online{power_supply=\"AC\"} 0\n"
       "node_power_supply_info{power_supply=\"AC\",type=\"Mains\"} 1\n"
       "node_power_supply_capacity{power_supply=\"BAT0\"} 81\n"
       "node_power_supply_cyclecount{power_supply=\"BAT0\"} 7\n"
       "node_power_supply_time_to_empty_seconds{power_supply=\"BAT0\"} 3600\n"
       "node_power_supply_energy_watthour{power_supply=\"BAT0\"} 41.2\n"
       "node_power_supply_power_watt{power_supply=\"BAT0\"} 8.226\n"
       "node_power_supply_temp_celsius{power_supply=\"BAT0\"} -1.5\n"
       "node_power_supply_info{model_name=\"LNV "
       "\xef\xbf\xbd\",power_supply=\"BAT0\",status=\"Discharging\",type=\"Battery\"} 1\n",
       ""},
      {"no number costs only itself",
       {{"B/capacity", "many"}, {"B/present", "1"}},
       {},
       "node_power_supply_present{power_supply=\"B\"} 1\nnode_power_supply_info{power_supply=\"B\"} 1\n",
       "malformed: /sys/class/power_supply/B/capacity: 'many': a number expected"},
      {"a smart battery that does not know",
       {{"B/capacity", "255\n"},
        {"B/cycle_count", "65535\n"},
        {"B/voltage_now", "65535000\n"},
        {"B/charge_full_design", "65535000\n"},
        {"B/energy_full_design", "655350000\n"},
        {"B/current_now", "65534000\n"},
        {"B/time_to_empty_now", "3932100\n"}},
       {},
       "node_power_supply_current_ampere{power_supply=\"B\"} 65.534\nnode_power_supply_info{power_supply=\"B\"} 1\n",
       ""},
      {"ignored",
       {{"A/online", "1"}, {"B/online", "1"}},
       {{"collector.powersupply.ignored-supplies", "^A$"}},
       "node_power_supply_online{power_supply=\"B\"} 1\nnode_power_supply_info{power_supply=\"B\"} 1\n",
       ""},
      {"what we do not know",
       {{"B/uevent", "X=1"}, {"B/charge_start_threshold", "40"}},
       {},
       "node_power_supply_info{power_supply=\"B\"} 1\n",
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Tree tree;
    for (const auto& [path, content] : c.tree) tree["sys/class/power_supply/" + path] = content;
    const auto got = run_collector("powersupplyclass", tree, c.flags);
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, "");
    EXPECT_EQ(got.problems.empty() ? "" : got.problems[0], c.problem);
  }
}

TEST(PowerSupplyClass, Help) {
  const auto got = run_collector("powersupplyclass", {{"sys/class/power_supply/B/voltage_now", "1"}});
  EXPECT_EQ(got.types,
            "node_power_supply_voltage_volt gauge voltage_volt value of /sys/class/power_supply/<power_supply>.\n"
            "node_power_supply_info gauge info of /sys/class/power_supply/<power_supply>.\n");
}

TEST(PowerSupplyClass, Nothing) {
  EXPECT_EQ(run_collector("powersupplyclass", {}).error,
            "absent: /sys/class/power_supply: No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace vitald
