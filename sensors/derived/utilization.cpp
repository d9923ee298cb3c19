// SPDX-License-Identifier: Apache-2.0
// How busy the machine's resources are, from the counters that cpu, meminfo, diskstats, netdev and netclass gave in
// this cycle and in one before. What is not known is absent, never a guess.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/deriver.h"
#include "core/layout_map.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"vitald_utilization_ratio", MetricType::gauge,
     "How much of a resource is used, 0 to 1: cpu, the share of all CPUs' time that was not idle or waiting for I/O; "
     "memory, what is not available; disk, the busiest one's share of time with I/O; network, the fuller direction of "
     "the "
     "fullest link whose speed is known. Since the collection before, at least a second; absent where that was more "
     "than "
     "five minutes ago.",
     "resource", "", "vitald"},
    // Whoever decides by a ratio asks for one of now: where nobody collects in between it is the mean of minutes.
    {"vitald_utilization_over_seconds", MetricType::gauge,
     "What time the ratio is the mean of; 0 where there was only one look.", "resource", "seconds", "vitald",
     Shown::inside},
};
constexpr auto &kRatio = kMetrics[0], &kOver = kMetrics[1];

// The kernel counts CPU time in ticks of 10 ms: over less than this a ratio says little.
constexpr std::int64_t kLeastNs = 1'000'000'000;
// The mean of more than this is no number of now: it is as long as Prometheus shows what it scraped last.
constexpr std::int64_t kMostNs = 300'000'000'000;

enum Wanted : std::size_t { cpu, total_memory, available_memory, io_time, received, sent, speed, kWantedCount };
constexpr std::string_view kNames[kWantedCount] = {
    "node_cpu_seconds_total",          "node_memory_MemTotal_bytes",       "node_memory_MemAvailable_bytes",
    "node_disk_io_time_seconds_total", "node_network_receive_bytes_total", "node_network_transmit_bytes_total",
    "node_network_speed_bytes"};

// Where a layout has what is wanted.
struct Row {
  std::uint32_t value;
  std::uint32_t id;  // of the CPU, disk or link, in Ids
  bool idle = false;
};
struct Rows {
  std::array<std::vector<Row>, kWantedCount> of;
  bool any = false;
};

// Numbers for names, so that no name is compared from cycle to cycle.
class Ids {
 public:
  std::uint32_t of(std::string_view name) {
    const auto at = ids_.find(name);
    if (at != ids_.end()) return at->second;
    const auto id = static_cast<std::uint32_t>(ids_.size());
    ids_.emplace(name, id);
    return id;
  }
  [[nodiscard]] std::size_t size() const { return ids_.size(); }

 private:
  std::map<std::string, std::uint32_t, std::less<>> ids_;
};

std::string_view label(const Sample& s, std::string_view name) {
  for (const auto& l : Layout::labels(s))
    if (l.name == name) return l.value;
  return {};
}

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Counters of several things at one time; NaN where a thing has none.
struct Counters {
  std::int64_t boot_ns = 0;
  std::vector<std::array<double, 2>> values;

  std::array<double, 2>& at(std::uint32_t id) {
    if (values.size() <= id) values.resize(id + 1, {kNone, kNone});
    return values[id];
  }
  // How much both have grown since then, for what is in both and was not set back.
  template <class Each>
  void since(const Counters& before, Each&& each) const {
    for (std::size_t id = 0; id < std::min(values.size(), before.values.size()); ++id) {
      const double a = values[id][0] - before.values[id][0], b = values[id][1] - before.values[id][1];
      if (a >= 0 && b >= 0) each(static_cast<std::uint32_t>(id), a, b);
    }
  }
};

// A ratio between two readings that lie far enough apart; in between the last one stands.
class Measured {
 public:
  Counters now;

  void begin() { now.values.clear(), now.boot_ns = 0; }
  // `ratio(before, seconds)`: nothing when it is not known.
  template <class Ratio>
  std::optional<double> end(Ratio&& ratio) {
    if (now.boot_ns == 0) {  // nobody gives these numbers any more
      before_ = {};
      over_s_.reset();
      return last_ = std::nullopt;
    }
    const auto passed_ns = now.boot_ns - before_.boot_ns;
    if (before_.boot_ns != 0 && passed_ns < kLeastNs) return last_;
    const bool follows = before_.boot_ns != 0 && passed_ns <= kMostNs;
    over_s_ = follows ? static_cast<double>(passed_ns) / 1e9 : 0;
    last_ = follows ? ratio(before_, *over_s_) : std::nullopt;
    before_ = now;
    return last_;
  }
  // What the last one is the mean of; 0: one look. Nothing when nobody gives these numbers.
  [[nodiscard]] std::optional<double> over_s() const { return over_s_; }

