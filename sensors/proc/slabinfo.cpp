// SPDX-License-Identifier: Apache-2.0
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
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
constexpr FlagSpec kFlags[] = {
    {"collector.slabinfo.slabs-include", FlagType::pattern, ".*", "Regexp of slabs to include in slabinfo collector."},
    {"collector.slabinfo.slabs-exclude", FlagType::pattern, "", "Regexp of slabs to exclude in slabinfo collector."},
};

class Slabinfo final : public Collector {
 public:
  Slabinfo(const Host& host, NameFilter filter)
      : filter_(std::move(filter)), file_(host.procfs("slabinfo"), KernelFile::Read::records) {}

  // "tw_sock_TCP          498    932    320   24    2 : tunables    0    0    0 : slabdata     27     27      0"
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (line.starts_with("slabinfo - version") || line.starts_with('#')) continue;
      std::string_view words = line;
      const auto slab = take_word(words);
      if (filter_.ignored(slab)) continue;
      for (const auto& desc : kMetrics) {
        const auto n = take_u64(words);
        if (!n) return malformed(file_.path(), line, "a name and five numbers");
        out.set(desc, static_cast<double>(*n), slab);
      }
    }
    return {};
  }

 private:
  NameFilter filter_;
  KernelFile file_;
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
