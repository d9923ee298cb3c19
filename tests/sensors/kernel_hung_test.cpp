// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(KernelHung, Cases) {
  check_cases(
      "kernel_hung",
      {
          {"normal", {{"proc/sys/kernel/hung_task_detect_count", "5\n"}}, "node_kernel_hung_tasks_total 5\n", ""},
          {"torn",
           {{"proc/sys/kernel/hung_task_detect_count", ""}},
           "",
           "malformed: /proc/sys/kernel/hung_task_detect_count: '': a number expected"},
          {"before 6.13",
           {},
           "",
           "absent: /proc/sys/kernel/hung_task_detect_count: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
