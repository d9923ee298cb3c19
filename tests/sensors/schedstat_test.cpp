// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Schedstat, Cases) {
  check_cases("schedstat",
              {
                  {"version 15",
                   {{"proc/schedstat",
                     "version 15\n"
                     "timestamp 15819019232\n"
                     "cpu0 498494191 0 3533438552 2553969831 3853684107 2465731542 2045936778163039 343796328169361 "
                     "4767485306\n"
                     "domain0 00000000,00000003 212499247\n"}},
                   "node_schedstat_running_seconds_total{cpu=\"0\"} 2045936.778163039\n"
                   "node_schedstat_waiting_seconds_total{cpu=\"0\"} 343796.328169361\n"
                   "node_schedstat_timeslices_total{cpu=\"0\"} 4767485306\n",
                   ""},
                  {"torn",
                   {{"proc/schedstat", "cpu0 1 2 3 4 5 6 7 8"}},
                   "",
                   "malformed: /proc/schedstat: 'cpu0 1 2 3 4 5 6 7 8': nine numbers expected"},
                  {"empty", {{"proc/schedstat", ""}}, "", ""},
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
