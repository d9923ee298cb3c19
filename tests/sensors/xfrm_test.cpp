// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Xfrm, Cases) {
  check_cases("xfrm", {
                          {"as since 6.10",
                           {{"proc/net/xfrm_stat",
                             "XfrmInError             \t1\n"
                             "XfrmNewInKernel 7\n"
                             "XfrmAcquireError        \t14009\n"}},
                           "node_xfrm_in_error_packets_total 1\n"
                           "node_xfrm_acquire_error_packets_total 14009\n",
                           ""},
                          {"torn",
                           {{"proc/net/xfrm_stat", "XfrmInError"}},
                           "",
                           "malformed: /proc/net/xfrm_stat: 'XfrmInError': a name and a number expected"},
                          {"no file", {}, "", "gone: /proc/net/xfrm_stat: No such file or directory (ENOENT)"},
                      });
}

}  // namespace vitald
