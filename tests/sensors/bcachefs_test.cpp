// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Bcachefs, Cases) {
  check_cases(
      "bcachefs",
      {
          {"one filesystem",
           {{"sys/fs/bcachefs/deadbeef-1234/btree_cache_size", "2.05G\n"},
            {"sys/fs/bcachefs/deadbeef-1234/compression_stats",
             "typetype          compressed    uncompressed     average extent size\n"
             "lz4_old                    0               0                       0\n"
             "lz4:                    48.9G           71.2G                   62.5k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/errors",
             "btree_node_data_missing                         2       1753593586\n"},
            {"sys/fs/bcachefs/deadbeef-1234/counters/fsync",
             "since mount:                   302707\n"
             "since filesystem creation:     1.5M\n"},
            {"sys/fs/bcachefs/deadbeef-1234/btree_write_stats",
             "                   nr        size\n"
             "initial:           3298401   100k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/label", "disk-0\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/state", "[rw] ro\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/bucket_size", "512k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/nbuckets", "953\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/io_done",
             "read:\n"
             "sb          :       86016\n"
             "write:\n"
             "user        :5\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/io_errors",
             "IO errors since filesystem creation\n"
             "  read:    197\n"
             "  checksum:5\n"
             "IO errors since 8 y ago\n"
             "  read:    1\n"}},
           "node_bcachefs_info{uuid=\"deadbeef-1234\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"deadbeef-1234\"} 2201170739\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4_old\",uuid=\"deadbeef-1234\"} 0\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4_old\",uuid=\"deadbeef-1234\"} 0\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4\",uuid=\"deadbeef-1234\"} 52505975193\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4\",uuid=\"deadbeef-1234\"} 76450417868\n"
           "node_bcachefs_errors_total{error_type=\"btree_node_data_missing\",uuid=\"deadbeef-1234\"} 2\n"
           "node_bcachefs_fsync_total{uuid=\"deadbeef-1234\"} 1572864\n"
           "node_bcachefs_btree_writes_total{type=\"initial\",uuid=\"deadbeef-1234\"} 3298401\n"
           "node_bcachefs_btree_write_average_size_bytes{type=\"initial\",uuid=\"deadbeef-1234\"} 102400\n"
           "node_bcachefs_device_info{device=\"0\",label=\"disk-0\",state=\"[rw] ro\",uuid=\"deadbeef-1234\"} 1\n"
           "node_bcachefs_device_bucket_size_bytes{device=\"0\",uuid=\"deadbeef-1234\"} 524288\n"
           "node_bcachefs_device_buckets{device=\"0\",uuid=\"deadbeef-1234\"} 953\n"
           "node_bcachefs_device_durability{device=\"0\",uuid=\"deadbeef-1234\"} 0\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"sb\",device=\"0\",operation=\"read\",uuid=\"deadbeef-"
           "1234\"} 86016\n"
           "node_bcachefs_device_io_done_bytes_total{data_type=\"user\",device=\"0\",operation=\"write\",uuid="
           "\"deadbeef-1234\"} 5\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"read\",uuid=\"deadbeef-1234\"} 197\n"
           "node_bcachefs_device_io_errors_total{device=\"0\",type=\"checksum\",uuid=\"deadbeef-1234\"} 5\n",
           ""},
          {"torn counter",
           {{"sys/fs/bcachefs/deadbeef-1234/btree_cache_size", "2.05G\n"},
            {"sys/fs/bcachefs/deadbeef-1234/compression_stats",
             "typetype          compressed    uncompressed     average extent size\n"
             "lz4_old                    0               0                       0\n"
             "lz4:                    48.9G           71.2G                   62.5k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/errors",
             "btree_node_data_missing                         2       1753593586\n"},
            {"sys/fs/bcachefs/deadbeef-1234/counters/fsync", "since mount: 1\n"},
            {"sys/fs/bcachefs/deadbeef-1234/btree_write_stats",
             "                   nr        size\n"
             "initial:           3298401   100k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/label", "disk-0\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/state", "[rw] ro\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/bucket_size", "512k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/nbuckets", "953\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/io_done",
             "read:\n"
             "sb          :       86016\n"
             "write:\n"
             "user        :5\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/io_errors",
             "IO errors since filesystem creation\n"
             "  read:    197\n"
             "  checksum:5\n"
             "IO errors since 8 y ago\n"
             "  read:    1\n"}},
           "node_bcachefs_info{uuid=\"deadbeef-1234\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"deadbeef-1234\"} 2201170739\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4_old\",uuid=\"deadbeef-1234\"} 0\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4_old\",uuid=\"deadbeef-1234\"} 0\n"
           "node_bcachefs_compression_compressed_bytes{algorithm=\"lz4\",uuid=\"deadbeef-1234\"} 52505975193\n"
           "node_bcachefs_compression_uncompressed_bytes{algorithm=\"lz4\",uuid=\"deadbeef-1234\"} 76450417868\n"
           "node_bcachefs_errors_total{error_type=\"btree_node_data_missing\",uuid=\"deadbeef-1234\"} 2\n",
           "malformed: /sys/fs/bcachefs/deadbeef-1234/counters/fsync: 'since mount: 1': 'since filesystem creation: N' "
           "expected"},
          {"not a size",
           {{"sys/fs/bcachefs/deadbeef-1234/btree_cache_size", "big\n"},
            {"sys/fs/bcachefs/deadbeef-1234/compression_stats",
             "typetype          compressed    uncompressed     average extent size\n"
             "lz4_old                    0               0                       0\n"
             "lz4:                    48.9G           71.2G                   62.5k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/errors",
             "btree_node_data_missing                         2       1753593586\n"},
            {"sys/fs/bcachefs/deadbeef-1234/counters/fsync",
             "since mount:                   302707\n"
             "since filesystem creation:     1.5M\n"},
            {"sys/fs/bcachefs/deadbeef-1234/btree_write_stats",
             "                   nr        size\n"
             "initial:           3298401   100k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/label", "disk-0\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/state", "[rw] ro\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/bucket_size", "512k\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/nbuckets", "953\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/io_done",
             "read:\n"
             "sb          :       86016\n"
             "write:\n"
             "user        :5\n"},
            {"sys/fs/bcachefs/deadbeef-1234/dev-0/io_errors",
             "IO errors since filesystem creation\n"
             "  read:    197\n"
             "  checksum:5\n"
             "IO errors since 8 y ago\n"
             "  read:    1\n"}},
           "node_bcachefs_info{uuid=\"deadbeef-1234\"} 1\n",
           "malformed: /sys/fs/bcachefs/deadbeef-1234/btree_cache_size: 'big': a size expected"},
          {"torn errors",
           {{"sys/fs/bcachefs/deadbeef-1234/errors", "x y\n"}},
           "node_bcachefs_info{uuid=\"deadbeef-1234\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"deadbeef-1234\"} 0\n",
           "malformed: /sys/fs/bcachefs/deadbeef-1234/errors: 'x y': a name and a count expected"},
          {"nothing known",
           {{"sys/fs/bcachefs/deadbeef-1234/x", ""}},
           "node_bcachefs_info{uuid=\"deadbeef-1234\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\"deadbeef-1234\"} 0\n",
           ""},
          {"none mounted",
           {{"sys/fs/bcachefs/.keep/x", ""}},
           "node_bcachefs_info{uuid=\".keep\"} 1\n"
           "node_bcachefs_btree_cache_size_bytes{uuid=\".keep\"} 0\n",
           ""},
          {"no bcachefs", {}, "", "absent: /sys/fs/bcachefs: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
