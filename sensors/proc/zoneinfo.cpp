// SPDX-License-Identifier: Apache-2.0
// Watermarks and pages of each memory zone, from /proc/zoneinfo.
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

struct Row {
  std::string_view key;
  MetricDesc desc;
};
constexpr Row kRows[] = {
    {"nr_free_pages",
     {"node_zoneinfo_nr_free_pages", gauge, "Total number of free pages in the zone", "node,zone", "",
      "/proc/zoneinfo"}},
    {"min", {"node_zoneinfo_min_pages", gauge, "Zone watermark pages_min", "node,zone", "", "/proc/zoneinfo"}},
    {"low", {"node_zoneinfo_low_pages", gauge, "Zone watermark pages_low", "node,zone", "", "/proc/zoneinfo"}},
    {"high", {"node_zoneinfo_high_pages", gauge, "Zone watermark pages_high", "node,zone", "", "/proc/zoneinfo"}},
    {"scanned",
     {"node_zoneinfo_scanned_pages", gauge, "Pages scanned since last reclaim", "node,zone", "", "/proc/zoneinfo"}},
    {"spanned",
     {"node_zoneinfo_spanned_pages", gauge, "Total pages spanned by the zone, including holes", "node,zone", "",
      "/proc/zoneinfo"}},
    {"present",
     {"node_zoneinfo_present_pages", gauge, "Physical pages existing within the zone", "node,zone", "",
      "/proc/zoneinfo"}},
    {"managed",
     {"node_zoneinfo_managed_pages", gauge, "Present pages managed by the buddy system", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_active_anon",
     {"node_zoneinfo_nr_active_anon_pages", gauge, "Number of anonymous pages recently more used", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_inactive_anon",
     {"node_zoneinfo_nr_inactive_anon_pages", gauge, "Number of anonymous pages recently less used", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_isolated_anon",
     {"node_zoneinfo_nr_isolated_anon_pages", gauge, "Temporary isolated pages from anon lru", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_anon_pages",
     {"node_zoneinfo_nr_anon_pages", gauge, "Number of anonymous pages currently used by the system", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_anon_transparent_hugepages",
     {"node_zoneinfo_nr_anon_transparent_hugepages", gauge,
      "Number of anonymous transparent huge pages currently used by the system", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_active_file",
     {"node_zoneinfo_nr_active_file_pages", gauge, "Number of active pages with file-backing", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_inactive_file",
     {"node_zoneinfo_nr_inactive_file_pages", gauge, "Number of inactive pages with file-backing", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_isolated_file",
     {"node_zoneinfo_nr_isolated_file_pages", gauge, "Temporary isolated pages from file lru", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_file_pages",
     {"node_zoneinfo_nr_file_pages", gauge, "Number of file pages", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_slab_reclaimable",
     {"node_zoneinfo_nr_slab_reclaimable_pages", gauge, "Number of reclaimable slab pages", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_slab_unreclaimable",
     {"node_zoneinfo_nr_slab_unreclaimable_pages", gauge, "Number of unreclaimable slab pages", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_mlock_stack",
     {"node_zoneinfo_nr_mlock_stack_pages", gauge, "mlock()ed pages found and moved off LRU", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_kernel_stack",
     {"node_zoneinfo_nr_kernel_stacks", gauge, "Number of kernel stacks", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_mapped",
     {"node_zoneinfo_nr_mapped_pages", gauge, "Number of mapped pages", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_dirty", {"node_zoneinfo_nr_dirty_pages", gauge, "Number of dirty pages", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_writeback",
     {"node_zoneinfo_nr_writeback_pages", gauge, "Number of writeback pages", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_unevictable",
     {"node_zoneinfo_nr_unevictable_pages", gauge, "Number of unevictable pages", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_shmem",
     {"node_zoneinfo_nr_shmem_pages", gauge, "Number of shmem pages (included tmpfs/GEM pages)", "node,zone", "",
      "/proc/zoneinfo"}},
    {"nr_dirtied",
     {"node_zoneinfo_nr_dirtied_total", counter, "Page dirtyings since bootup", "node,zone", "", "/proc/zoneinfo"}},
    {"nr_written",
     {"node_zoneinfo_nr_written_total", counter, "Page writings since bootup", "node,zone", "", "/proc/zoneinfo"}},
    {"numa_hit",
     {"node_zoneinfo_numa_hit_total", counter, "Allocated in intended node", "node,zone", "", "/proc/zoneinfo"}},
    {"numa_miss",
     {"node_zoneinfo_numa_miss_total", counter, "Allocated in non intended node", "node,zone", "", "/proc/zoneinfo"}},
    {"numa_foreign",
     {"node_zoneinfo_numa_foreign_total", counter, "Was intended here, hit elsewhere", "node,zone", "",
      "/proc/zoneinfo"}},
    {"numa_interleave",
     {"node_zoneinfo_numa_interleave_total", counter, "Interleaver preferred this zone", "node,zone", "",
      "/proc/zoneinfo"}},
    {"numa_local",
     {"node_zoneinfo_numa_local_total", counter, "Allocation from local node", "node,zone", "", "/proc/zoneinfo"}},
    {"numa_other",
     {"node_zoneinfo_numa_other_total", counter, "Allocation from other node", "node,zone", "", "/proc/zoneinfo"}},
};
constexpr MetricDesc kMetrics[] = {
    {"node_zoneinfo_protection_*", gauge, "*", "node,zone", "", "/proc/zoneinfo"},
};
constexpr auto kFamilies = families_of(kRows, kMetrics);

class Zoneinfo final : public Collector {
 public:
  explicit Zoneinfo(const Host& host) : file_(host.procfs("zoneinfo"), KernelFile::Read::records) {}

  // "Node 0, zone      DMA" and below it "      nr_free_pages 5105", "        min      11",
  // "        protection: (0, 5223, 32079, 32079, 32079)"
  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "'Node N, zone NAME'");
    LeftOut left_out;
    std::string_view node, zone, protection;
    std::array<std::optional<std::int64_t>, std::size(kRows)> values{};
    std::size_t next = 0;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto key = take_word(words);
      if (line.starts_with("Node ")) {
        if (!node.empty()) left_out.add(emit(node, zone, values, protection, out));
        values = {};
        protection = {};
        auto number = take_word(words);
        node = take_until(number, ',');
        const bool named = take_word(words) == "zone";
        zone = take_word(words);
        if (named && !zone.empty()) continue;
        left_out.add(malformed(file_.path(), line, "'Node N, zone NAME'"));
        node = {};  // what follows is nobody's
      } else if (key == "protection:") {
        protection = trim(words);
      } else if (const auto row = find(key, next); row < std::size(kRows)) {
        const auto n = parse_i64(take_word(words));
        if (n) values[row] = *n;
        else left_out.add(malformed(file_.path(), line, "a number"));
      }
    }
    if (!node.empty()) left_out.add(emit(node, zone, values, protection, out));
    return left_out.outcome();
  }

 private:
  // Rows come in nearly the same order for every zone: looks on from where the last one was.
  static std::size_t find(std::string_view key, std::size_t& next) {
    for (std::size_t i = 0; i < std::size(kRows); ++i) {
      const auto row = (next + i) % std::size(kRows);
      if (kRows[row].key == key) return next = row;
    }
    return std::size(kRows);
  }

  Result<> emit(std::string_view node, std::string_view zone,
                std::span<const std::optional<std::int64_t>, std::size(kRows)> values, std::string_view protection,
                BatchWriter& out) {
    const auto all = protection;
    for (std::size_t i = 0; i < std::size(kRows); ++i)
      if (values[i]) out.set(kRows[i].desc, static_cast<double>(*values[i]), node, zone);
    take_prefix(protection, "(");
    for (std::size_t i = 0; !protection.empty(); ++i) {
      auto item = trim(take_until(protection, ','));
      if (item.ends_with(')')) item.remove_suffix(1);
      const auto n = parse_i64(item);
      if (!n) return malformed(file_.path(), all, "protection: and numbers");
      if (i == protections_.size()) {
        const auto number = std::to_string(i);
        protections_.push_back(&pool_->get("node_zoneinfo_protection_" + number, gauge,
                                           "Protection array " + number + ". field", "node,zone"));
      }
      out.set(*protections_[i], static_cast<double>(*n), node, zone);
    }
    return {};
  }

  KernelFile file_;
  std::vector<const MetricDesc*> protections_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Zoneinfo>(host); }

}  // namespace

extern const CollectorInfo collector_zoneinfo;
const CollectorInfo collector_zoneinfo{kFamilies, {}, make};

}  // namespace vitald
