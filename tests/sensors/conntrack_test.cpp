// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Conntrack, Cases) {
  check_cases(
      "conntrack",
      {
          {"two CPUs",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "146\n"},
            {"proc/sys/net/netfilter/nf_conntrack_max", "131072\n"},
            {"proc/net/stat/nf_conntrack",
             "entries  searched found new invalid ignore delete delete_list insert insert_failed drop "
             "early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
             "0000002d  00000000 00000001 00000000 00000003 00006b1f 00000000 00000000 00000000 00000000 "
             "00000002 00000004 00000000  00000000 00000000 00000000 00000005\n"
             "0000002d  00000000 00000001 00000000 00000003 00006b1f 00000000 00000000 00000000 00000000 "
             "00000002 00000004 00000000  00000000 00000000 00000000 00000005\n"}},
           "node_nf_conntrack_entries 146\n"
           "node_nf_conntrack_entries_limit 131072\n"
           "node_nf_conntrack_stat_drop 4\n"
           "node_nf_conntrack_stat_early_drop 8\n"
           "node_nf_conntrack_stat_found 2\n"
           "node_nf_conntrack_stat_ignore 54846\n"
           "node_nf_conntrack_stat_insert 0\n"
           "node_nf_conntrack_stat_insert_failed 0\n"
           "node_nf_conntrack_stat_invalid 6\n"
           "node_nf_conntrack_stat_search_restart 10\n",
           ""},
          {"no search_restart",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "146\n"},
            {"proc/sys/net/netfilter/nf_conntrack_max", "131072\n"},
            {"proc/net/stat/nf_conntrack",
             "entries  searched found new invalid ignore delete delete_list insert insert_failed drop "
             "early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
             "0000002d  00000000 00000001 00000000 00000003 00006b1f 00000000 00000000 00000000 00000000 "
             "00000002 00000004 00000000  00000000 00000000 00000000\n"}},
           "node_nf_conntrack_entries 146\n"
           "node_nf_conntrack_entries_limit 131072\n"
           "node_nf_conntrack_stat_drop 2\n"
           "node_nf_conntrack_stat_early_drop 4\n"
           "node_nf_conntrack_stat_found 1\n"
           "node_nf_conntrack_stat_ignore 27423\n"
           "node_nf_conntrack_stat_insert 0\n"
           "node_nf_conntrack_stat_insert_failed 0\n"
           "node_nf_conntrack_stat_invalid 3\n"
           "node_nf_conntrack_stat_search_restart 0\n",
           ""},
          {"a kernel without CONFIG_NF_CONNTRACK_PROCFS",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "5000\n"},
            {"proc/sys/net/netfilter/nf_conntrack_max", "262144\n"}},
           "node_nf_conntrack_entries 5000\nnode_nf_conntrack_entries_limit 262144\n",
           ""},
          {"no limit",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "123\n"}, {"proc/sys/net/netfilter/nf_conntrack_max", "0\n"}},
           "node_nf_conntrack_entries 123\n",
           ""},
          {"torn",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "146\n"},
            {"proc/sys/net/netfilter/nf_conntrack_max", "131072\n"},
            {"proc/net/stat/nf_conntrack",
             "entries  searched found new invalid ignore delete delete_list insert insert_failed drop "
             "early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
             "0000002d  00000000 00000001 00000000 00000003 00006b1f 00000"}},
           "node_nf_conntrack_entries 146\n"
           "node_nf_conntrack_entries_limit 131072\n",
           "malformed: /proc/net/stat/nf_conntrack: '0000002d  00000000 00000001 00000000 00000003 00006b1f "
           "00000': at least 16 columns expected"},
          {"not numbers",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "146\n"},
            {"proc/sys/net/netfilter/nf_conntrack_max", "131072\n"},
            {"proc/net/stat/nf_conntrack",
             "entries  searched found new invalid ignore delete delete_list insert insert_failed drop "
             "early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
             "x0000002d  00000000 00000001 00000000 00000003 00006b1f 00000000 00000000 00000000 00000000 "
             "00000002 00000004 00000000  00000000 00000000 00000000 00000005\n"}},
           "node_nf_conntrack_entries 146\n"
           "node_nf_conntrack_entries_limit 131072\n",
           "malformed: /proc/net/stat/nf_conntrack: 'x0000002d  00000000 00000001 00000000 00000003 00006b1f "
           "00000000 00000000 00000000 00000000 00000002 00000004 00000000  00000000 00000000 00000000 "
           "00000005': hexadecimal numbers expected"},
          {"empty",
           {{"proc/sys/net/netfilter/nf_conntrack_count", "146\n"},
            {"proc/sys/net/netfilter/nf_conntrack_max", "131072\n"},
            {"proc/net/stat/nf_conntrack", ""}},
           "node_nf_conntrack_entries 146\n"
           "node_nf_conntrack_entries_limit 131072\n",
           "malformed: /proc/net/stat/nf_conntrack: '': a line of names and a row per CPU expected"},
          {"module not loaded",
           {},
           "",
           "absent: /proc/sys/net/netfilter/nf_conntrack_count: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
