// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Cpuidle, Cases) {
  check_cases("cpuidle", {
                             {"two CPUs, one without states",
                              {{"sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state0/time", "2500000\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state0/usage", "17\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C1_ACPI\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state1/time", "18446744073709\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state1/usage", "3\n"},
                               {"sys/devices/system/cpu/cpu1/online", "1\n"},
                               {"sys/devices/system/cpu/cpuidle/current_driver", "intel_idle\n"}},
                              "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"POLL\"} 2.5\n"
                              "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"C1_ACPI\"} 18446744.073709\n"
                              "vitald_cpu_idle_state_entries_total{cpu=\"0\",state=\"POLL\"} 17\n"
                              "vitald_cpu_idle_state_entries_total{cpu=\"0\",state=\"C1_ACPI\"} 3\n",
                              ""},
                             {"a state without a name is called by its folder",
                              {{"sys/devices/system/cpu/cpu0/cpuidle/state2/name", "\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state2/time", "1\n"}},
                              "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"state2\"} 1e-06\n",
                              ""},
                             {"not a number",
                              {{"sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"},
                               {"sys/devices/system/cpu/cpu0/cpuidle/state0/time", "many\n"}},
                              "",
                              ""},
                             {"a machine without", {{"sys/devices/system/cpu/cpu0/online", "1\n"}}, "", ""},
                             {"no CPU folder", {}, "", ""},
                         });
}

}  // namespace vitald
