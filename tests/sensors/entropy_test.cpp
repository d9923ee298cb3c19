// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Entropy, Cases) {
  check_cases("entropy",
              {
                  {"normal",
                   {{"proc/sys/kernel/random/entropy_avail", "256\n"}, {"proc/sys/kernel/random/poolsize", "256\n"}},
                   "node_entropy_available_bits 256\n"
                   "node_entropy_pool_size_bits 256\n",
                   ""},
                  {"no pool size",
                   {{"proc/sys/kernel/random/entropy_avail", "256\n"}},
                   "node_entropy_available_bits 256\n",
                   "gone: /proc/sys/kernel/random/poolsize: No such file or directory (ENOENT)"},
                  {"empty",
                   {{"proc/sys/kernel/random/entropy_avail", ""}},
                   "",
                   "malformed: /proc/sys/kernel/random/entropy_avail: '': a number expected (and 1 more)"},
                  {"no file",
                   {},
                   "",
                   "gone: /proc/sys/kernel/random/entropy_avail: No such file or directory (ENOENT) (and 1 more)"},
              });
}

}  // namespace vitald
