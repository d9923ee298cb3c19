// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Zoneinfo, Cases) {
  check_cases("zoneinfo",
              {
                  {"two zones",
                   {{"proc/zoneinfo",
                     "Node 0, zone      DMA\n"
                     "  per-node stats\n"
                     "      nr_inactive_anon 23591\n"
                     "      nr_free_pages 7\n"
                     "  pages free     5105\n"
                     "        boost    0\n"
                     "        min      11\n"
                     "        protection: (0, 5223)\n"
                     "      nr_free_pages 5105\n"
                     "  pagesets\n"
                     "    cpu: 0\n"
                     "              high:  0\n"
                     "Node 1, zone   Normal\n"
                     "  pages free 1\n"
                     "        low 3\n"
                     "        protection: (0, 0)\n"}},
                   "node_zoneinfo_nr_free_pages{node=\"0\",zone=\"DMA\"} 5105\n"
                   "node_zoneinfo_min_pages{node=\"0\",zone=\"DMA\"} 11\n"
                   "node_zoneinfo_nr_inactive_anon_pages{node=\"0\",zone=\"DMA\"} 23591\n"
                   "node_zoneinfo_protection_0{node=\"0\",zone=\"DMA\"} 0\n"
                   "node_zoneinfo_protection_1{node=\"0\",zone=\"DMA\"} 5223\n"
                   "node_zoneinfo_low_pages{node=\"1\",zone=\"Normal\"} 3\n"
                   "node_zoneinfo_protection_0{node=\"1\",zone=\"Normal\"} 0\n"
                   "node_zoneinfo_protection_1{node=\"1\",zone=\"Normal\"} 0\n",
                   ""},
                  {"torn",
                   {{"proc/zoneinfo",
                     "Node 0, zone      DMA\n"
                     "      nr_free_pages "}},
                   "",
                   "malformed: /proc/zoneinfo: '      nr_free_pages ': a number expected"},
                  {"torn header",
                   {{"proc/zoneinfo", "Node 0, "}},
                   "",
                   "malformed: /proc/zoneinfo: 'Node 0, ': 'Node N, zone NAME' expected"},
                  {"empty", {{"proc/zoneinfo", ""}}, "", "malformed: /proc/zoneinfo: '': 'Node N, zone NAME' expected"},
                  {"no file", {}, "", "gone: /proc/zoneinfo: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
