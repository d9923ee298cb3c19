// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Cgroups, Cases) {
  check_cases("cgroups",
              {
                  {"two controllers",
                   {{"proc/cgroups",
                     "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
                     "cpuset\t5\t47\t1\n"
                     "cpu\t3\t118\t0\n"}},
                   "node_cgroups_cgroups{subsys_name=\"cpuset\"} 47\n"
                   "node_cgroups_enabled{subsys_name=\"cpuset\"} 1\n"
                   "node_cgroups_cgroups{subsys_name=\"cpu\"} 118\n"
                   "node_cgroups_enabled{subsys_name=\"cpu\"} 0\n",
                   ""},
                  {"torn",
                   {{"proc/cgroups", "cpuset\t5"}},
                   "",
                   "malformed: /proc/cgroups: 'cpuset\t5': a name and three numbers expected"},
                  {"empty", {{"proc/cgroups", ""}}, "", "malformed: /proc/cgroups: '': a line of names expected"},
                  {"no file", {}, "", "gone: /proc/cgroups: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
