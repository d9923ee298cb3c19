// SPDX-License-Identifier: Apache-2.0
// Objects in the kernel's slab caches, from /proc/slabinfo.
#include <algorithm>
#include <array>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"

namespace vitald {
namespace {

using enum MetricType;

// In the order of the file's columns.
constexpr MetricDesc kMetrics[] = {
    {"node_slabinfo_active_objects", gauge, "The number of objects that are currently active (i.e., in use).", "slab",
     "", "/proc/slabinfo"},
    {"node_slabinfo_objects", gauge,
     "The total number of allocated objects (i.e., objects that are both in use and not in use).", "slab", "",
     "/proc/slabinfo"},
    {"node_slabinfo_object_size_bytes", gauge, "The size of objects in this slab, in bytes.", "slab", "bytes",
     "/proc/slabinfo"},
    {"node_slabinfo_objects_per_slab", gauge, "The number of objects stored in each slab.", "slab", "",
     "/proc/slabinfo"},
    {"node_slabinfo_pages_per_slab", gauge, "The number of pages allocated for each slab.", "slab", "",
     "/proc/slabinfo"},
};
enum Column : std::size_t { kActive, kObjects };
constexpr FlagSpec kFlags[] = {
    {"collector.slabinfo.slabs-include", FlagType::pattern, ".*", "Regexp of slabs to include in slabinfo collector."},
    {"collector.slabinfo.slabs-exclude", FlagType::pattern, "", "Regexp of slabs to exclude in slabinfo collector."},
};

class Slabinfo final : public Collector {
 public:
  Slabinfo(const Host& host, NameFilter filter)
      : filter_(std::move(filter)), file_(host.procfs("slabinfo"), KernelFile::Read::records) {}

  // "tw_sock_TCP          498    932    320   24    2 : tunables    0    0    0 : slabdata     27     27      0"
  // Modules make caches per device and give them one name: their objects are added up.
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "lines of caches");
    LeftOut left_out;
    slabs_.clear();
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (line.starts_with("slabinfo - version") || line.starts_with('#')) continue;
      std::string_view words = line;
      const auto slab = take_word(words);
      if (slab.empty() || filter_.ignored(slab)) continue;
      Slab now{slab, {}};
      bool good = true;
      for (auto& number : now.numbers) {
        const auto n = take_u64(words);
        good = good && n;
        number = n.value_or(0);
      }
      if (good) slabs_.push_back(now);
      else left_out.add(malformed(file_.path(), line, "a name and five numbers"));
    }
    // In the file's order. The order by name, in which two of one name are neighbours, is made beside it.
    order_.resize(slabs_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    std::ranges::stable_sort(order_, {}, [&](std::size_t i) { return slabs_[i].name; });
    for (std::size_t i = order_.size(); i-- > 1;) {
      auto &first = slabs_[order_[i - 1]], &second = slabs_[order_[i]];
      if (first.name != second.name) continue;
      for (const auto added : {kActive, kObjects}) first.numbers[added] += second.numbers[added];
      second.name = {};
    }
    for (const auto& slab : slabs_)
      for (std::size_t i = 0; !slab.name.empty() && i < std::size(kMetrics); ++i)
        out.set(kMetrics[i], static_cast<double>(slab.numbers[i]), slab.name);
    return left_out.outcome();
  }

 private:
  struct Slab {
    std::string_view name;  // in the file's text; empty: counted with another of that name
    std::array<std::uint64_t, std::size(kMetrics)> numbers;
  };

  NameFilter filter_;
  KernelFile file_;
  std::vector<Slab> slabs_;         // of this run; kept for their memory
  std::vector<std::size_t> order_;  // likewise
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(options.text("collector.slabinfo.slabs-exclude"),
                                 options.text("collector.slabinfo.slabs-include"));
  if (!filter) return fail(filter.error());
  return std::make_unique<Slabinfo>(host, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_slabinfo;
const CollectorInfo collector_slabinfo{kMetrics, kFlags, make};

}  // namespace vitald
