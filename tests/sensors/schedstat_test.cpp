// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Schedstat, Cases) {
  check_cases("schedstat",
              {
                  {"version 15",
                   {{"proc/schedstat",
                     "version 15\n"
                     "timestamp 13596659048\n"
                     "cpu0 774967266 0 1156047857 6812915871 6940518897 2968291618 1699574409556972 176596360891993 "
                     "5602795035\n"
                     "domain0 00000000,00000003 344171663\n"}},
                   "node_schedstat_running_seconds_total{cpu=\"0\"} 1699574.409556972\n"
                   "node_schedstat_waiting_seconds_total{cpu=\"0\"} 176596.360891993\n"
                   "node_schedstat_timeslices_total{cpu=\"0\"} 5602795035\n",
                   ""},
                  {"torn",
                   {{"proc/schedstat", "cpu0 1 2 3 4 5 6 7 8"}},
                   "",
                   "malformed: /proc/schedstat: 'cpu0 1 2 3 4 5 6 7 8': nine numbers expected"},
                  {"empty", {{"proc/schedstat", ""}}, "", "malformed: /proc/schedstat: '': lines of CPUs expected"},
                  {"not text",
                   {{"proc/schedstat", "cpu0 a b c\n"}},
                   "",
                   "malformed: /proc/schedstat: 'cpu0 a b c': nine numbers expected"},
                  {"too big",
                   {{"proc/schedstat", "cpu0 1 2 3 4 5 6 99999999999999999999 8 9\n"}},
                   "",
                   "malformed: /proc/schedstat: 'cpu0 1 2 3 4 5 6 99999999999999999999 8 9': nine numbers expected"},
                  {"no file", {}, "", "absent: /proc/schedstat: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
