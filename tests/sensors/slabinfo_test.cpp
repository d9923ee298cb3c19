// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Slabinfo, Cases) {
  check_cases("slabinfo",
              {
                  {"two slabs",
                   {{"proc/slabinfo",
                     "slabinfo - version: 2.1\n"
                     "# name            <active_objs> ...\n"
                     "tw_sock_TCP          498    932    320   24    2 : tunables    0    0    0 : slabdata     27     "
                     "27      0\n"
                     "kmalloc-8k 1 2 3 4 5 : x\n"}},
                   "node_slabinfo_active_objects{slab=\"tw_sock_TCP\"} 498\n"
                   "node_slabinfo_objects{slab=\"tw_sock_TCP\"} 932\n"
                   "node_slabinfo_object_size_bytes{slab=\"tw_sock_TCP\"} 320\n"
                   "node_slabinfo_objects_per_slab{slab=\"tw_sock_TCP\"} 24\n"
                   "node_slabinfo_pages_per_slab{slab=\"tw_sock_TCP\"} 2\n"
                   "node_slabinfo_active_objects{slab=\"kmalloc-8k\"} 1\n"
                   "node_slabinfo_objects{slab=\"kmalloc-8k\"} 2\n"
                   "node_slabinfo_object_size_bytes{slab=\"kmalloc-8k\"} 3\n"
                   "node_slabinfo_objects_per_slab{slab=\"kmalloc-8k\"} 4\n"
                   "node_slabinfo_pages_per_slab{slab=\"kmalloc-8k\"} 5\n",
                   ""},
                  {"excluded",
                   {{"proc/slabinfo",
                     "slabinfo - version: 2.1\n"
                     "# name            <active_objs> ...\n"
                     "tw_sock_TCP          498    932    320   24    2 : tunables    0    0    0 : slabdata     27     "
                     "27      0\n"
                     "kmalloc-8k 1 2 3 4 5 : x\n"}},
                   "node_slabinfo_active_objects{slab=\"tw_sock_TCP\"} 498\n"
                   "node_slabinfo_objects{slab=\"tw_sock_TCP\"} 932\n"
                   "node_slabinfo_object_size_bytes{slab=\"tw_sock_TCP\"} 320\n"
                   "node_slabinfo_objects_per_slab{slab=\"tw_sock_TCP\"} 24\n"
                   "node_slabinfo_pages_per_slab{slab=\"tw_sock_TCP\"} 2\n",
                   "",
                   {{"collector.slabinfo.slabs-exclude", "^kmalloc"}}},
                  {"torn",
                   {{"proc/slabinfo", "tw_sock_TCP          498    932"}},
                   "",
                   "malformed: /proc/slabinfo: 'tw_sock_TCP          498    932': a name and five numbers expected"},
                  {"two caches of one name",
                   {{"proc/slabinfo",
                     "slabinfo - version: 2.1\nnic_ftes 44 44 736 44 8 :\ndentry 9 10 192 21 1 :\nnic_ftes 396 400 736 "
                     "44 8 :\n"}},
                   "node_slabinfo_active_objects{slab=\"nic_ftes\"} 440\nnode_slabinfo_objects{slab=\"nic_ftes\"} 444\n"
                   "node_slabinfo_object_size_bytes{slab=\"nic_ftes\"} 736\n"
                   "node_slabinfo_objects_per_slab{slab=\"nic_ftes\"} 44\n"
                   "node_slabinfo_pages_per_slab{slab=\"nic_ftes\"} 8\n"
                   "node_slabinfo_active_objects{slab=\"dentry\"} 9\nnode_slabinfo_objects{slab=\"dentry\"} 10\n"
                   "node_slabinfo_object_size_bytes{slab=\"dentry\"} 192\n"
                   "node_slabinfo_objects_per_slab{slab=\"dentry\"} 21\n"
                   "node_slabinfo_pages_per_slab{slab=\"dentry\"} 1\n",
                   ""},
                  {"empty", {{"proc/slabinfo", ""}}, "", "malformed: /proc/slabinfo: '': lines of caches expected"},
                  {"no file", {}, "", "gone: /proc/slabinfo: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
