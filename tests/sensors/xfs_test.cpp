// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Xfs, Cases) {
  check_cases("xfs", {
                         {"one filesystem beside the sums",
                          {{"sys/fs/xfs/sda1/stats/stats",
                            "extent_alloc 92447 97589 92448 93751\n"
                            "abt 0 0 0 0\n"
                            "blk_map 1767055 188820 184891 92447 92448 2140766 0\n"
                            "bmbt 1 2 3 4\n"
                            "dir 185039 92447 92444 136422\n"
                            "ig 185045 58807 0 126238 0 33637 22\n"
                            "rw 4 5\n"
                            "vnodes 92601 6 7 8 92444 92444 92444 0\n"
                            "unknown 1 2\n"},
                           {"sys/fs/xfs/stats/stats", "x"}},
                          "node_xfs_extent_allocation_extents_allocated_total{device=\"sda1\"} 92447\n"
                          "node_xfs_extent_allocation_blocks_allocated_total{device=\"sda1\"} 97589\n"
                          "node_xfs_extent_allocation_extents_freed_total{device=\"sda1\"} 92448\n"
                          "node_xfs_extent_allocation_blocks_freed_total{device=\"sda1\"} 93751\n"
                          "node_xfs_allocation_btree_lookups_total{device=\"sda1\"} 0\n"
                          "node_xfs_allocation_btree_compares_total{device=\"sda1\"} 0\n"
                          "node_xfs_allocation_btree_records_inserted_total{device=\"sda1\"} 0\n"
                          "node_xfs_allocation_btree_records_deleted_total{device=\"sda1\"} 0\n"
                          "node_xfs_block_mapping_reads_total{device=\"sda1\"} 1767055\n"
                          "node_xfs_block_mapping_writes_total{device=\"sda1\"} 188820\n"
                          "node_xfs_block_mapping_unmaps_total{device=\"sda1\"} 184891\n"
                          "node_xfs_block_mapping_extent_list_insertions_total{device=\"sda1\"} 92447\n"
                          "node_xfs_block_mapping_extent_list_deletions_total{device=\"sda1\"} 92448\n"
                          "node_xfs_block_mapping_extent_list_lookups_total{device=\"sda1\"} 2140766\n"
                          "node_xfs_block_mapping_extent_list_compares_total{device=\"sda1\"} 0\n"
                          "node_xfs_block_map_btree_lookups_total{device=\"sda1\"} 1\n"
                          "node_xfs_block_map_btree_compares_total{device=\"sda1\"} 2\n"
                          "node_xfs_block_map_btree_records_inserted_total{device=\"sda1\"} 3\n"
                          "node_xfs_block_map_btree_records_deleted_total{device=\"sda1\"} 4\n"
                          "node_xfs_directory_operation_lookup_total{device=\"sda1\"} 185039\n"
                          "node_xfs_directory_operation_create_total{device=\"sda1\"} 92447\n"
                          "node_xfs_directory_operation_remove_total{device=\"sda1\"} 92444\n"
                          "node_xfs_directory_operation_getdents_total{device=\"sda1\"} 136422\n"
                          "node_xfs_inode_operation_attempts_total{device=\"sda1\"} 185045\n"
                          "node_xfs_inode_operation_found_total{device=\"sda1\"} 58807\n"
                          "node_xfs_inode_operation_recycled_total{device=\"sda1\"} 0\n"
                          "node_xfs_inode_operation_missed_total{device=\"sda1\"} 126238\n"
                          "node_xfs_inode_operation_duplicates_total{device=\"sda1\"} 0\n"
                          "node_xfs_inode_operation_reclaims_total{device=\"sda1\"} 33637\n"
                          "node_xfs_inode_operation_attribute_changes_total{device=\"sda1\"} 22\n"
                          "node_xfs_write_calls_total{device=\"sda1\"} 4\n"
                          "node_xfs_read_calls_total{device=\"sda1\"} 5\n"
                          "node_xfs_vnode_active_total{device=\"sda1\"} 92601\n"
                          "node_xfs_vnode_allocate_total{device=\"sda1\"} 6\n"
                          "node_xfs_vnode_get_total{device=\"sda1\"} 7\n"
                          "node_xfs_vnode_hold_total{device=\"sda1\"} 8\n"
                          "node_xfs_vnode_release_total{device=\"sda1\"} 92444\n"
                          "node_xfs_vnode_reclaim_total{device=\"sda1\"} 92444\n"
                          "node_xfs_vnode_remove_total{device=\"sda1\"} 92444\n",
                          ""},
                         {"torn",
                          {{"sys/fs/xfs/sda1/stats/stats", "extent_alloc 92447 97589"}},
                          "node_xfs_extent_allocation_extents_allocated_total{device=\"sda1\"} 92447\n"
                          "node_xfs_extent_allocation_blocks_allocated_total{device=\"sda1\"} 97589\n",
                          "malformed: /sys/fs/xfs/sda1/stats/stats: 'extent_alloc 92447 97589': more numbers expected"},
                         {"empty",
                          {{"sys/fs/xfs/sda1/stats/stats", ""}},
                          "",
                          "malformed: /sys/fs/xfs/sda1/stats/stats: '': lines of numbers expected"},
                         {"no XFS", {}, "", ""},
                     });
}

}  // namespace vitald
