// SPDX-License-Identifier: Apache-2.0
// Swap areas and how full each is, from /proc/swaps.
#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_swap_size_bytes", gauge, "Swap device size in bytes.", "device,swap_type", "bytes", "/proc/swaps"},
    {"node_swap_used_bytes", gauge, "Swap device used in bytes.", "device,swap_type", "bytes", "/proc/swaps"},
    {"node_swap_priority", gauge, "Swap device priority.", "device,swap_type", "", "/proc/swaps"},
};

constexpr const MetricDesc& kSize = row(kMetrics, "node_swap_size_bytes");
constexpr const MetricDesc& kUsed = row(kMetrics, "node_swap_used_bytes");
constexpr const MetricDesc& kPriority = row(kMetrics, "node_swap_priority");

class Swap final : public Collector {
 public:
  explicit Swap(const Host& host) : file_(host.procfs("swaps"), KernelFile::Read::records) {}

  // "Filename				Type		Size		Used		Priority", then
  // "/dev/zram0                              partition	4194300		92		100"; sizes in KiB
  // (mm/swapfile.c)
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "a line of names");
    LeftOut left_out;
    std::string_view rest = *text;
    take_line(rest);
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto device = take_word(words), type = take_word(words);
      const auto size = take_u64(words), used = take_u64(words);
      const auto priority = parse_i64(take_word(words));
      if (!size || !used || !priority) {
        left_out.add(malformed(file_.path(), line, "two words and three numbers"));
        continue;
      }
      out.set(kSize, static_cast<double>(*size) * 1024, device, type);
      out.set(kUsed, static_cast<double>(*used) * 1024, device, type);
      out.set(kPriority, static_cast<double>(*priority), device, type);
    }
    return left_out.outcome();
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Swap>(host); }

}  // namespace

extern const CollectorInfo collector_swap;
const CollectorInfo collector_swap{kMetrics, {}, make};

}  // namespace vitald
