// SPDX-License-Identifier: Apache-2.0
// Caches in front of disks: hits, misses, dirty data, from /sys/fs/bcache.
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/sys/fs/bcache/*";
constexpr AttributeRow kSetRows[] = {
    {"average_key_size",
     {"node_bcache_average_key_size_sectors", gauge, "Average data per key in the btree (sectors).", "uuid", "",
      kSource}},
    {"btree_cache_size",
     {"node_bcache_btree_cache_size_bytes", gauge, "Amount of memory currently used by the btree cache.", "uuid",
      "bytes", kSource}},
    {"cache_available_percent",
     {"node_bcache_cache_available_percent", gauge,
      "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).", "uuid",
      "", kSource}},
    {"congested", {"node_bcache_congested", gauge, "Congestion.", "uuid", "", kSource}},
    {"root_usage_percent",
     {"node_bcache_root_usage_percent", gauge,
      "Percentage of the root btree node in use (tree depth increases if too high).", "uuid", "", kSource}},
    {"tree_depth", {"node_bcache_tree_depth", gauge, "Depth of the btree.", "uuid", "", kSource}},
    {"internal/active_journal_entries",
     {"node_bcache_active_journal_entries", gauge, "Number of journal entries that are newer than the index.", "uuid",
      "", kSource}},
    {"internal/btree_nodes", {"node_bcache_btree_nodes", gauge, "Total nodes in the btree.", "uuid", "", kSource}},
    {"internal/btree_read_average_duration_us",
     {"node_bcache_btree_read_average_duration_seconds", gauge, "Average btree read duration.", "uuid", "seconds",
      kSource},
     1e-9},
    {"internal/btree_read_average_duration_us",
     {"vitald_bcache_btree_read_average_duration_seconds", gauge,
      "Average btree read duration. The kernel tells it in microseconds; "
      "node_bcache_btree_read_average_duration_seconds takes them for nanoseconds, and is 1000 times too small.",
      "uuid", "seconds", kSource},
     1e-6},
    {"internal/cache_read_races",
     {"node_bcache_cache_read_races_total", counter,
      "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. "
      "where the pointer was stale after the read completed.",
      "uuid", "", kSource}},
};
constexpr AttributeRow kBackingRows[] = {
    {"dirty_data",
     {"node_bcache_dirty_data_bytes", gauge, "Amount of dirty data for this backing device in the cache.",
      "uuid,backing_device", "bytes", kSource}},
    {"stats_total/bypassed",
     {"node_bcache_bypassed_bytes_total", counter, "Amount of IO (both reads and writes) that has bypassed the cache.",
      "uuid,backing_device", "bytes", kSource}},
    {"stats_total/cache_hits",
     {"node_bcache_cache_hits_total", counter, "Hits counted per individual IO as bcache sees them.",
      "uuid,backing_device", "", kSource}},
    {"stats_total/cache_misses",
     {"node_bcache_cache_misses_total", counter, "Misses counted per individual IO as bcache sees them.",
      "uuid,backing_device", "", kSource}},
    {"stats_total/cache_bypass_hits",
     {"node_bcache_cache_bypass_hits_total", counter, "Hits for IO intended to skip the cache.", "uuid,backing_device",
      "", kSource}},
    {"stats_total/cache_bypass_misses",
     {"node_bcache_cache_bypass_misses_total", counter, "Misses for IO intended to skip the cache.",
      "uuid,backing_device", "", kSource}},
    {"stats_total/cache_miss_collisions",
     {"node_bcache_cache_miss_collisions_total", counter,
      "Instances where data insertion from cache miss raced with write (data already present).", "uuid,backing_device",
      "", kSource}},
};
// Lines of writeback_rate_debug.
constexpr AttributeRow kDebugRows[] = {
    {"target",
     {"node_bcache_dirty_target_bytes", gauge, "Current dirty data target threshold for this backing device in bytes.",
      "uuid,backing_device", "bytes", kSource}},
    {"rate",
     {"node_bcache_writeback_rate", gauge, "Current writeback rate for this backing device in bytes.",
      "uuid,backing_device", "", kSource}},
    {"proportional",
     {"node_bcache_writeback_rate_proportional_term", gauge,
      "Current result of proportional controller, part of writeback rate", "uuid,backing_device", "", kSource}},
    {"integral",
     {"node_bcache_writeback_rate_integral_term", gauge,
      "Current result of integral controller, part of writeback rate", "uuid,backing_device", "", kSource}},
    {"change",
     {"node_bcache_writeback_change", gauge, "Last writeback rate change step for this backing device.",
      "uuid,backing_device", "", kSource}},
};
constexpr AttributeRow kCacheRows[] = {
    {"io_errors",
     {"node_bcache_io_errors", gauge, "Number of errors that have occurred, decayed by io_error_halflife.",
      "uuid,cache_device", "", kSource}},
    {"metadata_written",
     {"node_bcache_metadata_written_bytes_total", counter,
      "Sum of all non data writes (btree writes and all other metadata).", "uuid,cache_device", "bytes", kSource}},
    {"written",
     {"node_bcache_written_bytes_total", counter, "Sum of all data that has been written to the cache.",
      "uuid,cache_device", "bytes", kSource}},
};
// Lines of priority_stats.
constexpr AttributeRow kPriorityRows[] = {
    {"Unused",
     {"node_bcache_priority_stats_unused_percent", gauge, "The percentage of the cache that doesn't contain any data.",
      "uuid,cache_device", "", kSource}},
    {"Metadata",
     {"node_bcache_priority_stats_metadata_percent", gauge, "Bcache's metadata overhead.", "uuid,cache_device", "",
      kSource}},
};
constexpr MetricDesc kMetrics[] = {
    {"node_bcache_cache_readaheads_total", counter, "Count of times readahead occurred.", "uuid,backing_device", "",
     kSource},
};
constexpr const MetricDesc& kReadaheads = row(kMetrics, "node_bcache_cache_readaheads_total");
constexpr auto kFamilies = families_of(kSetRows, kBackingRows, kMetrics, kDebugRows, kCacheRows, kPriorityRows);
constexpr FlagSpec kFlags[] = {
    {"collector.bcache.priorityStats", FlagType::boolean, "false", "Expose expensive priority stats."},
};

// "236.3k", "-2.7M", "12": powers of 1024. The digit after the point is the whole hundreds of 1024 in what is left over
// before Linux 4.14 (and "9.10k" is more than "9.9k"), tenths since then (bch_hprint, drivers/md/bcache/util.c; in the
// stable kernels of then as well). The text does not say which: they are taken for the former, as node_exporter does,
// which makes at most .9 into .88, less than what the kernel cut off behind the digit.
std::optional<double> human(std::string_view text) {
  const bool negative = take_prefix(text, "-");
  double factor = 1;
  if (!text.empty() && (text.back() < '0' || text.back() > '9')) {
    constexpr std::string_view kPrefixes = "kMGTPEZY";
    const auto power = kPrefixes.find(text.back());
    if (power == kPrefixes.npos) return std::nullopt;
    factor = std::pow(1024, static_cast<double>(power) + 1);
    text.remove_suffix(1);
  }
  const auto whole = parse_u64(take_until(text, '.'));
  const auto fraction = text.empty() ? std::optional<std::uint64_t>(0) : parse_u64(text);
  if (!whole || !fraction) return std::nullopt;
  const double value = std::floor((static_cast<double>(*whole) + static_cast<double>(*fraction) / 10.24) * factor);
  return negative ? -value : value;
}

// The numbers of one folder. A file that is not there has none.
class Numbers {
 public:
  Numbers(const std::string& folder, std::span<const AttributeRow> rows) : rows_(rows) {
    for (const auto& row : rows) files_.emplace_back(folder + "/" + std::string(row.file));
  }
  template <class... L>
  Result<> emit(BatchWriter& out, const L&... labels) {
    LeftOut left_out;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto text = files_[i].text();
      if (!text) {
        if (const auto* why = files_[i].unreadable()) left_out.add(*why);
        continue;
      }
      if (const auto n = human(*text)) out.set(rows_[i].desc, *n * rows_[i].factor, labels...);
      else left_out.add(malformed(files_[i].path(), *text, "a number, maybe with a unit"));
    }
    return left_out.outcome();
  }

 private:
  std::span<const AttributeRow> rows_;
  std::vector<Attribute> files_;
};

// "rate:		2.7M/sec", "Unused:		93%": the last word of the row's line, without its unit.
template <class... L>
Result<> emit_lines(KernelFile& file, std::span<const AttributeRow> rows, BatchWriter& out, const L&... labels) {
  const auto text = file.read();
  if (!text) return fail(text.error());
  if (is_blank(*text)) return malformed(file.path(), "", "lines 'name: number'");
  LeftOut left_out;
  for (const auto& row : rows) {
    std::optional<double> value;
    for (std::string_view rest = *text; !rest.empty();) {
      const auto line = take_line(rest);
      if (!line.starts_with(row.file) || line.substr(row.file.size(), 1) != ":") continue;
      std::string_view words = line.substr(row.file.size() + 1), word;
      for (auto next = take_word(words); !next.empty(); next = take_word(words)) word = next;
      if (word.ends_with("/sec")) word.remove_suffix(4);
      if (word.ends_with('%')) word.remove_suffix(1);
      const auto n = human(word);
      if (n) value = n;
      else left_out.add(malformed(file.path(), line, "a number"));
    }
    if (value) out.set(row.desc, *value, labels...);
  }
  return left_out.outcome();
}

// A backing device (bdev0), a cache (cache0) or one of the other files of a cache set.
struct Member {
  explicit Member(const std::string& path)
      : backing(path, kBackingRows),
        readaheads(path + "/stats_total/cache_readaheads"),
        debug(path + "/writeback_rate_debug"),
        cache(path, kCacheRows),
        priority(path + "/priority_stats") {}
  Numbers backing;
  Attribute readaheads;
  KernelFile debug;
  Numbers cache;
  KernelFile priority;
};
struct CacheSet {
  explicit CacheSet(const std::string& path) : numbers(path, kSetRows), members(path) {}
  Numbers numbers;
  KernelItems<Member> members;
};

bool is_numbered(std::string_view name, std::string_view prefix) {
  return take_prefix(name, prefix) && !name.empty() && name.front() >= '0' && name.front() <= '9';
}

class Bcache final : public Collector {
 public:
  Bcache(const Host& host, bool priority) : sets_(host.sysfs("fs/bcache")), priority_(priority) {}

  // No bcache here is no error: nothing is emitted.
  Result<> collect(BatchWriter& out) override {
    if (auto listed = sets_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    for (auto& [uuid, set] : sets_.items()) {
      if (uuid.find('-') == uuid.npos) continue;  // "register" and the like
      left_out.add(set.numbers.emit(out, uuid));
      if (auto listed = set.members.refresh(); !listed) {
        if (listed.error().kind != Errc::gone) left_out.add(listed);
        continue;
      }
      for (auto& [name, member] : set.members.items())
        if (is_numbered(name, "bdev")) left_out.add(collect_backing(uuid, name, member, out));
      for (auto& [name, member] : set.members.items())
        if (is_numbered(name, "cache")) left_out.add(collect_cache(uuid, name, member, out));
    }
    return left_out.outcome();
  }

 private:
  static Result<> collect_backing(std::string_view uuid, std::string_view name, Member& member, BatchWriter& out) {
    LeftOut left_out;
    left_out.add(member.backing.emit(out, uuid, name));
    // Gone since 5.18; node_exporter shows it only where it counted.
    const auto text = member.readaheads.text().value_or("0");
    if (const auto n = human(text); !n) left_out.add(malformed(member.readaheads.path(), text, "a number"));
    else if (*n != 0) out.set(kReadaheads, *n, uuid, name);
    left_out.add(emit_lines(member.debug, kDebugRows, out, uuid, name));
    return left_out.outcome();
  }
  Result<> collect_cache(std::string_view uuid, std::string_view name, Member& member, BatchWriter& out) const {
    LeftOut left_out;
    left_out.add(member.cache.emit(out, uuid, name));
    // Sorts every bucket of the cache: only when asked for.
    if (priority_) left_out.add(emit_lines(member.priority, kPriorityRows, out, uuid, name));
    return left_out.outcome();
  }

  KernelItems<CacheSet> sets_;
  bool priority_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Bcache>(host, options.flag("collector.bcache.priorityStats"));
}

}  // namespace

extern const CollectorInfo collector_bcache;
const CollectorInfo collector_bcache{kFamilies, kFlags, make};

}  // namespace vitald
