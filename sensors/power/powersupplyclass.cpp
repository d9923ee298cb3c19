// SPDX-License-Identifier: Apache-2.0
// Batteries and mains from /sys/class/power_supply.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/paced_read.h"

namespace vitald {
namespace {

#define ROW(file, scale, name)                                                                                \
  {                                                                                                           \
    file, scale, {                                                                                            \
      "node_power_supply_" name, MetricType::gauge, name " value of /sys/class/power_supply/<power_supply>.", \
          "power_supply", "", "/sys/class/power_supply/*/" file                                               \
    }                                                                                                         \
  }

// The kernel's units are uA, uV, uW, uAh, uWh, tenths of a degree and seconds
// (Documentation/power/power_supply_class.rst). Only the "now" values have a unit in their names.
struct Row {
  std::string_view file;
  double divisor;
  MetricDesc desc;
};
constexpr Row kRows[] = {
    ROW("authentic", 1, "authentic"),
    ROW("calibrate", 1, "calibrate"),
    ROW("capacity", 1, "capacity"),
    ROW("capacity_alert_max", 1, "capacity_alert_max"),
    ROW("capacity_alert_min", 1, "capacity_alert_min"),
    ROW("cycle_count", 1, "cyclecount"),
    ROW("online", 1, "online"),
    ROW("present", 1, "present"),
    ROW("time_to_empty_now", 1, "time_to_empty_seconds"),
    ROW("time_to_full_now", 1, "time_to_full_seconds"),
    ROW("current_boot", 1e6, "current_boot"),
    ROW("current_max", 1e6, "current_max"),
    ROW("current_now", 1e6, "current_ampere"),
    ROW("energy_empty", 1e6, "energy_empty"),
    ROW("energy_empty_design", 1e6, "energy_empty_design"),
    ROW("energy_full", 1e6, "energy_full"),
    ROW("energy_full_design", 1e6, "energy_full_design"),
    ROW("energy_now", 1e6, "energy_watthour"),
    ROW("voltage_boot", 1e6, "voltage_boot"),
    ROW("voltage_max", 1e6, "voltage_max"),
    ROW("voltage_max_design", 1e6, "voltage_max_design"),
    ROW("voltage_min", 1e6, "voltage_min"),
    ROW("voltage_min_design", 1e6, "voltage_min_design"),
    ROW("voltage_now", 1e6, "voltage_volt"),
    ROW("voltage_ocv", 1e6, "voltage_ocv"),
    ROW("charge_control_limit", 1e6, "charge_control_limit"),
    ROW("charge_control_limit_max", 1e6, "charge_control_limit_max"),
    ROW("charge_counter", 1e6, "charge_counter"),
    ROW("charge_empty", 1e6, "charge_empty"),
    ROW("charge_empty_design", 1e6, "charge_empty_design"),
    ROW("charge_full", 1e6, "charge_full"),
    ROW("charge_full_design", 1e6, "charge_full_design"),
    ROW("charge_now", 1e6, "charge_ampere"),
    ROW("charge_term_current", 1e6, "charge_term_current"),
    ROW("constant_charge_current", 1e6, "constant_charge_current"),
    ROW("constant_charge_current_max", 1e6, "constant_charge_current_max"),
    ROW("constant_charge_voltage", 1e6, "constant_charge_voltage"),
    ROW("constant_charge_voltage_max", 1e6, "constant_charge_voltage_max"),
    ROW("precharge_current", 1e6, "precharge_current"),
    ROW("input_current_limit", 1e6, "input_current_limit"),
    ROW("power_now", 1e6, "power_watt"),
    ROW("temp", 10, "temp_celsius"),
    ROW("temp_alert_max", 10, "temp_alert_max_celsius"),
    ROW("temp_alert_min", 10, "temp_alert_min_celsius"),
    ROW("temp_ambient", 10, "temp_ambient_celsius"),
    ROW("temp_ambient_max", 10, "temp_ambient_max_celsius"),
    ROW("temp_ambient_min", 10, "temp_ambient_min_celsius"),
    ROW("temp_max", 10, "temp_max_celsius"),
    ROW("temp_min", 10, "temp_min_celsius"),
};
#undef ROW

constexpr std::string_view kTexts[] = {"capacity_level", "charge_type", "health",        "manufacturer",
                                       "model_name",     "scope",       "serial_number", "status",
                                       "technology",     "type",        "usb_type"};

constexpr MetricDesc kInfo{"node_power_supply_info",
                           MetricType::gauge,
                           "info of /sys/class/power_supply/<power_supply>.",
                           "power_supply,*",
                           "",
                           "/sys/class/power_supply/*"};
constexpr auto kMetrics = [] {
  std::array<MetricDesc, std::size(kRows) + 1> all{};
  for (std::size_t i = 0; i < std::size(kRows); ++i) all[i] = kRows[i].desc;
  all[std::size(kRows)] = kInfo;
  return all;
}();

constexpr FlagSpec kFlags[] = {
    {"collector.powersupply.ignored-supplies", FlagType::pattern, "^$",
     "Regexp of power supplies to ignore for powersupplyclass collector."},
};

// A smart battery's registers have 16 bits, of which all ones are its word for "unknown" (SBS 1.1, 5.1), and what the
// bus reads where nothing answers: minutes, mV, mA, mAh, mW and mWh, or tens of these. Of one byte it is 255 %.
constexpr double kUnknownSeconds = 65535 * 60;
bool is_all_ones(std::string_view file, double raw) {
  if (file == "capacity" || file == "capacity_alert_max" || file == "capacity_alert_min")
    return raw == 255 || raw == 65535;
  if (file == "cycle_count") return raw == 65535;
  constexpr std::string_view kOfRegisters[] = {"current_", "voltage_", "charge_", "energy_", "power_"};
  return (raw == 65535e3 || raw == 65535e4) &&
         std::ranges::any_of(kOfRegisters, [&](auto prefix) { return file.starts_with(prefix); });
}

// What the supply's firmware says instead of "not known". Only a current that flows out, and the power it carries, may
// be -1.
bool is_known(const Row& row, double v) {
  if (row.file.starts_with("temp")) return !is_no_reading(Quantity::celsius, v, row.divisor, false);
  if (row.file.starts_with("time_to_") && v >= kUnknownSeconds) return false;
  const bool has_sign = row.file.starts_with("current_") || row.file == "power_now" || row.file == "charge_counter";
  return !is_no_reading(Quantity::other, v, row.divisor, !has_sign);
}

struct Reading {
  std::array<std::optional<double>, std::size(kRows)> numbers;
  std::array<std::string, std::size(kTexts)> texts;
  std::vector<Error> problems;
};

// One power supply. Batteries answer through ACPI or I2C, so each has its own pace.
class Supply {
 public:
  explicit Supply(const std::string& path) : read(reader(path)) {}
  PacedRead<Reading> read;

