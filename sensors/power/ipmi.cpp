// SPDX-License-Identifier: Apache-2.0
// What the machine's BMC measures, in ipmi_exporter's names, through the kernel's own device: no library is needed. A
// BMC is slow and some lock up when they are asked often, so it is asked every ten seconds at most, by a helper.
#include "sensors/power/ipmi_bmc.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/paced_read.h"

namespace vitald {
namespace {

constexpr std::string_view kSource = "IPMI, Get Sensor Reading";
constexpr MetricDesc kMetrics[] = {
    {"ipmi_up", MetricType::gauge, "'1' if a scrape of the IPMI device was successful, '0' otherwise.", "collector", "",
     "IPMI"},
    {"ipmi_dcmi_power_consumption_watts", MetricType::gauge, "Current power consumption in Watts.", "", "watts",
     "IPMI, DCMI Get Power Reading"},
    {"ipmi_temperature_celsius", MetricType::gauge, "Temperature reading in degree Celsius.", "id,name", "celsius",
     kSource},
    {"ipmi_temperature_state", MetricType::gauge,
     "Reported state of a temperature sensor (0=nominal, 1=warning, 2=critical).", "id,name", "", kSource},
    {"ipmi_fan_speed_rpm", MetricType::gauge, "Fan speed in rotations per minute.", "id,name", "", kSource},
    {"ipmi_fan_speed_ratio", MetricType::gauge, "Fan speed as a proportion of the maximum speed.", "id,name", "ratio",
     kSource},
    {"ipmi_fan_speed_state", MetricType::gauge,
     "Reported state of a fan speed sensor (0=nominal, 1=warning, 2=critical).", "id,name", "", kSource},
    {"ipmi_voltage_volts", MetricType::gauge, "Voltage reading in Volts.", "id,name", "volts", kSource},
    {"ipmi_voltage_state", MetricType::gauge, "Reported state of a voltage sensor (0=nominal, 1=warning, 2=critical).",
     "id,name", "", kSource},
    {"ipmi_current_amperes", MetricType::gauge, "Current reading in Amperes.", "id,name", "amperes", kSource},
    {"ipmi_current_state", MetricType::gauge, "Reported state of a current sensor (0=nominal, 1=warning, 2=critical).",
     "id,name", "", kSource},
    {"ipmi_power_watts", MetricType::gauge, "Power reading in Watts.", "id,name", "watts", kSource},
    {"ipmi_power_state", MetricType::gauge, "Reported state of a power sensor (0=nominal, 1=warning, 2=critical).",
     "id,name", "", kSource},
    {"ipmi_sensor_value", MetricType::gauge,
     "Generic data read from an IPMI sensor of unknown type, relying on labels for context.", "id,name,type", "",
     kSource},
    {"ipmi_sensor_state", MetricType::gauge,
     "Indicates the severity of the state reported by an IPMI sensor (0=nominal, 1=warning, 2=critical).",
     "id,name,type", "", kSource},
    {"vitald_ipmi_read_seconds", MetricType::gauge,
     "Time the last talk with the BMC took. It is had every 10 s; every 60 s where it takes more than a second.", "",
     "seconds", "CLOCK_BOOTTIME"},
};
constexpr auto& kUp = row(kMetrics, "ipmi_up");
constexpr auto& kDcmi = row(kMetrics, "ipmi_dcmi_power_consumption_watts");
constexpr auto& kRatio = row(kMetrics, "ipmi_fan_speed_ratio");
constexpr auto& kFanState = row(kMetrics, "ipmi_fan_speed_state");
constexpr auto& kValue = row(kMetrics, "ipmi_sensor_value");
constexpr auto& kState = row(kMetrics, "ipmi_sensor_state");
constexpr auto& kReadSeconds = row(kMetrics, "vitald_ipmi_read_seconds");

constexpr FlagSpec kFlags[] = {
    {"collector.ipmi.device", FlagType::text, "/dev/ipmi0", "The BMC's device."},
};

struct Typed {
  ipmi::Unit unit;
  const MetricDesc *value, *state;
};
constexpr Typed kTyped[] = {
    {ipmi::Unit::celsius, &row(kMetrics, "ipmi_temperature_celsius"), &row(kMetrics, "ipmi_temperature_state")},
    {ipmi::Unit::rpm, &row(kMetrics, "ipmi_fan_speed_rpm"), &row(kMetrics, "ipmi_fan_speed_state")},
    {ipmi::Unit::volts, &row(kMetrics, "ipmi_voltage_volts"), &row(kMetrics, "ipmi_voltage_state")},
    {ipmi::Unit::amperes, &row(kMetrics, "ipmi_current_amperes"), &row(kMetrics, "ipmi_current_state")},
    {ipmi::Unit::watts, &row(kMetrics, "ipmi_power_watts"), &row(kMetrics, "ipmi_power_state")},
};
constexpr std::uint8_t kFan = 4;

constexpr std::int64_t kEveryNs = 10 * kSecond;

class Ipmi final : public Collector {
 public:
  Ipmi(const Host& host, ipmi::Ask ask)
      : host_(host),
        read_([bmc = std::make_shared<ipmi::Bmc>(std::move(ask))](ipmi::Readings& out) { bmc->read(out); }),
        helpers_(1) {}

