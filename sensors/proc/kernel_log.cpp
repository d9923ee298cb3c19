// SPDX-License-Identifier: Apache-2.0
// The kernel's log as it is written: tasks that hang, disks and filesystems that fail, CPUs that are stuck, mistakes of
// processors and memory. Each line
// is an event, and rules that read what it is about are evaluated at once.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "sensors/proc/kernel_log_tail.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"vitald_kernel_log_news_total", counter,
     "Lines of the kernel's log that say that something is wrong, since vitald began to read it, by kind: disk_error "
     "(a disk "
     "did not do what it was asked for), filesystem_error, hung_task (blocked for longer than "
     "kernel.hung_task_timeout_secs), "
     "rcu_stall, soft_lockup; of hardware machine_check (a processor told of an error), memory_error (EDAC: of a "
     "memory "
     "controller, corrected or not), memory_failure (a page that was lost), firmware_error (told through ACPI's GHES).",
     "kind", "", "/dev/kmsg"},
    {"vitald_kernel_log_disk_errors_total", counter,
     "Of those the ones of disks, by device, from 0 for the disks that are there; beyond 64 devices as "
     "\"other\".",
     "device", "", "/dev/kmsg"},
    {"vitald_kernel_log_news_left_out_total", counter,
     "Of those the ones that are only counted and are no events: more than 256 came between two collections.", "", "",
     "/dev/kmsg"},
    {"vitald_kernel_log_records_total", counter, "Lines of the kernel's log that were looked at.", "", "", "/dev/kmsg"},
    {"vitald_kernel_log_lost_total", counter,
     "Lines of the kernel's log that it overwrote before they were looked at: it was flooded.", "", "", "/dev/kmsg"},
};
constexpr const MetricDesc& kNews = row(kMetrics, "vitald_kernel_log_news_total");
constexpr const MetricDesc& kDiskErrors = row(kMetrics, "vitald_kernel_log_disk_errors_total");
constexpr const MetricDesc& kLeftOut = row(kMetrics, "vitald_kernel_log_news_left_out_total");
constexpr const MetricDesc& kRecords = row(kMetrics, "vitald_kernel_log_records_total");
constexpr const MetricDesc& kLost = row(kMetrics, "vitald_kernel_log_lost_total");

// Whose first error is to be seen as a growth, also after a restart. Not those of files, memory and drives with an
// exchangeable medium.
std::vector<std::string> disks_of(const Host& host) {
  std::vector<std::string> disks;
  if (auto names = list_directory(host.sysfs("block"))) disks = std::move(*names);
  std::erase_if(disks, [](const std::string& name) {
    return std::ranges::any_of(std::to_array<std::string_view>({"fd", "loop", "ram", "sr", "zram"}), [&](auto kind) {
      return name.starts_with(kind) && name.find_first_not_of("0123456789", kind.size()) == std::string::npos;
    });
  });
  std::ranges::sort(disks);
  if (disks.size() > KernelLogTail::kMostDevices) disks.resize(KernelLogTail::kMostDevices);
  return disks;
}

class KernelLog final : public Collector {
 public:
  KernelLog(std::unique_ptr<KernelLogTail> tail, const Host& host)
      : tail_(std::move(tail)), host_(host), devices_(host.sysfs("block"), host.clock()) {}

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
    if (devices_.changed()) disks_ = disks_of(host_);
    for (const auto& disk : disks_)
      if (!taken.disk_errors.contains(disk)) out.set(kDiskErrors, 0, disk);
    out.set(kLeftOut, static_cast<double>(taken.left_out));
    out.set(kRecords, static_cast<double>(taken.records));
    out.set(kLost, static_cast<double>(taken.lost));
    if (!taken.problem.empty()) return fail(Errc::io, taken.problem);
    return {};
  }

 private:
  std::unique_ptr<KernelLogTail> tail_;
  const Host& host_;
  DeviceWatch devices_;
  std::vector<std::string> disks_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.view().kernel) return fail(Errc::absent, "/dev/kmsg: the files are of another machine");
  auto tail = KernelLogTail::follow("/dev/kmsg", host.clock());
  // Most that run in a container or as a packaged unit may not, and did not ask for it by name.
  if (!tail) return fail(Errc::absent, tail.error().text, tail.error().err);
  return std::make_unique<KernelLog>(std::move(*tail), host);
}

}  // namespace

extern const CollectorInfo collector_kernel_log;
const CollectorInfo collector_kernel_log{kMetrics, {}, make};

}  // namespace vitald
