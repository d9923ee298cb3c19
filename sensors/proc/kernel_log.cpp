// SPDX-License-Identifier: Apache-2.0
// The kernel's log as it is written: tasks that hang, disks and filesystems that fail, CPUs that are stuck. Each line
// is an event, and rules that read what it is about are evaluated at once.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "core/collector.h"
#include "core/metric_row.h"
#include "sensors/proc/kernel_log_tail.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"vitald_kernel_log_news_total", counter,
     "Lines of the kernel's log that say that something is wrong, since vitald began to read it, by kind: disk_error "
     "(a disk "
     "did not do what it was asked for), filesystem_error, hung_task (blocked for longer than "
     "kernel.hung_task_timeout_secs), "
     "rcu_stall, soft_lockup.",
     "kind", "", "/dev/kmsg"},
    {"vitald_kernel_log_disk_errors_total", counter,
     "Of those the ones of disks, by device; beyond 64 devices as \"other\".", "device", "", "/dev/kmsg"},
    {"vitald_kernel_log_records_total", counter, "Lines of the kernel's log that were looked at.", "", "", "/dev/kmsg"},
    {"vitald_kernel_log_lost_total", counter,
     "Lines of the kernel's log that it overwrote before they were looked at: it was flooded.", "", "", "/dev/kmsg"},
};
constexpr const MetricDesc& kNews = row(kMetrics, "vitald_kernel_log_news_total");
constexpr const MetricDesc& kDiskErrors = row(kMetrics, "vitald_kernel_log_disk_errors_total");
constexpr const MetricDesc& kRecords = row(kMetrics, "vitald_kernel_log_records_total");
constexpr const MetricDesc& kLost = row(kMetrics, "vitald_kernel_log_lost_total");

class KernelLog final : public Collector {
 public:
  explicit KernelLog(std::unique_ptr<KernelLogTail> tail) : tail_(std::move(tail)) {}

  [[nodiscard]] int news_fd() const override { return tail_->fd(); }

  Result<> collect(BatchWriter& out) override {
    auto taken = tail_->take();
    for (auto& news : taken.news) {
      Event event{std::move(news.kind), news.boot_ns, std::move(news.line), {}};
      if (!news.device.empty()) event.fields.emplace_back("device", std::move(news.device));
      if (!news.comm.empty()) event.fields.emplace_back("comm", std::move(news.comm));
      if (!news.pid.empty()) event.fields.emplace_back("pid", std::move(news.pid));
      event.fields.emplace_back("said_by", news.kernel ? "kernel" : "program");
      out.event(std::move(event));
    }
    for (const auto& [kind, lines] : taken.kinds) out.set(kNews, static_cast<double>(lines), kind);
    for (const auto& [device, lines] : taken.disk_errors) out.set(kDiskErrors, static_cast<double>(lines), device);
    out.set(kRecords, static_cast<double>(taken.records));
    out.set(kLost, static_cast<double>(taken.lost));
    if (!taken.problem.empty()) return fail(Errc::io, taken.problem);
    return {};
  }

 private:
  std::unique_ptr<KernelLogTail> tail_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.view().kernel) return fail(Errc::absent, "/dev/kmsg: the files are of another machine");
  auto tail = KernelLogTail::follow("/dev/kmsg", host.clock());
  // Most that run in a container or as a packaged unit may not, and did not ask for it by name.
  if (!tail) return fail(Errc::absent, tail.error().text, tail.error().err);
  return std::make_unique<KernelLog>(std::move(*tail));
}

}  // namespace

extern const CollectorInfo collector_kernel_log;
const CollectorInfo collector_kernel_log{kMetrics, {}, make};

}  // namespace vitald
