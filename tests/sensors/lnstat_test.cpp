// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Lnstat, Cases) {
  check_cases("lnstat",
              {
                  {"two tables",
                   {{"proc/net/stat/arp_cache",
                     "entries  allocs destroys\n"
                     "0000001e  00000001 0000000a\n"
                     "0000001e  0000000d 0000000e\n"},
                    {"proc/net/stat/ndisc_cache",
                     "entries\n"
                     "00000001\n"}},
                   "node_lnstat_entries_total{cpu=\"0\",subsystem=\"arp_cache\"} 30\n"
                   "node_lnstat_allocs_total{cpu=\"0\",subsystem=\"arp_cache\"} 1\n"
                   "node_lnstat_destroys_total{cpu=\"0\",subsystem=\"arp_cache\"} 10\n"
                   "node_lnstat_entries_total{cpu=\"1\",subsystem=\"arp_cache\"} 30\n"
                   "node_lnstat_allocs_total{cpu=\"1\",subsystem=\"arp_cache\"} 13\n"
                   "node_lnstat_destroys_total{cpu=\"1\",subsystem=\"arp_cache\"} 14\n"
                   "node_lnstat_entries_total{cpu=\"0\",subsystem=\"ndisc_cache\"} 1\n",
                   ""},
                  {"torn",
                   {{"proc/net/stat/arp_cache",
                     "entries  allocs destroys\n"
                     "0000001e  0000"}},
                   "node_lnstat_entries_total{cpu=\"0\",subsystem=\"arp_cache\"} 30\n"
                   "node_lnstat_allocs_total{cpu=\"0\",subsystem=\"arp_cache\"} 0\n",
                   "malformed: /proc/net/stat/arp_cache: '0000001e  0000': a hexadecimal number per column expected"},
                  {"the rows are those of the possible CPUs, a name that is no metric name",
                   {{"proc/net/stat/arp_cache", "entries  un-res\n0000000a 00000001\n0000000b 00000002\n"},
                    {"sys/devices/system/cpu/possible", "0,2\n"}},
                   "node_lnstat_entries_total{cpu=\"0\",subsystem=\"arp_cache\"} 10\n"
                   "node_lnstat_un_res_total{cpu=\"0\",subsystem=\"arp_cache\"} 1\n"
                   "node_lnstat_entries_total{cpu=\"2\",subsystem=\"arp_cache\"} 11\n"
                   "node_lnstat_un_res_total{cpu=\"2\",subsystem=\"arp_cache\"} 2\n",
                   ""},
                  {"a name that had to be cleaned does not take another's place",
                   {{"proc/net/stat/arp_cache", "un-res  un_res\n0000000a 00000001\n"}},
                   "node_lnstat_un_res_total{cpu=\"0\",subsystem=\"arp_cache\"} 1\n",
                   ""},
                  {"empty",
                   {{"proc/net/stat/arp_cache", ""}},
                   "",
                   "malformed: /proc/net/stat/arp_cache: '': a line of names and a row per CPU expected"},
                  {"no folder", {}, "", ""},
              });
}

}  // namespace vitald
