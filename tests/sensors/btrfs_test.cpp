// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Btrfs, Cases) {
  check_cases("btrfs",
              {
                  {"not mounted, raid5 of three",
                   {{"sys/fs/btrfs/c41e7d60-2f85/label", "archive\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/metadata_uuid", "c41e7d60-2f85\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/global_rsv_size", "33554432\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/commit_stats",
                     "commits 410477\n"
                     "last_commit_ms 1000\n"
                     "max_commit_ms 34241\n"
                     "total_commit_ms 90877660\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/bytes_reserved", "7\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/raid5/total_bytes", "100\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/raid5/used_bytes", "50\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sda/size", "4\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sdb/size", "4\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sdc/size", "4\n"},
                    {"sys/fs/btrfs/features/x", "1"}},
                   "node_btrfs_info{label=\"archive\",uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_global_rsv_size_bytes{uuid=\"c41e7d60-2f85\"} 33554432\n"
                   "node_btrfs_commits_total{uuid=\"c41e7d60-2f85\"} 410477\n"
                   "node_btrfs_last_commit_seconds{uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_max_commit_seconds{uuid=\"c41e7d60-2f85\"} 34.241\n"
                   "node_btrfs_commit_seconds_total{uuid=\"c41e7d60-2f85\"} 90877.66\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"data\",uuid=\"c41e7d60-2f85\"} 7\n"
                   "node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 50\n"
                   "node_btrfs_size_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 100\n"
                   "node_btrfs_allocation_ratio{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 1.5\n"
                   "node_btrfs_device_size_bytes{device=\"sda\",uuid=\"c41e7d60-2f85\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdb\",uuid=\"c41e7d60-2f85\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdc\",uuid=\"c41e7d60-2f85\"} 2048\n",
                   ""},
                  {"raid5 of four, one of which is missing",
                   {{"sys/fs/btrfs/c41e7d60-2f85/label", "\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/commit_stats", "commits 1\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/raid5/total_bytes", "100\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/raid5/used_bytes", "50\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/metadata/raid6/total_bytes", "100\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/metadata/raid6/used_bytes", "50\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sda/x", ""},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sdb/x", ""},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sdc/x", ""},
                    {"sys/fs/btrfs/c41e7d60-2f85/devinfo/1/missing", "0\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devinfo/2/missing", "0\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devinfo/3/missing", "0\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devinfo/4/missing", "1\n"}},
                   "node_btrfs_info{label=\"\",uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_commits_total{uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 50\n"
                   "node_btrfs_size_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 100\n"
                   "node_btrfs_allocation_ratio{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} "
                   "1.3333333333333333\n"
                   "node_btrfs_used_bytes{block_group_type=\"metadata\",mode=\"raid6\",uuid=\"c41e7d60-2f85\"} 50\n"
                   "node_btrfs_size_bytes{block_group_type=\"metadata\",mode=\"raid6\",uuid=\"c41e7d60-2f85\"} 100\n"
                   "node_btrfs_allocation_ratio{block_group_type=\"metadata\",mode=\"raid6\",uuid=\"c41e7d60-2f85\"} "
                   "2\n",
                   ""},
                  {"before 6.0",
                   {{"sys/fs/btrfs/c41e7d60-2f85/label", "\n"}},
                   "node_btrfs_info{label=\"\",uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_commits_total{uuid=\"c41e7d60-2f85\"} 0\n"
                   "node_btrfs_last_commit_seconds{uuid=\"c41e7d60-2f85\"} 0\n"
                   "node_btrfs_max_commit_seconds{uuid=\"c41e7d60-2f85\"} 0\n"
                   "node_btrfs_commit_seconds_total{uuid=\"c41e7d60-2f85\"} 0\n",
                   ""},
                  {"torn commit_stats",
                   {{"sys/fs/btrfs/c41e7d60-2f85/commit_stats", "commits"}},
                   "node_btrfs_info{label=\"\",uuid=\"c41e7d60-2f85\"} 1\n",
                   "malformed: /sys/fs/btrfs/c41e7d60-2f85/commit_stats: 'commits': a name and a number expected"},
                  {"mounted where it is not to be seen",
                   {{"sys/fs/btrfs/c41e7d60-2f85/label", "archive\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/metadata_uuid", "c41e7d60-2f85\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/global_rsv_size", "33554432\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/commit_stats",
                     "commits 410477\n"
                     "last_commit_ms 1000\n"
                     "max_commit_ms 34241\n"
                     "total_commit_ms 90877660\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/bytes_reserved", "7\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/raid5/total_bytes", "100\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/allocation/data/raid5/used_bytes", "50\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sda/size", "4\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sdb/size", "4\n"},
                    {"sys/fs/btrfs/c41e7d60-2f85/devices/sdc/size", "4\n"},
                    {"sys/fs/btrfs/features/x", "1"},
                    {"proc/1/mountinfo", "1 2 0:1 / /mnt/a\\040b rw shared:1 - btrfs /dev/sda rw\n"}},
                   "node_btrfs_info{label=\"archive\",uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_global_rsv_size_bytes{uuid=\"c41e7d60-2f85\"} 33554432\n"
                   "node_btrfs_commits_total{uuid=\"c41e7d60-2f85\"} 410477\n"
                   "node_btrfs_last_commit_seconds{uuid=\"c41e7d60-2f85\"} 1\n"
                   "node_btrfs_max_commit_seconds{uuid=\"c41e7d60-2f85\"} 34.241\n"
                   "node_btrfs_commit_seconds_total{uuid=\"c41e7d60-2f85\"} 90877.66\n"
                   "node_btrfs_reserved_bytes{block_group_type=\"data\",uuid=\"c41e7d60-2f85\"} 7\n"
                   "node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 50\n"
                   "node_btrfs_size_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 100\n"
                   "node_btrfs_allocation_ratio{block_group_type=\"data\",mode=\"raid5\",uuid=\"c41e7d60-2f85\"} 1.5\n"
                   "node_btrfs_device_size_bytes{device=\"sda\",uuid=\"c41e7d60-2f85\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdb\",uuid=\"c41e7d60-2f85\"} 2048\n"
                   "node_btrfs_device_size_bytes{device=\"sdc\",uuid=\"c41e7d60-2f85\"} 2048\n",
                   ""},
                  {"no btrfs", {}, "", ""},
              });
}

}  // namespace vitald
