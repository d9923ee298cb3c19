// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Filefd, Cases) {
  check_cases(
      "filefd",
      {
          {"normal",
           {{"proc/sys/fs/file-nr", "2112\t0\t1449064\n"}},
           "node_filefd_allocated 2112\n"
           "node_filefd_maximum 1449064\n",
           ""},
          {"maximum of a large host",
           {{"proc/sys/fs/file-nr", "2112\t0\t9223372036854775807\n"}},
           "node_filefd_allocated 2112\n"
           "node_filefd_maximum 9.223372036854776e+18\n",
           ""},
          {"torn",
           {{"proc/sys/fs/file-nr", "2112\t0"}},
           "",
           "malformed: /proc/sys/fs/file-nr: '2112\t0': three numbers expected"},
          {"empty", {{"proc/sys/fs/file-nr", ""}}, "", "malformed: /proc/sys/fs/file-nr: '': three numbers expected"},
          {"no file", {}, "", "gone: /proc/sys/fs/file-nr: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
