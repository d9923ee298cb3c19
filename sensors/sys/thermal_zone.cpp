// SPDX-License-Identifier: Apache-2.0
// Temperatures and cooling devices, from /sys/class/thermal.
#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/paced_read.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_thermal_zone_temp", MetricType::gauge, "Zone temperature in Celsius", "zone,type", "celsius",
     "/sys/class/thermal/thermal_zone*/temp"},
    {"node_cooling_device_cur_state", MetricType::gauge, "Current throttle state of the cooling device", "name,type",
     "", "/sys/class/thermal/cooling_device*/cur_state"},
    {"node_cooling_device_max_state", MetricType::gauge, "Maximum throttle state of the cooling device", "name,type",
     "", "/sys/class/thermal/cooling_device*/max_state"},
};
constexpr auto& kTemp = row(kMetrics, "node_thermal_zone_temp");
constexpr auto& kCurState = row(kMetrics, "node_cooling_device_cur_state");
constexpr auto& kMaxState = row(kMetrics, "node_cooling_device_max_state");

constexpr double kPerDegree = 1000;
constexpr std::int64_t kRereadNs = 60 * kSecond;

constexpr std::string_view kZone = "thermal_zone", kDevice = "cooling_device";

// The rest of a name that has at least one digit after the prefix.
std::optional<std::string_view> number_after(std::string_view name, std::string_view prefix) {
  if (!take_prefix(name, prefix) || name.empty() || name.front() < '0' || name.front() > '9') return std::nullopt;
  return name;
}

struct Reading {
  std::optional<std::int64_t> temp, cur_state, max_state;
  std::vector<Error> problems;
};

// One folder of class/thermal. Zones and cooling devices may sit behind ACPI methods or a slow bus, so each
// has its own pace.
class Item {
 public:
  explicit Item(const std::string& path) : type_(path + "/type"), read(reader(path)) {}

  std::string_view type() {
    if (!known_type_) known_type_.emplace(type_.text().value_or(""));
    return *known_type_;
  }

 private:
  static PacedRead<Reading>::Read reader(const std::string& path) {
    struct Files {
      Attribute temp, cur_state, max_state;
      std::optional<std::int64_t> most;  // it moves with the device's driver only: read now and then
      std::int64_t read_ns = 0;
    };
    auto files = std::make_shared<Files>(
        Files{Attribute(path + "/temp"), Attribute(path + "/cur_state"), Attribute(path + "/max_state"), {}});
    return [files](Reading& out) {
      const auto now_ns = PacedRead<Reading>::boot_ns();
      if (!files->most || now_ns - files->read_ns > kRereadNs) {
        files->read_ns = now_ns;
        files->most = files->max_state.i64();
      }
      out.problems.clear();
      out.temp = files->temp.i64();
      // -1 is a state too: intel_powerclamp when it is idle.
      out.cur_state = files->cur_state.i64();
      out.max_state = files->most;
      for (const auto* file : {&files->temp, &files->cur_state, &files->max_state})
        if (auto why = file->no_number()) out.problems.push_back(std::move(*why));
    };
  }

  Attribute type_;
  std::optional<std::string> known_type_;  // it is set at registration and never changes

 public:
  PacedRead<Reading> read;
};

class ThermalZone final : public Collector {
 public:
  explicit ThermalZone(const Host& host) : host_(host), items_(host.sysfs("class/thermal")), helpers_(2) {}

  Result<> collect(BatchWriter& out) override {
    if (const auto listed = items_.refresh(); !listed) return absent_when_gone(listed.error());
    const auto now = host_.clock().boot_ns();
    PacedRound round(helpers_, now);
    for (auto& item : items_.items()) round.start(item.value.read);
    round.wait();

    // A zone whose sensor cannot be read now (EINVAL, ENODATA of a disabled one) has no value. node_exporter
    // 1.12.1 says 0 degrees then.
    for (auto& item : items_.items()) {
      item.value.read.settle(now);
      const auto* values = item.value.read.values(now);
      if (item.value.read.waiting_ns(now) > PacedRound::kPatienceNs)
        out.problem({Errc::timeout, 0, fmt::format("{}/{}: a read does not return", items_.path(), item.name)});
      if (values)
        for (const auto& problem : values->problems) out.problem(problem);
      const auto zone = number_after(item.name, kZone);
      if (!zone || !values || !values->temp) continue;
      const double celsius = static_cast<double>(*values->temp) / kPerDegree;
      if (!is_no_reading(Quantity::celsius, celsius, kPerDegree, false))
        out.set(kTemp, celsius, *zone, item.value.type());
    }
    for (auto& item : items_.items()) {
      const auto device = number_after(item.name, kDevice);
      const auto* values = item.value.read.values(now);
      if (!device || !values || !values->cur_state || !values->max_state) continue;
      out.set(kCurState, static_cast<double>(*values->cur_state), *device, item.value.type());
      out.set(kMaxState, static_cast<double>(*values->max_state), *device, item.value.type());
    }
    return {};
  }

 private:
  const Host& host_;
  KernelItems<Item> items_;
  HelperPool helpers_;
};

// Absent, so that no process is started for nothing. Without an errno it counts as a success: node_exporter
// says so without zones and even without the folder.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  const auto path = host.sysfs("class/thermal");
  const auto entries = list_directory(path);
  if (!entries && entries.error().kind != Errc::gone) return fail(entries.error());
  for (const auto& name : entries.value_or(std::vector<std::string>()))
    if (number_after(name, kZone) || number_after(name, kDevice)) return std::make_unique<ThermalZone>(host);
  return fail(Errc::absent, path + ": this machine has no thermal zone and no cooling device");
}

}  // namespace

extern const CollectorInfo collector_thermal_zone;
const CollectorInfo collector_thermal_zone{kMetrics, {}, make};

}  // namespace vitald
