// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Btrfs, Cases) {
  check_cases("btrfs",
              {
                  {"not mounted, raid5 of three",
                   {{"sys/fs/btrfs/0abb23a9-579b/label", "fixture\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/metadata_uuid", "0abb23a9-579b\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/global_rsv_size", "16777216\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/commit_stats",
                     "commits 258051\n"
                     "last_commit_ms 1000\n"
                     "max_commit_ms 51462\n"
                     "total_commit_ms 47836090\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/data/bytes_reserved", "7\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/data/raid5/total_bytes", "100\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/data/raid5/used_bytes", "50\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/devices/sda/size", "4\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/devices/sdb/size", "4\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/devices/sdc/size", "4\n"},
                    {"sys/fs/btrfs/features/x", "1"}},
                   "node_btrfs_info{label=\"fixture\",uuid=\"0abb23a9-579b\"} 1\n"
                   "node_btrfs_global_rsv_size_bytes{uuid=\"0abb23a9-579b\"} 16777216\n"
                   "node_btrfs_commits_total{uuid=\"0abb23a9-579b\"} 258051\n"
                   "node_btrfs_last_commit_seconds{uuid=\"0abb23a9-579b\"} 1\n"
                   "node_btrfs_max_commit_seconds{uuid=\"0abb23a9-579b\"} 51.462\n"
                   "node_btrfs_commit_seconds_total{uuid=\"0abb23a9-579b\"} 47836.09\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"data\",uuid=\"0abb23a9-579b\"} 7\n"
                   "node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"0abb23a9-579b\"} 50\n"
                   "node_btrfs_size_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"0abb23a9-579b\"} 100\n"
                   "node_btrfs_allocation_ratio{block_group_type=\"data\",mode=\"raid5\",uuid=\"0abb23a9-579b\"} 1.5\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"metadata\",uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"system\",uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_device_size_bytes{device=\"sda\",uuid=\"0abb23a9-579b\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdb\",uuid=\"0abb23a9-579b\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdc\",uuid=\"0abb23a9-579b\"} 2048\n",
                   ""},
                  {"before 6.0",
                   {{"sys/fs/btrfs/0abb23a9-579b/label", "\n"}},
                   "node_btrfs_info{label=\"\",uuid=\"0abb23a9-579b\"} 1\n"
                   "node_btrfs_global_rsv_size_bytes{uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_commits_total{uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_last_commit_seconds{uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_max_commit_seconds{uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_commit_seconds_total{uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"data\",uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"metadata\",uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"system\",uuid=\"0abb23a9-579b\"} 0\n",
                   ""},
                  {"torn commit_stats",
                   {{"sys/fs/btrfs/0abb23a9-579b/commit_stats", "commits"}},
                   "node_btrfs_info{label=\"\",uuid=\"0abb23a9-579b\"} 1\n"
                   "node_btrfs_global_rsv_size_bytes{uuid=\"0abb23a9-579b\"} 0\n",
                   "malformed: /sys/fs/btrfs/0abb23a9-579b/commit_stats: 'commits': a name and a number expected"},
                  {"mounted where it is not to be seen",
                   {{"sys/fs/btrfs/0abb23a9-579b/label", "fixture\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/metadata_uuid", "0abb23a9-579b\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/global_rsv_size", "16777216\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/commit_stats",
                     "commits 258051\n"
                     "last_commit_ms 1000\n"
                     "max_commit_ms 51462\n"
                     "total_commit_ms 47836090\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/data/bytes_reserved", "7\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/data/raid5/total_bytes", "100\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/allocation/data/raid5/used_bytes", "50\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/devices/sda/size", "4\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/devices/sdb/size", "4\n"},
                    {"sys/fs/btrfs/0abb23a9-579b/devices/sdc/size", "4\n"},
                    {"sys/fs/btrfs/features/x", "1"},
                    {"proc/1/mountinfo", "1 2 0:1 / /mnt/a\\040b rw shared:1 - btrfs /dev/sda rw\n"}},
                   "node_btrfs_info{label=\"fixture\",uuid=\"0abb23a9-579b\"} 1\n"
                   "node_btrfs_global_rsv_size_bytes{uuid=\"0abb23a9-579b\"} 16777216\n"
                   "node_btrfs_commits_total{uuid=\"0abb23a9-579b\"} 258051\n"
                   "node_btrfs_last_commit_seconds{uuid=\"0abb23a9-579b\"} 1\n"
                   "node_btrfs_max_commit_seconds{uuid=\"0abb23a9-579b\"} 51.462\n"
                   "node_btrfs_commit_seconds_total{uuid=\"0abb23a9-579b\"} 47836.09\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"data\",uuid=\"0abb23a9-579b\"} 7\n"
                   "node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"0abb23a9-579b\"} 50\n"
                   "node_btrfs_size_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"0abb23a9-579b\"} 100\n"
                   "node_btrfs_allocation_ratio{block_group_type=\"data\",mode=\"raid5\",uuid=\"0abb23a9-579b\"} 1.5\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"metadata\",uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"system\",uuid=\"0abb23a9-579b\"} 0\n"
                   "node_btrfs_device_size_bytes{device=\"sda\",uuid=\"0abb23a9-579b\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdb\",uuid=\"0abb23a9-579b\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdc\",uuid=\"0abb23a9-579b\"} 2048\n",
                   ""},
                  {"no btrfs", {}, "", ""},
              });
}

}  // namespace vitald
