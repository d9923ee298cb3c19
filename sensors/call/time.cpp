// SPDX-License-Identifier: Apache-2.0
// The wall clock, its zone, and which clock source the kernel uses.
#include <fmt/format.h>

#include <ctime>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_time_seconds", MetricType::gauge, "System time in seconds since epoch (1970).", "", "seconds",
     "clock_gettime(2)"},
    {"node_time_zone_offset_seconds", MetricType::gauge, "System time zone offset in seconds.", "time_zone", "seconds",
     "localtime(3)"},
    {"node_time_clocksource_available_info", MetricType::gauge,
     "Available clocksources read from '/sys/devices/system/clocksource'.", "device,clocksource", "",
     "/sys/devices/system/clocksource"},
    {"node_time_clocksource_current_info", MetricType::gauge,
     "Current clocksource read from '/sys/devices/system/clocksource'.", "device,clocksource", "",
     "/sys/devices/system/clocksource"},
};
constexpr const MetricDesc& kNow = row(kMetrics, "node_time_seconds");
constexpr const MetricDesc& kZone = row(kMetrics, "node_time_zone_offset_seconds");
constexpr const MetricDesc& kAvailable = row(kMetrics, "node_time_clocksource_available_info");
constexpr const MetricDesc& kCurrent = row(kMetrics, "node_time_clocksource_current_info");

struct Clocksource {
  std::string device;
  KernelFile available, current;
};

class Time final : public Collector {
 public:
  explicit Time(const Host& host) : host_(host) {
    const auto folder = host.sysfs("devices/system/clocksource");
    const auto names = list_directory(folder);
    if (!names) return;  // no such folder, no clocksources: not an error
    for (const auto& name : *names) {
      std::string_view number = name;
      if (!take_prefix(number, "clocksource") || number.empty() || number.front() < '0' || number.front() > '9')
        continue;
      const auto path = fmt::format("{}/{}", folder, name);
      // node_exporter labels them by their place in the sorted list, not by the number in the name.
      sources_.push_back({std::to_string(sources_.size()), KernelFile(path + "/available_clocksource"),
                          KernelFile(path + "/current_clocksource")});
    }
  }

  Result<> collect(BatchWriter& out) override {
    constexpr std::int64_t kSecond = 1'000'000'000;
    const auto now_ns = host_.clock().wall_ns();
    const auto now_s = static_cast<std::time_t>(now_ns / kSecond);
    // Not now_ns / 1e9: as a double, now_ns is only good to 256 ns.
    out.set(kNow, static_cast<double>(now_s) + static_cast<double>(now_ns % kSecond) / 1e9);
    // localtime_r(3) alone stays with the zone of its first call; this looks at /etc/localtime, a stat(2), and reads it
    // when it is another one. Where TZ says the zone it does nothing.
    tzset();
    tm local{};
    if (localtime_r(&now_s, &local)) out.set(kZone, static_cast<double>(local.tm_gmtoff), local.tm_zone);
    Result<> outcome;
    for (auto& source : sources_) {
      // "tsc hpet acpi_pm" and "tsc"
      if (auto text = source.available.read()) {
        for (auto word = take_word(*text); !word.empty(); word = take_word(*text))
          out.set(kAvailable, 1, source.device, word);
      } else if (outcome) {
        outcome = fail(text.error());
      }
      if (const auto text = source.current.read()) out.set(kCurrent, 1, source.device, trim(*text));
      else if (outcome) outcome = fail(text.error());
    }
    return outcome;
  }

 private:
  const Host& host_;
  std::vector<Clocksource> sources_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Time>(host); }

}  // namespace

extern const CollectorInfo collector_time;
const CollectorInfo collector_time{kMetrics, {}, make};

}  // namespace vitald