  Result<> collect(BatchWriter& out) override {
    const auto now = host_.clock().boot_ns();
    PacedRound round(helpers_, now);
    if (!read_.pending() && now >= due_ns_) {
      round.start(read_);
      due_ns_ = now + kEveryNs;
    }
    round.wait();
    read_.settle(now);
    const auto waiting = read_.waiting_ns(now);
    if (waiting > PacedRound::kPatienceNs) out.problem({Errc::timeout, 0, "BMC: the talk with it has no end"});
    if (read_.gave_up(now)) {
      out.set(kUp, 0, "ipmi");
      if (has_dcmi_) out.set(kUp, 0, "dcmi");
      return {};
    }
    const auto* readings = read_.values(now);
    if (!readings) return {};  // the first talk, in which it tells all its sensors, takes some seconds
    has_dcmi_ = readings->has_dcmi;
    emit(*readings, out);
    out.set(kReadSeconds, static_cast<double>(read_.read_ns()) / 1e9);
    if (!readings->dcmi_outcome) return fail(readings->dcmi_outcome.error());
    if (!readings->sensors_outcome) return fail(readings->sensors_outcome.error());
    return {};
  }

 private:
  static void emit(const ipmi::Readings& readings, BatchWriter& out) {
    out.set(kUp, readings.sensors_outcome ? 1 : 0, "ipmi");
    if (readings.has_dcmi) out.set(kUp, readings.dcmi_outcome ? 1 : 0, "dcmi");
    if (readings.watts) out.set(kDcmi, *readings.watts);
    for (const auto& [sensor, state] : readings.sensors) {
      const Decimal id(sensor.record);
      const auto* typed = std::ranges::find(kTyped, sensor.unit, &Typed::unit);
      if (typed != std::end(kTyped)) {
        if (state.value) out.set(*typed->value, *state.value, id, sensor.name);
        if (state.severity) out.set(*typed->state, *state.severity, id, sensor.name);
      } else if (sensor.unit == ipmi::Unit::percent && sensor.type == kFan) {
        if (state.value) out.set(kRatio, *state.value * 0.01, id, sensor.name);
        if (state.severity) out.set(kFanState, *state.severity, id, sensor.name);
      } else {
        if (state.value) out.set(kValue, *state.value, id, sensor.name, ipmi::type_name(sensor.type));
        if (state.severity) out.set(kState, *state.severity, id, sensor.name, ipmi::type_name(sensor.type));
      }
    }
  }

  const Host& host_;
  PacedRead<ipmi::Readings> read_;
  HelperPool helpers_;
  std::int64_t due_ns_ = 0;
  bool has_dcmi_ = false;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "ipmi: only on the running system");
  auto ask = ipmi::ask_device(std::string(options.text("collector.ipmi.device")));
  if (!ask) {
    auto error = ask.error();
    if (error.kind == Errc::gone) error.kind = Errc::absent;  // no BMC, or ipmi_devintf is not loaded
    return fail(std::move(error));
  }
  return make_ipmi(host, std::move(*ask));
}

}  // namespace

std::unique_ptr<Collector> make_ipmi(const Host& host, ipmi::Ask ask) {
  return std::make_unique<Ipmi>(host, std::move(ask));
}

extern const CollectorInfo collector_ipmi;
const CollectorInfo collector_ipmi{kMetrics, kFlags, make};

}  // namespace vitald
