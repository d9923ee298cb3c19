// SPDX-License-Identifier: Apache-2.0
// What XFS file systems count, from /sys/fs/xfs.
#include <array>
#include <optional>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_xfs_extent_allocation_extents_allocated_total", counter, "Number of extents allocated for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_extent_allocation_blocks_allocated_total", counter, "Number of blocks allocated for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_extent_allocation_extents_freed_total", counter, "Number of extents freed for a filesystem.", "device",
     "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_extent_allocation_blocks_freed_total", counter, "Number of blocks freed for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_allocation_btree_lookups_total", counter, "Number of allocation B-tree lookups for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_allocation_btree_compares_total", counter, "Number of allocation B-tree compares for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_allocation_btree_records_inserted_total", counter,
     "Number of allocation B-tree records inserted for a filesystem.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_allocation_btree_records_deleted_total", counter,
     "Number of allocation B-tree records deleted for a filesystem.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_reads_total", counter, "Number of block map for read operations for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_writes_total", counter, "Number of block map for write operations for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_unmaps_total", counter, "Number of block unmaps (deletes) for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_extent_list_insertions_total", counter,
     "Number of extent list insertions for a filesystem.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_extent_list_deletions_total", counter, "Number of extent list deletions for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_extent_list_lookups_total", counter, "Number of extent list lookups for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_mapping_extent_list_compares_total", counter, "Number of extent list compares for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_map_btree_lookups_total", counter, "Number of block map B-tree lookups for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_map_btree_compares_total", counter, "Number of block map B-tree compares for a filesystem.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_map_btree_records_inserted_total", counter,
     "Number of block map B-tree records inserted for a filesystem.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_block_map_btree_records_deleted_total", counter,
     "Number of block map B-tree records deleted for a filesystem.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_directory_operation_lookup_total", counter,
     "Number of file name directory lookups which miss the operating systems directory name lookup cache.", "device",
     "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_directory_operation_create_total", counter,
     "Number of times a new directory entry was created for a filesystem.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_directory_operation_remove_total", counter,
     "Number of times an existing directory entry was created for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_directory_operation_getdents_total", counter,
     "Number of times the directory getdents operation was performed for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_attempts_total", counter,
     "Number of times the OS looked for an XFS inode in the inode cache.", "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_found_total", counter,
     "Number of times the OS looked for and found an XFS inode in the inode cache.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_recycled_total", counter,
     "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.", "device",
     "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_missed_total", counter,
     "Number of times the OS looked for an XFS inode in the cache, but did not find it.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_duplicates_total", counter,
     "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added "
     "by another process.",
     "device", "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_reclaims_total", counter,
     "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.", "device",
     "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_inode_operation_attribute_changes_total", counter,
     "Number of times the OS explicitly changed the attributes of an XFS inode.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_write_calls_total", counter, "Number of write(2) system calls made to files in a filesystem.", "device",
     "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_read_calls_total", counter, "Number of read(2) system calls made to files in a filesystem.", "device",
     "", "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_active_total", counter, "Number of vnodes not on free lists for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_allocate_total", counter, "Number of times vn_alloc called for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_get_total", counter, "Number of times vn_get called for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_hold_total", counter, "Number of times vn_hold called for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_release_total", counter, "Number of times vn_rele called for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_reclaim_total", counter, "Number of times vn_reclaim called for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
    {"node_xfs_vnode_remove_total", counter, "Number of times vn_remove called for a filesystem.", "device", "",
     "/sys/fs/xfs/*/stats/stats"},
};

// A line of the file: its word, and the families of its numbers in their order (xfs_stats_format, fs/xfs/xfs_stats.c).
struct Line {
  std::string_view word;
  std::size_t first, count;
};
constexpr Line kLines[] = {
    {"extent_alloc", 0, 4}, {"abt", 4, 4}, {"blk_map", 8, 7}, {"bmbt", 15, 4},
    {"dir", 19, 4},         {"ig", 23, 7}, {"rw", 30, 2},     {"vnodes", 32, 7},
};

struct Filesystem {
  explicit Filesystem(const std::string& path) : stats(path + "/stats/stats") {}
  KernelFile stats;
};

class Xfs final : public Collector {
 public:
  explicit Xfs(const Host& host) : filesystems_(host.sysfs("fs/xfs")) {}

  // No XFS here is no error: nothing is emitted.
  Result<> collect(BatchWriter& out) override {
    if (auto listed = filesystems_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    for (auto& [device, filesystem] : filesystems_.items()) {
      if (device == "stats" || device == "debug") continue;  // sums of all, and switches; no devices
      const auto text = filesystem.stats.read();
      if (text) left_out.add(emit(*text, filesystem.stats.path(), device, out));
      else if (text.error().kind != Errc::gone) left_out.add(text.error());  // else unmounted since
    }
    return left_out.outcome();
  }

 private:
  // "extent_alloc 92447 97589 92448 93751"
  static Result<> emit(std::string_view rest, const std::string& path, std::string_view device, BatchWriter& out) {
    if (is_blank(rest)) return malformed(path, "", "lines of numbers");
    std::array<std::optional<double>, std::size(kMetrics)> values;
    LeftOut left_out;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto word = take_word(words);
      for (const auto& known : kLines) {
        if (known.word != word) continue;
        for (std::size_t i = 0; i < known.count; ++i) {
          const auto n = take_u64(words);
          if (!n) {
            left_out.add(malformed(path, line, "more numbers"));
            break;
          }
          values[known.first + i] = static_cast<double>(*n);
        }
      }
    }
    for (std::size_t i = 0; i < std::size(kMetrics); ++i)
      if (values[i]) out.set(kMetrics[i], *values[i], device);
    return left_out.outcome();
  }

  KernelItems<Filesystem> filesystems_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Xfs>(host); }

}  // namespace

extern const CollectorInfo collector_xfs;
const CollectorInfo collector_xfs{kMetrics, {}, make};

}  // namespace vitald
