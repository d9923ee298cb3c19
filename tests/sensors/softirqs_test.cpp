// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Softirqs, Cases) {
  check_cases("softirqs",
              {
                  {"two CPUs",
                   {{"proc/softirqs",
                     "                    CPU0       CPU1       \n"
                     "          HI:          7          1\n"
                     "    IRQ_POLL:          0          3\n"}},
                   "node_softirqs_functions_total{cpu=\"0\",type=\"HI\"} 7\n"
                   "node_softirqs_functions_total{cpu=\"1\",type=\"HI\"} 1\n"
                   "node_softirqs_functions_total{cpu=\"0\",type=\"IRQ_POLL\"} 0\n"
                   "node_softirqs_functions_total{cpu=\"1\",type=\"IRQ_POLL\"} 3\n",
                   ""},
                  {"torn",
                   {{"proc/softirqs",
                     "   CPU0\n"
                     "  HI:   7 x\n"}},
                   "",
                   "malformed: /proc/softirqs: '  HI:   7 x': a number per CPU expected"},
                  {"CPUs that there are not have no column, a bad line costs itself",
                   {{"proc/softirqs", "   CPU0  CPU3\n HI: 1 x\n TIMER: 2 3\n"}},
                   "node_softirqs_functions_total{cpu=\"0\",type=\"HI\"} 1\n"
                   "node_softirqs_functions_total{cpu=\"0\",type=\"TIMER\"} 2\n"
                   "node_softirqs_functions_total{cpu=\"3\",type=\"TIMER\"} 3\n",
                   "malformed: /proc/softirqs: ' HI: 1 x': a number per CPU expected"},
                  {"empty", {{"proc/softirqs", ""}}, "", "malformed: /proc/softirqs: '': a line of CPUs expected"},
                  {"no file", {}, "", "gone: /proc/softirqs: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
