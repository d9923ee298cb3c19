// SPDX-License-Identifier: Apache-2.0
// Pages that the kernel merged because they are the same, from /sys/kernel/mm/ksm.
#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr AttributeRow kRows[] = {
    {"full_scans",
     {"node_ksmd_full_scans_total", counter, "How many times all mergeable areas have been scanned.", "", "",
      "/sys/kernel/mm/ksm/full_scans"}},
    {"general_profit",
     {"node_ksmd_general_profit_bytes", gauge,
      "How effective is KSM. ksm_saved_pages * sizeof(page) - (all_rmap_items) * sizeof(rmap_item)", "", "bytes",
      "/sys/kernel/mm/ksm/general_profit"}},
    {"merge_across_nodes",
     {"node_ksmd_merge_across_nodes", gauge, "Specifies if pages from different NUMA nodes can be merged.", "", "",
      "/sys/kernel/mm/ksm/merge_across_nodes"}},
    {"pages_shared",
     {"node_ksmd_pages_shared", gauge, "How many shared pages are being used.", "", "",
      "/sys/kernel/mm/ksm/pages_shared"}},
    {"pages_sharing",
     {"node_ksmd_pages_sharing", gauge, "How many more sites are sharing them i.e. how much saved.", "", "",
      "/sys/kernel/mm/ksm/pages_sharing"}},
    {"pages_to_scan",
     {"node_ksmd_pages_to_scan", gauge, "How many pages to scan before ksmd goes to sleep.", "", "",
      "/sys/kernel/mm/ksm/pages_to_scan"}},
    {"pages_unshared",
     {"node_ksmd_pages_unshared", gauge, "How many pages unique but repeatedly checked for merging.", "", "",
      "/sys/kernel/mm/ksm/pages_unshared"}},
    {"pages_volatile",
     {"node_ksmd_pages_volatile", gauge, "How many pages changing too fast to be placed in a tree.", "", "",
      "/sys/kernel/mm/ksm/pages_volatile"}},
    {"run", {"node_ksmd_run", gauge, "The status of ksmd. stopped = 0, running = 1", "", "", "/sys/kernel/mm/ksm/run"}},
    {"sleep_millisecs",
     {"node_ksmd_sleep_seconds", gauge, "How many seconds ksmd should sleep before next scan.", "", "seconds",
      "/sys/kernel/mm/ksm/sleep_millisecs"},
     1e-3},
};
constexpr auto kMetrics = families_of(kRows);

class Ksmd final : public Collector {
 public:
  explicit Ksmd(const Host& host) : files_(host.sysfs("kernel/mm/ksm"), kRows) {}

  Result<> collect(BatchWriter& out) override {
    files_.emit(out);
    return {};
  }

 private:
  AttributeTable files_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Ksmd>(host); }

}  // namespace

extern const CollectorInfo collector_ksmd;
const CollectorInfo collector_ksmd{kMetrics, {}, make};

}  // namespace vitald
