// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Dmi, Cases) {
  check_cases("dmi",
              {
                  {"some files",
                   {{"sys/class/dmi/id/bios_vendor", "Example Inc.\n"},
                    {"sys/class/dmi/id/sys_vendor", "\377 x\n"},
                    {"sys/class/dmi/id/modalias", "m\n"},
                    {"sys/class/dmi/id/product_name", "\n"}},
                   "node_dmi_info{bios_vendor=\"Example Inc.\",product_name=\"\",system_vendor=\"\357\277\275 x\"} 1\n",
                   ""},
                  {"no DMI", {}, "", "absent: /sys/class/dmi/id: nothing to read; this machine has no DMI"},
              });
}

}  // namespace vitald