 private:
  Counters before_;
  std::optional<double> last_, over_s_;
};

class Utilization final : public Deriver {
 public:
  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    // Links of containers come and go under ever new names. Beginning anew costs one interval.
    if (ids_.size() > kMostIds) {
      ids_ = {};
      rows_ = {};
      cpu_ = disk_ = network_ = {};
    }
    for (auto* m : {&cpu_, &disk_, &network_}) m->begin();
    speeds_.clear();
    std::optional<double> total, available;
    for (const auto& batch : so_far.batches) {
      const auto& rows = rows_.of(batch->layout, [this](const Layout& layout) { return find(layout); });
      if (!rows.any) continue;
      const auto& values = batch->values;
      for (const auto& row : rows.of[Wanted::cpu]) {
        auto& [all, idle] = cpu_.now.at(row.id);
        if (std::isnan(all)) all = idle = 0;
        all += values[row.value];
        if (row.idle) idle += values[row.value];
        cpu_.now.boot_ns = batch->collected_boot_ns;
      }
      for (const auto& row : rows.of[io_time]) {
        disk_.now.at(row.id) = {values[row.value], 0};
        disk_.now.boot_ns = batch->collected_boot_ns;
      }
      for (const auto direction : {received, sent})
        for (const auto& row : rows.of[direction]) {
          network_.now.at(row.id)[direction == sent] = values[row.value];
          network_.now.boot_ns = batch->collected_boot_ns;
        }
      for (const auto& row : rows.of[speed]) {
        if (speeds_.size() <= row.id) speeds_.resize(row.id + 1, 0);
        speeds_[row.id] = values[row.value];
      }
      for (const auto& row : rows.of[total_memory]) total = values[row.value];
      for (const auto& row : rows.of[available_memory]) available = values[row.value];
    }

    emit(out, "cpu", cpu_.end([&](const Counters& before, double) -> std::optional<double> {
      double all = 0, idle = 0;
      cpu_.now.since(before, [&](std::uint32_t, double a, double i) { all += a, idle += i; });
      if (all <= 0) return std::nullopt;
      return 1 - idle / all;
    }));
    if (total && available && *total > 0) emit(out, "memory", 1 - *available / *total);
    emit(out, "disk", disk_.end([&](const Counters& before, double seconds) {
      std::optional<double> most;
      disk_.now.since(before,
                      [&](std::uint32_t, double busy, double) { most = std::max(most.value_or(0), busy / seconds); });
      return most;
    }));
    emit(out, "network", network_.end([&](const Counters& before, double seconds) {
      std::optional<double> most;
      network_.now.since(before, [&](std::uint32_t id, double in, double out_bytes) {
        // The kernel says -1 where a driver does not know, some drivers 0 while the link is down.
        if (id >= speeds_.size() || !(speeds_[id] > 0)) return;
        most = std::max(most.value_or(0), std::max(in, out_bytes) / seconds / speeds_[id]);
      });
      return most;
    }));
    for (const auto& [resource, measured] : {std::pair("cpu", &cpu_), {"disk", &disk_}, {"network", &network_}})
      if (const auto over = measured->over_s()) out.set(kOver, *over, resource);
    rows_.forget_unused();
    return {};
  }

 private:
  static void emit(BatchWriter& out, std::string_view resource, std::optional<double> ratio) {
    if (ratio) out.set(kRatio, std::clamp(*ratio, 0.0, 1.0), resource);
  }

  Rows find(const Layout& layout) {
    Rows rows;
    for (const auto& s : layout.samples()) {
      if (!s.family->name.starts_with("node_")) continue;
      const auto wanted = static_cast<std::size_t>(std::ranges::find(kNames, s.family->name) - std::begin(kNames));
      if (wanted == kWantedCount) continue;
      rows.any = true;
      Row row{s.value, 0};
      if (wanted == Wanted::cpu) {
        const auto mode = label(s, "mode");
        row.id = ids_.of(label(s, "cpu"));
        row.idle = mode == "idle" || mode == "iowait";
      } else if (wanted > available_memory) {
        row.id = ids_.of(label(s, "device"));
      }
      rows.of[wanted].push_back(row);
    }
    return rows;
  }

  static constexpr std::size_t kMostIds = 20'000;
  Ids ids_;
  LayoutMap<Rows> rows_;
  Measured cpu_, disk_, network_;
  std::vector<double> speeds_;  // bytes per second, by id
};

Result<std::unique_ptr<Deriver>> derive(const Host&, const Options&) { return std::make_unique<Utilization>(); }

}  // namespace

extern const CollectorInfo collector_utilization;
const CollectorInfo collector_utilization{kMetrics, {}, nullptr, {}, derive};

}  // namespace vitald
