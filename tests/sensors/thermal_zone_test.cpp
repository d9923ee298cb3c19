// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

TEST(ThermalZone, Cases) {
  struct Case {
    const char* name;
    Tree tree;  // below sys/class/thermal
    const char *text, *error;
  };
  const Case cases[] = {
      {"zones and devices",
       {{"thermal_zone0/type", "cpu-thermal\n"},
        {"thermal_zone0/temp", "18065\n"},
        {"thermal_zone10/type", "acpitz"},
        {"thermal_zone10/temp", "-5000"},
        {"cooling_device0/type", "Processor\n"},
        {"cooling_device0/cur_state", "0\n"},
        {"cooling_device0/max_state", "3\n"},
        {"cooling_device1/type", "intel_powerclamp"},
        {"cooling_device1/cur_state", "-1"},
        {"cooling_device1/max_state", "50"}},
       "node_thermal_zone_temp{type=\"cpu-thermal\",zone=\"0\"} 18.065\n"
       "node_thermal_zone_temp{type=\"acpitz\",zone=\"10\"} -5\n"
       "node_cooling_device_cur_state{name=\"0\",type=\"Processor\"} 0\n"
       "node_cooling_device_max_state{name=\"0\",type=\"Processor\"} 3\n"
       "node_cooling_device_cur_state{name=\"1\",type=\"intel_powerclamp\"} -1\n"
       "node_cooling_device_max_state{name=\"1\",type=\"intel_powerclamp\"} 50\n",
       ""},
      {"no number is no value, and the others stay",
       {{"thermal_zone0/type", "a"},
        {"thermal_zone0/temp", "x"},
        {"thermal_zone1/type", "b"},
        {"thermal_zone1/temp", "1000"},
        {"thermal_zone2/type", "c"},
        {"thermal_zone3/type", "d"},
        {"thermal_zone3/temp", ""},
        {"cooling_device0/type", "e"}},
       "node_thermal_zone_temp{type=\"b\",zone=\"1\"} 1\n",
       ""},
      {"other things in the folder",
       {{"thermal_zone/temp", "1000"}, {"thermal_zonex/temp", "1000"}, {"thermal_message/x", "1"}},
       "",
       "absent: /sys/class/thermal: this machine has no thermal zone and no cooling device"},
      {"a type that is not text",
       {{"thermal_zone0/type", "\xff"}, {"thermal_zone0/temp", "99999"}},
       "node_thermal_zone_temp{type=\"\xef\xbf\xbd\",zone=\"0\"} 99.999\n",
       ""},
      {"nothing", {}, "", "absent: /sys/class/thermal: this machine has no thermal zone and no cooling device"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Tree tree;
    for (const auto& [path, content] : c.tree) tree["sys/class/thermal/" + path] = content;
    const auto got = run_collector("thermal_zone", tree);
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
  }
}

TEST(ThermalZone, Hotplug) {
  CollectorFixture f("thermal_zone", {{"sys/class/thermal/thermal_zone0/temp", "1000"}});
  EXPECT_EQ(f.run().text, "node_thermal_zone_temp{type=\"\",zone=\"0\"} 1\n");
  f.write("sys/class/thermal/thermal_zone0/temp", "2000");
  f.write("sys/class/thermal/thermal_zone1/temp", "3000");
  EXPECT_EQ(f.run().text,
            "node_thermal_zone_temp{type=\"\",zone=\"0\"} 2\nnode_thermal_zone_temp{type=\"\",zone=\"1\"} 3\n");
}

}  // namespace
}  // namespace vitald
