// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/health.h"

namespace vitald {
namespace {

constexpr MetricDesc kDuration{"node_scrape_collector_duration_seconds",
                               MetricType::gauge,
                               "node_exporter: Duration of a collector scrape.",
                               "collector",
                               "seconds",
                               "vitald"};
constexpr MetricDesc kSuccess{"node_scrape_collector_success",
                              MetricType::gauge,
                              "node_exporter: Whether a collector succeeded.",
                              "collector",
                              "",
                              "vitald"};
constexpr MetricDesc kCpu{
    "vitald_collector_cpu_seconds_total",
    MetricType::counter,
    "CPU time a collector has used; measured now and then, in between it follows from the time that passed.",
    "collector",
    "seconds",
    "vitald"};
constexpr MetricDesc kAge{"vitald_collector_age_seconds",
                          MetricType::gauge,
                          "How old a collector's numbers were when the snapshot was made; more than a moment only from "
                          "worker processes and of one that hangs.",
                          "collector",
                          "seconds",
                          "vitald"};
constexpr MetricDesc kErrors{"vitald_collector_errors_total",
                             MetricType::counter,
                             "Failed collections and failed single items, by what a caller can do about them.",
                             "collector,kind",
                             "",
                             "vitald"};
constexpr MetricDesc kLeftOut{
    "vitald_collector_left_out",
    MetricType::gauge,
    "Items (devices, lines of a kernel table, series) that the collector's last run had to leave out; the log says "
    "which. A failure of the whole counts as one.",
    "collector",
    "",
    "vitald"};
constexpr MetricDesc kUp{
    "vitald_worker_up", MetricType::gauge, "Whether the collector's worker process runs.", "collector", "", "vitald"};
constexpr MetricDesc kStarts{"vitald_worker_starts_total",
                             MetricType::counter,
                             "Starts of a collector's worker process.",
                             "collector",
                             "",
                             "vitald"};
constexpr MetricDesc kKills{"vitald_worker_deadline_kills_total",
                            MetricType::counter,
                            "Worker processes killed because an answer did not come in time.",
                            "collector",
                            "",
                            "vitald"};
constexpr MetricDesc kCrashes{"vitald_worker_crashes_total",
                              MetricType::counter,
                              "Worker processes that ended by themselves.",
                              "collector",
                              "",
                              "vitald"};
constexpr MetricDesc kStuck{"vitald_worker_stuck",
                            MetricType::gauge,
                            "1 while a killed worker process does not end, waiting in the kernel (state D).",
                            "collector",
                            "",
                            "vitald"};

}  // namespace

std::span<const MetricDesc> HealthWriter::metrics() {
  static constexpr MetricDesc kAll[] = {kDuration, kSuccess, kCpu,   kAge,     kErrors, kLeftOut,
                                        kUp,       kStarts,  kKills, kCrashes, kStuck};
  return kAll;
}

void HealthWriter::on(const Row& row) {
  writer_.set(kDuration, row.duration_s, row.collector);
  writer_.set(kSuccess, row.ok ? 1 : 0, row.collector);
  writer_.set(kCpu, row.cpu_s, row.collector);
  writer_.set(kAge, row.age_s, row.collector);
  writer_.set(kLeftOut, static_cast<double>(row.trouble.left_out()), row.collector);
  const auto errors = row.trouble.errors();
  for (std::size_t i = 0; i < errors.size(); ++i)
    if (errors[i] != 0) writer_.set(kErrors, static_cast<double>(errors[i]), row.collector, Trouble::kind(i));
}

void HealthWriter::worker(std::string_view collector, const WorkerClient::Stats& stats) {
  writer_.set(kUp, stats.pid > 0 ? 1 : 0, collector);
  writer_.set(kStarts, static_cast<double>(stats.starts), collector);
  writer_.set(kKills, static_cast<double>(stats.deadline_kills), collector);
  writer_.set(kCrashes, static_cast<double>(stats.crashes), collector);
  writer_.set(kStuck, stats.stuck ? 1 : 0, collector);
}

void HealthWriter::not_on(std::string_view collector, bool ok) {
  writer_.set(kDuration, 0, collector);
  writer_.set(kSuccess, ok ? 1 : 0, collector);
}

BatchPtr health_of(const Batch& all, const std::function<bool(std::string_view)>& keep, BatchWriter& writer) {
  writer.begin(all.collected_boot_ns);
  for (const auto& sample : all.layout->samples()) {
    const auto labels = all.layout->labels(sample);
    for (const auto& label : labels)
      if (label.name == "collector" && keep(label.value))
        writer.set_labels(*sample.family, all.values[sample.value], labels);
  }
  return writer.finish({}, 0, 0);
}

}  // namespace vitald
