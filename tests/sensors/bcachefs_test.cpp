// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Bcachefs, Cases) {
  check_cases(
      "bcachefs",
      {
          {"one filesystem",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/btree_cache_size", "3.25G\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/compression_stats",
             "typetype          compressed    uncompressed     average extent size\n"
             "lz4_old                    0               0                       0\n"
             "lz4:                    27.5G           40.6G                   31.5k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/errors",
             "btree_node_data_missing                         2       1877007853\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/counters/fsync",
             "since mount:                   739741\n"
             "since filesystem creation:     1.5M\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/btree_write_stats",
             "                   nr        size\n"
             "initial:           9562213    72k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/label", "disk-0\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/state", "[rw] ro\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/bucket_size", "256k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/nbuckets", "1187\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/io_done",
             "read:\n"
             "sb          :       33541\n"
             "write:\n"
             "user        :5\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/io_errors",
             "IO errors since filesystem creation\n"
             "  read:    174\n"
             "  checksum:5\n"
             "IO errors since 3 y ago\n"
             "  read:    1\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"52c6e0d1-9b3f\"} 3489660928\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4_old\",uuid=\"52c6e0d1-9b3f\"} 0\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4_old\",uuid=\"52c6e0d1-9b3f\"} 0\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4\",uuid=\"52c6e0d1-9b3f\"} 29527900160\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4\",uuid=\"52c6e0d1-9b3f\"} 43593918054\n"
           "node_bcachefs_errors_total{error_type=\"btree_node_data_missing\",uuid=\"52c6e0d1-9b3f\"} 2\n"
           "node_bcachefs_fsync_total{uuid=\"52c6e0d1-9b3f\"} 1572864\n"
           "node_bcachefs_btree_writes_total{type=\"initial\",uuid=\"52c6e0d1-9b3f\"} 9562213\n"
           "node_bcachefs_btree_write_average_size_bytes{type=\"initial\",uuid=\"52c6e0d1-9b3f\"} 73728\n"
           "node_bcachefs_device_info{device=\"0\",label=\"disk-0\",state=\"[rw] ro\",uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_device_bucket_size_bytes{device=\"0\",uuid=\"52c6e0d1-9b3f\"} 262144\n"
           "node_bcachefs_device_buckets{device=\"0\",uuid=\"52c6e0d1-9b3f\"} 1187\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"sb\",device=\"0\",operation=\"read\",uuid=\"52c6e0d1-"
           "9b3f\"} 33541\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"user\",device=\"0\",operation=\"write\",uuid="
           "\"52c6e0d1-9b3f\"} 5\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"read\",uuid=\"52c6e0d1-9b3f\"} 174\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"checksum\",uuid=\"52c6e0d1-9b3f\"} 5\n",
           ""},
          {"a torn counter costs itself",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/btree_cache_size", "3.25G\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/compression_stats",
             "typetype          compressed    uncompressed     average extent size\n"
             "lz4_old                    0               0                       0\n"
             "lz4:                    27.5G           40.6G                   31.5k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/errors",
             "btree_node_data_missing                         2       1877007853\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/counters/fsync", "since mount: 1\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/btree_write_stats",
             "                   nr        size\n"
             "initial:           9562213    72k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/label", "disk-0\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/state", "[rw] ro\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/bucket_size", "256k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/nbuckets", "1187\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/io_done",
             "read:\n"
             "sb          :       33541\n"
             "write:\n"
             "user        :5\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/io_errors",
             "IO errors since filesystem creation\n"
             "  read:    174\n"
             "  checksum:5\n"
             "IO errors since 3 y ago\n"
             "  read:    1\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"52c6e0d1-9b3f\"} 3489660928\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4_old\",uuid=\"52c6e0d1-9b3f\"} 0\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4_old\",uuid=\"52c6e0d1-9b3f\"} 0\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4\",uuid=\"52c6e0d1-9b3f\"} 29527900160\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4\",uuid=\"52c6e0d1-9b3f\"} 43593918054\n"
           "node_bcachefs_errors_total{error_type=\"btree_node_data_missing\",uuid=\"52c6e0d1-9b3f\"} 2\n"
           "node_bcachefs_btree_writes_total{type=\"initial\",uuid=\"52c6e0d1-9b3f\"} 9562213\n"
           "node_bcachefs_btree_write_average_size_bytes{type=\"initial\",uuid=\"52c6e0d1-9b3f\"} 73728\n"
           "node_bcachefs_device_info{device=\"0\",label=\"disk-0\",state=\"[rw] ro\",uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_device_bucket_size_bytes{device=\"0\",uuid=\"52c6e0d1-9b3f\"} 262144\n"
           "node_bcachefs_device_buckets{device=\"0\",uuid=\"52c6e0d1-9b3f\"} 1187\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"sb\",device=\"0\",operation=\"read\",uuid=\"52c6e0d1-"
           "9b3f\"} 33541\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"user\",device=\"0\",operation=\"write\",uuid="
           "\"52c6e0d1-9b3f\"} 5\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"read\",uuid=\"52c6e0d1-9b3f\"} 174\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"checksum\",uuid=\"52c6e0d1-9b3f\"} 5\n",
           ""},
          {"not a size",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/btree_cache_size", "big\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/compression_stats",
             "typetype          compressed    uncompressed     average extent size\n"
             "lz4_old                    0               0                       0\n"
             "lz4:                    27.5G           40.6G                   31.5k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/errors",
             "btree_node_data_missing                         2       1877007853\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/counters/fsync",
             "since mount:                   739741\n"
             "since filesystem creation:     1.5M\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/btree_write_stats",
             "                   nr        size\n"
             "initial:           9562213    72k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/label", "disk-0\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/state", "[rw] ro\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/bucket_size", "256k\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/nbuckets", "1187\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/io_done",
             "read:\n"
             "sb          :       33541\n"
             "write:\n"
             "user        :5\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/dev-0/io_errors",
             "IO errors since filesystem creation\n"
             "  read:    174\n"
             "  checksum:5\n"
             "IO errors since 3 y ago\n"
             "  read:    1\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4_old\",uuid=\"52c6e0d1-9b3f\"} 0\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4_old\",uuid=\"52c6e0d1-9b3f\"} 0\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4\",uuid=\"52c6e0d1-9b3f\"} 29527900160\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4\",uuid=\"52c6e0d1-9b3f\"} 43593918054\n"
           "node_bcachefs_errors_total{error_type=\"btree_node_data_missing\",uuid=\"52c6e0d1-9b3f\"} 2\n"
           "node_bcachefs_fsync_total{uuid=\"52c6e0d1-9b3f\"} 1572864\n"
           "node_bcachefs_btree_writes_total{type=\"initial\",uuid=\"52c6e0d1-9b3f\"} 9562213\n"
           "node_bcachefs_btree_write_average_size_bytes{type=\"initial\",uuid=\"52c6e0d1-9b3f\"} 73728\n"
           "node_bcachefs_device_info{device=\"0\",label=\"disk-0\",state=\"[rw] ro\",uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_device_bucket_size_bytes{device=\"0\",uuid=\"52c6e0d1-9b3f\"} 262144\n"
           "node_bcachefs_device_buckets{device=\"0\",uuid=\"52c6e0d1-9b3f\"} 1187\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"sb\",device=\"0\",operation=\"read\",uuid=\"52c6e0d1-"
           "9b3f\"} 33541\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"user\",device=\"0\",operation=\"write\",uuid="
           "\"52c6e0d1-9b3f\"} 5\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"read\",uuid=\"52c6e0d1-9b3f\"} 174\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"checksum\",uuid=\"52c6e0d1-9b3f\"} 5\n",
           "malformed: /sys/fs/bcachefs/52c6e0d1-9b3f/btree_cache_size: 'big': a size expected"},
          {"never an error",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/errors", ""}, {"sys/fs/bcachefs/52c6e0d1-9b3f/btree_cache_size", "512k\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"52c6e0d1-9b3f\"} 524288\n",
           ""},
          {"a counter that is full, with the time of the first error",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/errors",
             "btree_node_read_error   281474976710655+   1753877007   1877007853\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/btree_cache_size", "512k\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"52c6e0d1-9b3f\"} 524288\n"
           "node_bcachefs_errors_total{error_type=\"btree_node_read_error\",uuid=\"52c6e0d1-9b3f\"} 281474976710655\n",
           ""},
          {"torn errors",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/errors", "x y\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n",
           "malformed: /sys/fs/bcachefs/52c6e0d1-9b3f/errors: 'x y': a name and a count expected"},
          {"a name that had to be cleaned does not take another's place",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/counters/a-b", "since filesystem creation: 3\n"},
            {"sys/fs/bcachefs/52c6e0d1-9b3f/counters/a_b", "since filesystem creation: 9\n"}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n"
           "node_bcachefs_a_b_total{uuid=\"52c6e0d1-9b3f\"} 9\n",
           ""},
          {"nothing known",
           {{"sys/fs/bcachefs/52c6e0d1-9b3f/x", ""}},
           "node_bcachefs_info{uuid=\"52c6e0d1-9b3f\"} 1\n",
           ""},
          {"none mounted", {{"sys/fs/bcachefs/.keep/x", ""}}, "node_bcachefs_info{uuid=\".keep\"} 1\n", ""},
          {"no bcachefs", {}, "", "absent: /sys/fs/bcachefs: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
