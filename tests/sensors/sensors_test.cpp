// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "sensors/hwmon/sensor_state.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using enum SensorState;

TEST(Sensors, States) {
  struct Case {
    const char* name;
    SensorLimits limits;
    SensorState before;
    std::optional<SensorState> want;
  };
  const Case cases[] = {
      {"nothing to judge by", {.value = 40}, ok, std::nullopt},
      {"within", {.value = 40, .max = 80, .crit = 100}, ok, ok},
      {"at max", {.value = 80, .max = 80, .crit = 100, .temperature = true}, ok, warning},
      {"at crit", {.value = 100, .max = 80, .crit = 100}, ok, critical},
      {"at emergency", {.value = 110, .max = 80, .crit = 100, .emergency = 110}, ok, emergency},
      {"hysteresis holds a warning", {.value = 77, .max = 80, .max_hyst = 75}, warning, warning},
      {"until it is left", {.value = 75, .max = 80, .max_hyst = 75}, warning, ok},
      {"and does not make one", {.value = 77, .max = 80, .max_hyst = 75}, ok, ok},
      {"critical falls to warning",
       {.value = 90, .max = 80, .crit = 100, .max_hyst = 75, .crit_hyst = 95},
       critical,
       warning},
      {"a hysteresis above its limit is none", {.value = 79, .max = 80, .max_hyst = 85}, warning, ok},
      {"too low", {.value = 11.1, .min = 11.4, .max = 12.6}, ok, warning},
      {"far too low", {.value = 10, .min = 11.4, .max = 12.6, .lcrit = 10.8, .crit = 13}, ok, critical},
      {"a stopped fan", {.value = 0, .min = 600}, ok, warning},
      {"a fan without a minimum", {.value = 0, .min = 0}, ok, ok},
      {"below freezing", {.value = -10, .min = -40, .max = -5}, ok, ok},
      {"limits nobody has set, with the alarms they cause", {.value = 1.024, .min = 0, .max = 0, .alarm = 1}, ok, ok},
      {"an upper limit of 0 alone", {.value = 30, .max = 0}, ok, ok},
      {"the chip's alarm", {.value = 40, .alarm = 1}, ok, warning},
      {"of one limit", {.value = 40, .crit = 100, .crit_alarm = 1}, ok, critical},
      {"intrusion", {.alarm = 1}, ok, warning},
      {"power cap", {.value = 500, .cap_alarm = 1}, ok, warning},
      {"fault wins", {.value = 127, .max = 80, .crit = 100, .fault = 1}, ok, fault},
      {"no value: the alarms still count", {.max = 80, .max_alarm = 1}, ok, warning},
      {"no value and no alarm: nobody knows", {.max = 80, .crit = 100}, critical, std::nullopt},
      {"no value: the chip says that nothing is amiss", {.max = 80, .max_alarm = 0}, critical, ok},
      {"no value: the sensor is not broken", {.crit = 100, .fault = 0}, ok, ok},
      // The alarm of a limit that nobody has set is against nothing.
      {"an upper limit of 0, the chip's alarm", {.value = 30, .max = 0, .alarm = 1}, ok, ok},
      {"an upper limit of 0, its alarm", {.value = 30, .max = 0, .max_alarm = 1}, ok, ok},
      {"a critical limit of 0, its alarm", {.value = 30, .crit = 0, .crit_alarm = 1}, ok, ok},
      {"an emergency limit of 0, its alarm", {.value = 30, .emergency = 0, .emergency_alarm = 1}, ok, ok},
      {"no fan, no minimum, an alarm", {.value = 0, .min = 0, .alarm = 1}, ok, ok},
      {"a minimum of 0, its alarm", {.value = 0, .min = 0, .min_alarm = 1}, ok, ok},
      {"emergency 0 above the coldest there is", {.value = 45, .lcrit = -55, .emergency = 0}, ok, ok},
      {"critical 0 above the coldest there is", {.value = 45, .lcrit = -40, .crit = 0}, ok, ok},
      {"maximum 0 above the coldest there is", {.value = 45, .min = -128, .max = 0, .max_alarm = 1}, ok, ok},
      {"emergency 0 below critical", {.value = 45, .lcrit = -10, .crit = 100, .emergency = 0}, ok, ok},
      {"emergency not above the lower one", {.value = 60, .lcrit = 50, .emergency = 40, .emergency_alarm = 1}, ok, ok},
      {"one that is set beside one that is not", {.value = 45, .max = 0, .crit = 100, .alarm = 1}, ok, ok},
      {"its own alarm still counts", {.value = 45, .max = 0, .crit = 100, .crit_alarm = 1}, ok, critical},
      {"a freezer's limits", {.value = 1, .min = -25, .max = 0}, ok, warning},
      {"a lower limit of 0 alone", {.value = -5, .min = 0}, ok, ok},
      {"of two it is one", {.value = -5, .min = 0, .max = 80}, ok, warning},
      {"an alarm where only critical limits are", {.value = 45, .crit = 100, .alarm = 1}, ok, warning},
      // Registers that hold what they happened to (it87).
      {"temperature: low -89, high -20",
       {.value = 51, .min = -89, .max = -20, .alarm = 1, .temperature = true},
       ok,
       ok},
      {"temperature: low -102, high -74",
       {.value = 31, .min = -102, .max = -74, .max_alarm = 1, .temperature = true},
       ok,
       ok},
      {"temperature: high below low", {.value = 127, .min = 31, .max = -65, .alarm = 1, .temperature = true}, ok, ok},
      {"temperature: critical -63 alone", {.value = 45, .crit = -63, .crit_alarm = 1, .temperature = true}, ok, ok},
      {"temperature: low -128, high 0", {.value = 45, .min = -128, .max = 0, .alarm = 1, .temperature = true}, ok, ok},
      {"temperature: one that is set beside one that is not",
       {.value = 110, .min = -89, .max = -20, .crit = 105, .temperature = true},
       ok,
       critical},
      {"temperature: a cold lower limit counts beside an upper one that does",
       {.value = -45, .min = -40, .max = 85, .temperature = true},
       ok,
       warning},
      {"temperature: a freezer's limits", {.value = -4, .min = -30, .max = -10, .temperature = true}, ok, warning},
      {"a voltage below 0 has limits below 0", {.value = -11, .min = -13.2, .max = -11.4}, ok, warning},
      // it8792 at power-on: a channel that is not connected is at the end of its scale, and so are its limits.
      {"volts: limits nobody has set, the value at the end of the scale",
       {.value = 2.78, .min = 0, .max = 2.78, .alarm = 1, .electric = true},
       ok,
       ok},
      {"volts: the same by the maximum's alarm",
       {.value = 2.78, .min = 0, .max = 2.78, .max_alarm = 1, .electric = true},
       ok,
       ok},
      {"volts: the same at the other end",
       {.value = 0, .min = 0, .max = 2.78, .alarm = 1, .min_alarm = 1, .electric = true},
       ok,
       ok},
      {"volts: an alarm within the limits",
       {.value = 1.02, .min = 0.9, .max = 1.1, .alarm = 1, .electric = true},
       ok,
       ok},
      {"volts: a supply that lost its input, at the end of what its hard limits can say",
       {.value = 0, .lcrit = 0, .crit = 264, .lcrit_alarm = 1, .electric = true},
       ok,
       critical},
      {"volts: an alarm where one plain limit is shown",
       {.value = 0.1, .max = 13, .alarm = 1, .electric = true},
       ok,
       warning},
      {"volts: beyond them", {.value = 1.2, .min = 0.9, .max = 1.1, .alarm = 1, .electric = true}, ok, warning},
      {"volts: an alarm whose value cannot be read", {.min = 0.9, .max = 1.1, .alarm = 1, .electric = true}, ok, {}},
      {"volts: an alarm of a chip that shows no limit", {.value = 1.2, .alarm = 1, .electric = true}, ok, warning},
      {"volts: too much for the alarm of a maximum that is set",
       {.value = 1.02, .min = 0.9, .max = 1.1, .max_alarm = 1, .electric = true},
       ok,
       warning},
      {"a supply that gives all it may", {.value = 20, .min = 5, .max = 20}, ok, ok},
      {"a temperature at its limit", {.value = 80, .max = 80, .temperature = true}, ok, warning},
      {"a hysteresis of 0 is none", {.value = 30, .max = 80, .max_hyst = 0}, warning, ok},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(judge_sensor(c.limits, c.before), c.want);
  }
}

// With real chips: mount_namespace_test.
TEST(Sensors, OnlyTheRealSys) {
  EXPECT_EQ(run_collector("sensors", {{"sys/class/hwmon/hwmon0/name", "x"}}).error,
            "absent: libsensors reads /sys and nothing else");
}

}  // namespace
}  // namespace vitald
