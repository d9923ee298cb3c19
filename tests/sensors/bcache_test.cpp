// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Bcache, Cases) {
  check_cases(
      "bcache",
      {
          {"one set",
           {{"sys/fs/bcache/deaddd54-c735/average_key_size", "12.5k\n"},
            {"sys/fs/bcache/deaddd54-c735/internal/btree_read_average_duration_us", "1305\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_hits", "546\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/writeback_rate_debug",
             "rate:\t\t1.1M/sec\n"
             "dirty:\t\t20.4G\n"
             "target:\t\t20.4G\n"
             "proportional:\t-427.5k\n"
             "integral:\t790.0k\n"
             "change:\t\t321.5k/sec\n"
             "next io:\t17ms\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/written", "1.2G\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/priority_stats",
             "Unused:\t\t99%\n"
             "Metadata:\t1%\n"
             "Average:\t10473\n"},
            {"sys/fs/bcache/register", ""}},
           "node_bcache_average_key_size_sectors{uuid=\"deaddd54-c735\"} 12788\n"
           "node_bcache_btree_cache_size_bytes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_available_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_congested{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_root_usage_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_tree_depth{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_active_journal_entries{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_nodes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"deaddd54-c735\"} 1.305e-06\n"
           "node_bcache_cache_read_races_total{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_bypassed_bytes_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 546\n"
           "node_bcache_cache_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_miss_collisions_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 13\n"
           "node_bcache_dirty_target_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 21894266880\n"
           "node_bcache_writeback_rate{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 1150976\n"
           "node_bcache_writeback_rate_proportional_term{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} -437748\n"
           "node_bcache_writeback_rate_integral_term{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 808960\n"
           "node_bcache_writeback_change{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 329204\n"
           "node_bcache_io_errors{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 3\n"
           "node_bcache_metadata_written_bytes_total{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 1283457024\n",
           ""},
          {"priority",
           {{"sys/fs/bcache/deaddd54-c735/average_key_size", "12.5k\n"},
            {"sys/fs/bcache/deaddd54-c735/internal/btree_read_average_duration_us", "1305\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_hits", "546\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/writeback_rate_debug",
             "rate:\t\t1.1M/sec\n"
             "dirty:\t\t20.4G\n"
             "target:\t\t20.4G\n"
             "proportional:\t-427.5k\n"
             "integral:\t790.0k\n"
             "change:\t\t321.5k/sec\n"
             "next io:\t17ms\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/written", "1.2G\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/priority_stats",
             "Unused:\t\t99%\n"
             "Metadata:\t1%\n"
             "Average:\t10473\n"},
            {"sys/fs/bcache/register", ""}},
           "node_bcache_average_key_size_sectors{uuid=\"deaddd54-c735\"} 12788\n"
           "node_bcache_btree_cache_size_bytes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_available_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_congested{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_root_usage_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_tree_depth{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_active_journal_entries{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_nodes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"deaddd54-c735\"} 1.305e-06\n"
           "node_bcache_cache_read_races_total{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_bypassed_bytes_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 546\n"
           "node_bcache_cache_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_miss_collisions_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 13\n"
           "node_bcache_dirty_target_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 21894266880\n"
           "node_bcache_writeback_rate{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 1150976\n"
           "node_bcache_writeback_rate_proportional_term{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} -437748\n"
           "node_bcache_writeback_rate_integral_term{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 808960\n"
           "node_bcache_writeback_change{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 329204\n"
           "node_bcache_io_errors{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 3\n"
           "node_bcache_metadata_written_bytes_total{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 1283457024\n"
           "node_bcache_priority_stats_unused_percent{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 99\n"
           "node_bcache_priority_stats_metadata_percent{cache_device=\"cache0\",uuid=\"deaddd54-c735\"} 1\n",
           "",
           {{"collector.bcache.priorityStats", "true"}}},
          {"not a number",
           {{"sys/fs/bcache/deaddd54-c735/average_key_size", "12.5k\n"},
            {"sys/fs/bcache/deaddd54-c735/internal/btree_read_average_duration_us", "1305\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_hits", "546\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/writeback_rate_debug",
             "rate:\t\t1.1M/sec\n"
             "dirty:\t\t20.4G\n"
             "target:\t\t20.4G\n"
             "proportional:\t-427.5k\n"
             "integral:\t790.0k\n"
             "change:\t\t321.5k/sec\n"
             "next io:\t17ms\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/written", "1.2G\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/priority_stats",
             "Unused:\t\t99%\n"
             "Metadata:\t1%\n"
             "Average:\t10473\n"},
            {"sys/fs/bcache/register", ""},
            {"sys/fs/bcache/deaddd54-c735/congested", "x\n"}},
           "node_bcache_average_key_size_sectors{uuid=\"deaddd54-c735\"} 12788\n"
           "node_bcache_btree_cache_size_bytes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_available_percent{uuid=\"deaddd54-c735\"} 0\n",
           "malformed: /sys/fs/bcache/deaddd54-c735/congested: 'x': a number, maybe with a unit expected"},
          {"torn debug",
           {{"sys/fs/bcache/deaddd54-c735/average_key_size", "12.5k\n"},
            {"sys/fs/bcache/deaddd54-c735/internal/btree_read_average_duration_us", "1305\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_hits", "546\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/deaddd54-c735/bdev0/writeback_rate_debug", "rate:"},
            {"sys/fs/bcache/deaddd54-c735/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/written", "1.2G\n"},
            {"sys/fs/bcache/deaddd54-c735/cache0/priority_stats",
             "Unused:\t\t99%\n"
             "Metadata:\t1%\n"
             "Average:\t10473\n"},
            {"sys/fs/bcache/register", ""}},
           "node_bcache_average_key_size_sectors{uuid=\"deaddd54-c735\"} 12788\n"
           "node_bcache_btree_cache_size_bytes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_available_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_congested{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_root_usage_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_tree_depth{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_active_journal_entries{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_nodes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"deaddd54-c735\"} 1.305e-06\n"
           "node_bcache_cache_read_races_total{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_bypassed_bytes_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 546\n"
           "node_bcache_cache_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_miss_collisions_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 13\n"
           "node_bcache_dirty_target_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n",
           "malformed: /sys/fs/bcache/deaddd54-c735/bdev0/writeback_rate_debug: 'rate:': a number expected"},
          {"no debug",
           {{"sys/fs/bcache/deaddd54-c735/bdev0/dirty_data", "0\n"}},
           "node_bcache_average_key_size_sectors{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_cache_size_bytes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_available_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_congested{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_root_usage_percent{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_tree_depth{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_active_journal_entries{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_nodes{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_read_races_total{uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_bypassed_bytes_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_hits_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_bypass_misses_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n"
           "node_bcache_cache_miss_collisions_total{backing_device=\"bdev0\",uuid=\"deaddd54-c735\"} 0\n",
           "gone: /sys/fs/bcache/deaddd54-c735/bdev0/writeback_rate_debug: No such file or directory (ENOENT)"},
          {"no bcache", {}, "", ""},
      });
}

}  // namespace vitald