 private:
  static PacedRead<Reading>::Read reader(const std::string& path) {
    struct Files {
      std::vector<Attribute> numbers, texts;
    };
    auto files = std::make_shared<Files>();
    for (const auto& row : kRows) files->numbers.emplace_back(fmt::format("{}/{}", path, row.file));
    for (const auto name : kTexts) files->texts.emplace_back(fmt::format("{}/{}", path, name));
    return [files](Reading& out) {
      out.problems.clear();
      for (std::size_t i = 0; i < std::size(kRows); ++i) {
        out.numbers[i].reset();
        const auto text = files->numbers[i].text();
        if (!text) continue;  // not supported by this supply, or not now (ENODATA, ENODEV)
        if (const auto n = parse_i64(*text)) {
          const double v = static_cast<double>(*n) / kRows[i].divisor;
          if (is_known(kRows[i], v) && !is_all_ones(kRows[i].file, static_cast<double>(*n))) out.numbers[i] = v;
        } else {
          out.problems.push_back(malformed(files->numbers[i].path(), *text, "a number").value());
        }
      }
      for (std::size_t i = 0; i < std::size(kTexts); ++i) out.texts[i] = files->texts[i].text().value_or("");
    };
  }
};

class PowerSupplyClass final : public Collector {
 public:
  PowerSupplyClass(const Host& host, NameFilter filter)
      : host_(host), supplies_(host.sysfs("class/power_supply")), filter_(std::move(filter)), helpers_(2) {}

  Result<> collect(BatchWriter& out) override {
    if (const auto listed = supplies_.refresh(); !listed) return absent_when_gone(listed.error());
    const auto now = host_.clock().boot_ns();
    PacedRound round(helpers_, now);
    for (auto& supply : supplies_.items())
      if (!filter_.ignored(supply.name)) round.start(supply.value.read);
    round.wait();
    for (auto& supply : supplies_.items()) emit(out, supply.name, supply.value.read, now);
    return {};
  }

 private:
  void emit(BatchWriter& out, const std::string& name, PacedRead<Reading>& read, std::int64_t now) {
    read.settle(now);
    if (read.waiting_ns(now) > PacedRound::kPatienceNs)
      out.problem({Errc::timeout, 0, fmt::format("{}/{}: a read does not return", supplies_.path(), name)});
    const auto* values = read.values(now);
    if (!values) return;
    for (const auto& problem : values->problems) out.problem(problem);
    for (std::size_t i = 0; i < std::size(kRows); ++i)
      if (values->numbers[i]) out.set(kRows[i].desc, *values->numbers[i], name);
    Label labels[std::size(kTexts) + 1] = {{"power_supply", name}};
    std::size_t count = 1;
    for (std::size_t i = 0; i < std::size(kTexts); ++i)
      if (!values->texts[i].empty()) labels[count++] = {kTexts[i], values->texts[i]};
    out.set_labels(kInfo, 1, std::span(labels).first(count));
  }

  const Host& host_;
  KernelItems<Supply> supplies_;
  NameFilter filter_;
  HelperPool helpers_;
};

// Absent, so that no process is started for nothing. node_exporter calls the collector failed (ErrNoData)
// without the folder, and successful with an empty one: then the error has no errno.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(options.text("collector.powersupply.ignored-supplies"), "");
  if (!filter) return fail(filter.error());
  const auto path = host.sysfs("class/power_supply");
  const auto entries = list_directory(path);
  if (!entries) return absent_when_gone(entries.error());
  if (entries->empty()) return fail(Errc::absent, path + ": this machine has no power supply that tells about itself");
  return std::make_unique<PowerSupplyClass>(host, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_powersupplyclass;
const CollectorInfo collector_powersupplyclass{kMetrics, kFlags, make};

}  // namespace vitald
