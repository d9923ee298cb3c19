// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Swap, Cases) {
  check_cases("swap", {
                          {"two devices",
                           {{"proc/swaps",
                             "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
                             "/dev/zram0                              partition\t4194300\t\t92\t\t100\n"
                             "/var/swap\\040file  file\t1024\t\t0\t\t-2\n"}},
                           "node_swap_size_bytes{device=\"/dev/zram0\",swap_type=\"partition\"} 4294963200\n"
                           "node_swap_used_bytes{device=\"/dev/zram0\",swap_type=\"partition\"} 94208\n"
                           "node_swap_priority{device=\"/dev/zram0\",swap_type=\"partition\"} 100\n"
                           "node_swap_size_bytes{device=\"/var/swap\\\\040file\",swap_type=\"file\"} 1048576\n"
                           "node_swap_used_bytes{device=\"/var/swap\\\\040file\",swap_type=\"file\"} 0\n"
                           "node_swap_priority{device=\"/var/swap\\\\040file\",swap_type=\"file\"} -2\n",
                           ""},
                          {"none", {{"proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"}}, "", ""},
                          {"torn",
                           {{"proc/swaps",
                             "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
                             "/dev/zram0 partition 83"}},
                           "",
                           "malformed: /proc/swaps: '/dev/zram0 partition 83': two words and three numbers expected"},
                          {"empty", {{"proc/swaps", ""}}, "", "malformed: /proc/swaps: '': a line of names expected"},
                          {"no file", {}, "", "gone: /proc/swaps: No such file or directory (ENOENT)"},
                      });
}

}  // namespace vitald
