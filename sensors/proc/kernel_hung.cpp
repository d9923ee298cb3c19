// SPDX-License-Identifier: Apache-2.0
// How many hung tasks the kernel has found, from /proc/sys/kernel.
#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_kernel_hung_tasks_total", counter,
     "Total number of tasks that have been detected as hung since the system booted.", "", "",
     "/proc/sys/kernel/hung_task_detect_count"},
};
constexpr const MetricDesc& kHungTasks = row(kMetrics, "node_kernel_hung_tasks_total");

class KernelHung final : public Collector {
 public:
  explicit KernelHung(const Host& host)
      : file_(host.procfs("sys/kernel/hung_task_detect_count"), KernelFile::Read::sysctl) {}

  // "5"; since Linux 6.13 (kernel/hung_task.c)
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return absent_when_gone(text.error());
    const auto n = parse_u64(trim(*text));
    if (!n) return malformed(file_.path(), trim(*text), "a number");
    out.set(kHungTasks, static_cast<double>(*n));
    return {};
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<KernelHung>(host); }

}  // namespace

extern const CollectorInfo collector_kernel_hung;
const CollectorInfo collector_kernel_hung{kMetrics, {}, make};

}  // namespace vitald
