// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Bcache, Cases) {
  check_cases(
      "bcache",
      {
          {"one set",
           {{"sys/fs/bcache/3f1c9a2e-77b0/average_key_size", "9.3k\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/internal/btree_read_average_duration_us", "1610\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_hits", "991\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/writeback_rate_debug",
             "rate:\t\t2.7M/sec\n"
             "dirty:\t\t31.6G\n"
             "target:\t\t31.6G\n"
             "proportional:\t-236.3k\n"
             "integral:\t655.0k\n"
             "change:\t\t118.7k/sec\n"
             "next io:\t17ms\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/written", "3.4G\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/priority_stats",
             "Unused:\t\t93%\n"
             "Metadata:\t1%\n"
             "Average:\t14347\n"},
            {"sys/fs/bcache/register", ""}},
           "node_bcache_average_key_size_sectors{uuid=\"3f1c9a2e-77b0\"} 9516\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 1.61e-06\n"
           "vitald_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 0.0016099999999999999\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 991\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 13\n"
           "node_bcache_dirty_target_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 33915142144\n"
           "node_bcache_writeback_rate{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 2813952\n"
           "node_bcache_writeback_rate_proportional_term{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} -241964\n"
           "node_bcache_writeback_rate_integral_term{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 670720\n"
           "node_bcache_writeback_change{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 121532\n"
           "node_bcache_io_errors{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3\n"
           "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3640655872\n",
           ""},
          {"priority",
           {{"sys/fs/bcache/3f1c9a2e-77b0/average_key_size", "9.3k\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/internal/btree_read_average_duration_us", "1610\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_hits", "991\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/writeback_rate_debug",
             "rate:\t\t2.7M/sec\n"
             "dirty:\t\t31.6G\n"
             "target:\t\t31.6G\n"
             "proportional:\t-236.3k\n"
             "integral:\t655.0k\n"
             "change:\t\t118.7k/sec\n"
             "next io:\t17ms\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/written", "3.4G\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/priority_stats",
             "Unused:\t\t93%\n"
             "Metadata:\t1%\n"
             "Average:\t14347\n"},
            {"sys/fs/bcache/register", ""}},
           "node_bcache_average_key_size_sectors{uuid=\"3f1c9a2e-77b0\"} 9516\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 1.61e-06\n"
           "vitald_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 0.0016099999999999999\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 991\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 13\n"
           "node_bcache_dirty_target_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 33915142144\n"
           "node_bcache_writeback_rate{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 2813952\n"
           "node_bcache_writeback_rate_proportional_term{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} -241964\n"
           "node_bcache_writeback_rate_integral_term{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 670720\n"
           "node_bcache_writeback_change{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 121532\n"
           "node_bcache_io_errors{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3\n"
           "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3640655872\n"
           "node_bcache_priority_stats_unused_percent{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 93\n"
           "node_bcache_priority_stats_metadata_percent{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 1\n",
           "",
           {{"collector.bcache.priorityStats", "true"}}},
          {"not a number",
           {{"sys/fs/bcache/3f1c9a2e-77b0/average_key_size", "9.3k\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/internal/btree_read_average_duration_us", "1610\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_hits", "991\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/writeback_rate_debug",
             "rate:\t\t2.7M/sec\n"
             "dirty:\t\t31.6G\n"
             "target:\t\t31.6G\n"
             "proportional:\t-236.3k\n"
             "integral:\t655.0k\n"
             "change:\t\t118.7k/sec\n"
             "next io:\t17ms\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/written", "3.4G\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/priority_stats",
             "Unused:\t\t93%\n"
             "Metadata:\t1%\n"
             "Average:\t14347\n"},
            {"sys/fs/bcache/register", ""},
            {"sys/fs/bcache/3f1c9a2e-77b0/congested", "x\n"}},
           "node_bcache_average_key_size_sectors{uuid=\"3f1c9a2e-77b0\"} 9516\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 1.61e-06\n"
           "vitald_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 0.0016099999999999999\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 991\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 13\n"
           "node_bcache_dirty_target_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 33915142144\n"
           "node_bcache_writeback_rate{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 2813952\n"
           "node_bcache_writeback_rate_proportional_term{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} -241964\n"
           "node_bcache_writeback_rate_integral_term{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 670720\n"
           "node_bcache_writeback_change{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 121532\n"
           "node_bcache_io_errors{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3\n"
           "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3640655872\n",
           "malformed: /sys/fs/bcache/3f1c9a2e-77b0/congested: 'x': a number, maybe with a unit expected"},
          {"torn debug",
           {{"sys/fs/bcache/3f1c9a2e-77b0/average_key_size", "9.3k\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/internal/btree_read_average_duration_us", "1610\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/dirty_data", "0\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_hits", "991\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/stats_total/cache_readaheads", "13\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/bdev0/writeback_rate_debug", "rate:"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/io_errors", "3\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/written", "3.4G\n"},
            {"sys/fs/bcache/3f1c9a2e-77b0/cache0/priority_stats",
             "Unused:\t\t93%\n"
             "Metadata:\t1%\n"
             "Average:\t14347\n"},
            {"sys/fs/bcache/register", ""}},
           "node_bcache_average_key_size_sectors{uuid=\"3f1c9a2e-77b0\"} 9516\n"
           "node_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 1.61e-06\n"
           "vitald_bcache_btree_read_average_duration_seconds{uuid=\"3f1c9a2e-77b0\"} 0.0016099999999999999\n"
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 0\n"
           "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 991\n"
           "node_bcache_cache_readaheads_total{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 13\n"
           "node_bcache_io_errors{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3\n"
           "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"3f1c9a2e-77b0\"} 3640655872\n",
           "malformed: /sys/fs/bcache/3f1c9a2e-77b0/bdev0/writeback_rate_debug: 'rate:': a number expected"},
          {"no debug",
           {{"sys/fs/bcache/3f1c9a2e-77b0/bdev0/dirty_data", "0\n"}},
           "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"3f1c9a2e-77b0\"} 0\n",
           "gone: /sys/fs/bcache/3f1c9a2e-77b0/bdev0/writeback_rate_debug: No such file or directory (ENOENT)"},
          {"no bcache", {}, "", ""},
      });
}

}  // namespace vitald
