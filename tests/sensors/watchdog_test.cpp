// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Watchdog, Cases) {
  check_cases(
      "watchdog",
      {
          {"two timers",
           {{"sys/class/watchdog/watchdog0/bootstatus", "1\n"},
            {"sys/class/watchdog/watchdog0/timeout", "60\n"},
            {"sys/class/watchdog/watchdog0/access_cs0", "-1\n"},
            {"sys/class/watchdog/watchdog0/identity", "Software Watchdog\n"},
            {"sys/class/watchdog/watchdog0/options", "0x8180\n"},
            {"sys/class/watchdog/watchdog1/x", ""}},
           "node_watchdog_bootstatus{name=\"watchdog0\"} 1\n"
           "node_watchdog_timeout_seconds{name=\"watchdog0\"} 60\n"
           "node_watchdog_access_cs0{name=\"watchdog0\"} -1\n"
           "node_watchdog_info{identity=\"Software "
           "Watchdog\",name=\"watchdog0\",options=\"0x8180\",pretimeout_governor=\"\",state=\"\",status=\"\"} 1\n"
           "node_watchdog_info{identity=\"\",name=\"watchdog1\",options=\"\",pretimeout_governor=\"\",state=\"\","
           "status=\"\"} 1\n",
           ""},
          {"not a number",
           {{"sys/class/watchdog/watchdog0/timeleft", "x"}},
           "node_watchdog_info{identity=\"\",name=\"watchdog0\",options=\"\",pretimeout_governor=\"\",state=\"\","
           "status=\"\"} 1\n",
           ""},
          {"none", {}, "", "absent: /sys/class/watchdog: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
