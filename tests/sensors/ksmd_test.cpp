// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Ksmd, Cases) {
  check_cases("ksmd", {
                          {"some files",
                           {{"sys/kernel/mm/ksm/full_scans", "886\n"},
                            {"sys/kernel/mm/ksm/general_profit", "-64\n"},
                            {"sys/kernel/mm/ksm/sleep_millisecs", "20\n"},
                            {"sys/kernel/mm/ksm/run", "x\n"}},
                           "node_ksmd_full_scans_total 886\n"
                           "node_ksmd_general_profit_bytes -64\n"
                           "node_ksmd_sleep_seconds 0.02\n",
                           ""},
                          {"no KSM", {}, "", ""},
                      });
}

}  // namespace vitald
