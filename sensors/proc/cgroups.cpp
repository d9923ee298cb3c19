// SPDX-License-Identifier: Apache-2.0
// How many cgroups each controller has, from /proc/cgroups.
#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

// Both families have the same help text in node_exporter.
constexpr MetricDesc kMetrics[] = {
    {"node_cgroups_cgroups", gauge, "Current cgroup number of the subsystem.", "subsys_name", "", "/proc/cgroups"},
    {"node_cgroups_enabled", gauge, "Current cgroup number of the subsystem.", "subsys_name", "", "/proc/cgroups"},
};

constexpr const MetricDesc& kCgroups = row(kMetrics, "node_cgroups_cgroups");
constexpr const MetricDesc& kEnabled = row(kMetrics, "node_cgroups_enabled");

class Cgroups final : public Collector {
 public:
  explicit Cgroups(const Host& host) : file_(host.procfs("cgroups")) {}

  // "#subsys_name	hierarchy	num_cgroups	enabled", then "cpuset	5	47	1"
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "a line of names");
    LeftOut left_out;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (line.starts_with('#')) continue;
      std::string_view words = line;
      const auto name = take_word(words);
      take_u64(words);
      const auto cgroups = take_u64(words), enabled = take_u64(words);
      if (!cgroups || !enabled) {
        left_out.add(malformed(file_.path(), line, "a name and three numbers"));
        continue;
      }
      out.set(kCgroups, static_cast<double>(*cgroups), name);
      out.set(kEnabled, static_cast<double>(*enabled), name);
    }
    return left_out.outcome();
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Cgroups>(host); }

}  // namespace

extern const CollectorInfo collector_cgroups;
const CollectorInfo collector_cgroups{kMetrics, {}, make};

}  // namespace vitald
