// SPDX-License-Identifier: Apache-2.0
// node_hwmon_*: what the kernel says, by node_exporter's rules. The collector `sensors` has the values that
// libsensors computes from the same files.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/hwmon/chips.h"
#include "sensors/hwmon/readings.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/paced_read.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_hwmon_chip_names", MetricType::gauge, "Annotation metric for human-readable chip names", "chip,chip_name",
     "", "/sys/class/hwmon/*/name"},
    {"node_hwmon_sensor_label", MetricType::gauge, "Label for given chip and sensor", "chip,sensor,label", "",
     "/sys/class/hwmon/*/*_label"},
    {"vitald_hwmon_read_seconds", MetricType::gauge,
     "Time the last read of all files of a chip took; above 0.05 it is read every 10 s, above 1 every 60 s.", "chip",
     "seconds", "CLOCK_BOOTTIME"},
    {"vitald_sensor_alias", MetricType::gauge,
     "What the operator calls a sensor (--collector.hwmon.alias): joins node_hwmon_* and vitald_sensor_* by chip and "
     "sensor.",
     "chip,sensor,alias", "", "--collector.hwmon.alias"},
    {"vitald_hwmon_device_name", MetricType::gauge,
     "What a chip is called whose name stands with its device (ACPI's power meter).", "chip,chip_name", "",
     "/sys/class/hwmon/*/device/name", Shown::inside},
    {"vitald_hwmon_oem_info", MetricType::gauge, "What the firmware calls that which a power meter measures.",
     "chip,sensor,text", "", "/sys/class/hwmon/*/power*_oem_info", Shown::inside},
    {"node_hwmon_*", MetricType::gauge, "*", "chip,sensor", "", "/sys/class/hwmon/*/* and below its device/"},
};
constexpr auto& kChipNames = row(kMetrics, "node_hwmon_chip_names");
constexpr auto& kSensorLabel = row(kMetrics, "node_hwmon_sensor_label");
constexpr auto& kAlias = row(kMetrics, "vitald_sensor_alias");
constexpr auto& kDeviceName = row(kMetrics, "vitald_hwmon_device_name");
constexpr auto& kOemInfo = row(kMetrics, "vitald_hwmon_oem_info");
constexpr auto& kReadSeconds = row(kMetrics, "vitald_hwmon_read_seconds");

constexpr FlagSpec kFlags[] = {
    {"collector.hwmon.chip-include", FlagType::pattern, "",
     "Regexp of hwmon chip to include (mutually exclusive to device-exclude)."},
    {"collector.hwmon.chip-exclude", FlagType::pattern, "",
     "Regexp of hwmon chip to exclude (mutually exclusive to device-include)."},
    {"collector.hwmon.sensor-include", FlagType::pattern, "",
     "Regexp of hwmon sensor to include (mutually exclusive to sensor-exclude)."},
    {"collector.hwmon.sensor-exclude", FlagType::pattern, "",
     "Regexp of hwmon sensor to exclude (mutually exclusive to sensor-include)."},
    {"collector.hwmon.alias", FlagType::list, "",
     "A name for a sensor, as CHIP;SENSOR=NAME with the labels that node_hwmon_* has: "
     "\"platform_coretemp_0;temp1=cpu package\". May be given several times."},
};

constexpr std::string_view kTypes[] = {
    "vrm",  "beep_enable", "update_interval", "in",     "cpu",      "fan",       "pwm",
    "temp", "curr",        "power",           "energy", "humidity", "intrusion", "freq"};

constexpr std::int64_t kRescanNs = 60 * kSecond;

// How a number in a file becomes the exported one. Multiplied or divided exactly as node_exporter does it.
enum class Op : std::uint8_t { raw, milli, micro, is_one };

double apply(Op op, double value) {
  switch (op) {
    case Op::raw: return value;
    case Op::milli: return value * 0.001;
    case Op::micro: return value / 1000000.0;
    case Op::is_one: return value == 1 ? 1 : 0;
  }
  return value;
}

constexpr double units_of(Op op) { return op == Op::milli ? 1e3 : op == Op::micro ? 1e6 : 1; }

// One file and what is made of it.
struct Element {
  std::string sensor;  // the label
  const MetricDesc* desc = nullptr;
  Op op = Op::raw;
  Quantity quantity = Quantity::other;
  bool limit = false;  // a limit or another setting
  bool text = false;   // usually no number
  // An attribute that is in hwmonN and in hwmonN/device: the second one counts while it can be read.
  std::string path, other_path;

  bool operator==(const Element&) const = default;
};

struct Alias {
  std::string chip, sensor, name;
};

// "CHIP;SENSOR=NAME"
Result<std::vector<Alias>> parse_aliases(const std::vector<std::string>& flags) {
  std::vector<Alias> out;
  for (const auto& flag : flags) {
    const auto semicolon = flag.find(';'), equals = flag.find('=', semicolon == flag.npos ? 0 : semicolon);
    if (semicolon == flag.npos || semicolon == 0 || equals == flag.npos || equals == semicolon + 1 ||
        equals + 1 == flag.size())
      return malformed("collector.hwmon.alias", flag, "CHIP;SENSOR=NAME");
    Alias alias{flag.substr(0, semicolon), flag.substr(semicolon + 1, equals - semicolon - 1), flag.substr(equals + 1)};
    if (std::ranges::any_of(out, [&](const Alias& a) { return a.chip == alias.chip && a.sensor == alias.sensor; }))
      return malformed("collector.hwmon.alias", flag, "one name for each sensor");
    out.push_back(std::move(alias));
  }
  return out;
}

struct Description {
  HwmonChip id;
  std::string device_name;                                     // where the chip itself has none
  std::vector<std::pair<std::string, std::string>> labels;     // sensor, its text
  std::vector<std::pair<std::string, std::string>> oem_infos;  // the same
  std::vector<std::pair<std::string, std::string>> aliases;    // the same
  std::vector<Element> elements;

  bool operator==(const Description&) const = default;
};

// What a helper reads; NaN where a file cannot be read now or holds no number.
struct Values {
  std::vector<double> numbers;
  std::int64_t paced_ns = 0, read_ns = 0;  // ChipTimes
  std::vector<Error> problems;
};

class ChipFiles {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

 public:
  ChipFiles(const HwmonReadings& readings, const HwmonChip& chip, const std::vector<Element>& elements)
      : power_(chip.directory + "/device") {
    attributes_.reserve(elements.size());
    for (const auto& e : elements) {
      attributes_.emplace_back(readings, chip, e.path);
      files_.push_back({e.other_path.empty() ? std::nullopt : std::optional<KernelFile>(e.other_path), e.op, e.quantity,
                        e.limit, e.text});
    }
  }
  void read(Values& out) {
    out.numbers.assign(files_.size(), kNone);
    out.paced_ns = 0;
    out.problems.clear();
    if (power_.asleep()) return;  // a read would wake it
    read_chip(attributes_, times_, [&](std::size_t i, std::int64_t& paced_ns) {
      out.numbers[i] = read(attributes_[i], files_[i], paced_ns);
    });
    out.paced_ns = times_.paced_ns;
    out.read_ns = times_.read_ns;
    for (const auto& file : files_)
      if (file.problem) out.problems.push_back(*file.problem);
  }

 private:
  struct File {
    std::optional<KernelFile> other;
    Op op;
    Quantity quantity;
    bool limit, text;
    std::optional<Error> problem = {};  // no number, or EIO; that there is none now (ENODATA) is no trouble
  };
  static double read(SharedAttribute& attribute, File& file, std::int64_t& paced_ns) {
    file.problem.reset();
    auto text = attribute.read(paced_ns);
    if (!text && file.other) text = file.other->read();
    if (!text) {
      const auto& error = text.error();
      if (error.kind != Errc::gone && error.kind != Errc::denied && !means_no_number(error.err)) file.problem = error;
      return kNone;
    }
    while (text->ends_with('\n')) text->remove_suffix(1);
    const auto number = parse_double(*text);
    if (!number && file.op == Op::is_one) return 0;
    if (!number && file.text) return kNone;
    if (!number) {
      file.problem = malformed(attribute.path(), *text, "a number").value();
      return kNone;
    }
    const auto value = apply(file.op, *number);
    return is_no_reading(file.quantity, value, units_of(file.op), file.limit) ? kNone : value;
  }

  std::vector<SharedAttribute> attributes_;
  std::vector<File> files_;  // what belongs to each
  ChipTimes times_;
  PowerState power_;
};

struct Chip {
  Chip(const HwmonReadings& readings, Description d)
      : about(std::move(d)),
        read([files = std::make_shared<ChipFiles>(readings, about.id, about.elements)](Values& out) {
          files->read(out);
        }) {}
  Description about;
  PacedRead<Values> read;
};

class Hwmon final : public Collector {
 public:
  Hwmon(const Host& host, NameFilter chips, NameFilter sensors, std::vector<Alias> aliases)
      : host_(host),
        readings_(host.shared<HwmonReadings>()),
        class_(host.sysfs("class/hwmon")),
        chip_filter_(std::move(chips)),
        sensor_filter_(std::move(sensors)),
        aliases_(std::move(aliases)),
        helpers_(4) {}

  Result<> collect(BatchWriter& out) override {
    const auto now = host_.clock().boot_ns();
    const auto changed = class_.refresh();
    if (!changed) return absent_when_gone(changed.error());
    Result<> outcome;
    if (*changed || moved() || now >= rescan_ns_) {
      outcome = scan();
      rescan_ns_ = now + kRescanNs;
    }

    PacedRound round(helpers_, now);
    for (auto& chip : chips_) round.start(chip.read);
    round.wait();

    out.use(descs_);
    for (auto& chip : chips_) {
      chip.read.settle(now);
      emit(out, chip, now);
    }
    return outcome;
  }

 private:
  bool moved() const {
    return std::ranges::any_of(
        chips_, [](const auto& chip) { return read_link(chip.about.id.directory) != chip.about.id.target; });
  }

  // One chip that cannot be listed does not take the others along, but the collector has not succeeded then.
  Result<> scan() {
    auto ids = list_hwmon_chips(class_.path());
    if (!ids) return fail(ids.error());
    Result<> outcome;
    std::vector<Chip> chips;
    for (auto& id : *ids) {
      if (chip_filter_.ignored(id.chip)) continue;
      const auto known = std::ranges::find(
          chips_, id, [](const auto& chip) -> auto& { return chip.about.id; });
      // While a read is in progress nothing else touches the chip.
      if (known != chips_.end() && known->read.pending()) {
        chips.push_back(std::move(*known));
        continue;
      }
      auto description = describe(std::move(id));
      if (!description) outcome = fail(description.error());
      else if (known != chips_.end() && known->about == *description) chips.push_back(std::move(*known));
      else chips.emplace_back(readings_, std::move(*description));
    }
    chips_ = std::move(chips);
    return outcome;
  }

  Result<Description> describe(HwmonChip id) {
    struct Paths {
      std::string path, other;
    };
    std::map<std::string, std::map<std::string, Paths>> sensors;  // sensor -> property -> file
    std::map<std::string, std::string> types;
    for (const auto* below : {"", "/device"}) {
      const auto directory = id.directory + below;
      const auto names = list_directory(directory);
      if (!names) {
        if (*below && names.error().kind == Errc::gone) continue;
        return fail(names.error());
      }
      for (const auto& name : *names) {
        const auto file = split_sensor_file(name);
        if (!file.valid || std::ranges::find(kTypes, file.type) == std::end(kTypes)) continue;
        // Every device has a folder called power: no attribute, and no reading.
        struct stat st {};
        if (file.property.empty() && (stat((directory + "/" + name).c_str(), &st) != 0 || !S_ISREG(st.st_mode)))
          continue;
        auto sensor = fmt::format("{}{}", file.type, file.number);
        types.emplace(sensor, file.type);
        auto& paths = sensors[std::move(sensor)][std::string(file.property)];
        paths.other = std::exchange(paths.path, directory + "/" + name);
      }
    }

    Description out;
    out.id = std::move(id);
    if (out.id.chip_name.empty())
      if (const auto name = read_kernel_file(out.id.directory + "/device/name"); name)
        out.device_name = clean_metric_name(trim(*name));
    for (const auto& [sensor, files] : sensors) {
      if (sensor_filter_.ignored(out.id.chip + ";" + sensor)) continue;
      for (const auto& alias : aliases_)
        if (alias.chip == out.id.chip && alias.sensor == sensor) out.aliases.emplace_back(sensor, alias.name);
      std::optional<std::string> label;
      if (const auto file = files.find("label"); file != files.end()) {
        auto text = read_kernel_file(file->second.path);
        if (!text && !file->second.other.empty()) text = read_kernel_file(file->second.other);
        if (text) label = trim_newlines(*text);
        if (label) out.labels.emplace_back(sensor, *label);
      }
      for (const auto& [property, paths] : files) {
        if (property == "label") continue;
        Element e;
        e.sensor = sensor;
        e.path = paths.path;
        e.other_path = paths.other;
        e.limit = is_limit(property);
        // ACPI's power meters have names and numbers of parts; of some of them the firmware makes a number.
        e.text = property == "oem_info" || property == "model_number" || property == "serial_number" ||
                 property == "accuracy";  // "98.0%"
        if (property == "oem_info")
          if (const auto text = read_kernel_file(paths.path); text && !is_blank(*text))
            out.oem_infos.emplace_back(sensor, trim(*text));
        if (name_element(e, types[sensor], property, files.contains(""), label)) out.elements.push_back(std::move(e));
      }
    }
    return out;
  }

  static bool is_limit(std::string_view property) {
    constexpr std::string_view kLimits[] = {"min",        "max",       "lcrit",         "crit",     "emergency",
                                            "cap",        "cap_min",   "cap_max",       "min_hyst", "max_hyst",
                                            "lcrit_hyst", "crit_hyst", "emergency_hyst"};
    return std::ranges::find(kLimits, property) != std::end(kLimits);
  }
  static std::string trim_newlines(std::string_view text) {
    while (text.starts_with('\n')) text.remove_prefix(1);
    while (text.ends_with('\n')) text.remove_suffix(1);
    return std::string(text);
  }

  // The rules of node_exporter 1.12, among them: alarms of single limits get the unit of the limit
  // (temp_crit_alarm_celsius is 0 or 0.001), energy is in "joule", humidity is ten times too small.
  // False: this file makes no series.
  bool name_element(Element& e, std::string_view type, std::string_view property, bool has_bare,
                    const std::optional<std::string>& label) {
    const auto gauge = [&](std::string name, std::string help, Op op, std::string_view unit = {}) {
      e.op = op;
      e.desc = &descs_->get(name, MetricType::gauge, help, "chip,sensor", unit, "/sys/class/hwmon");
      return true;
    };
    const auto bare_only = [&](const char* name, const char* help, Op op, std::string_view unit = {}) {
      return property.empty() && gauge(name, help, op, unit);
    };
    if (type == "beep_enable") return bare_only("node_hwmon_beep_enabled", "Hardware beep enabled", Op::is_one);
    if (type == "vrm") return bare_only("node_hwmon_voltage_regulator_version", "Hardware voltage regulator", Op::raw);
    if (type == "update_interval")
      return bare_only("node_hwmon_update_interval_seconds", "Hardware monitor update interval", Op::milli, "seconds");

    auto name = fmt::format("node_hwmon_{}", type);
    // The input is the value itself, unless there is a file without any property.
    if (property == "input") name += has_bare ? "_input" : "";
    else if (!property.empty()) name += "_" + clean_metric_name(property);

    if (property == "fault" || property == "alarm")
      return gauge(name, fmt::format("Hardware sensor {} status ({})", property, type), Op::raw);
    if (property == "beep") return gauge(name + "_enabled", "Hardware monitor sensor has beeping enabled", Op::raw);
    if (type == "in" || type == "cpu")
      return gauge(name + "_volts", fmt::format("Hardware monitor for voltage ({})", property), Op::milli, "volts");
    if (type == "temp" && property != "type") {
      e.quantity = property == "offset" || property.ends_with("alarm") ? Quantity::other : Quantity::celsius;
      return gauge(name + "_celsius",
                   fmt::format("Hardware monitor for temperature ({})", property.empty() ? "input" : property),
                   Op::milli, "celsius");
    }
    if (type == "curr")
      return gauge(name + "_amps", fmt::format("Hardware monitor for current ({})", property), Op::milli, "amperes");
    if (type == "energy") {
      e.op = Op::micro;
      e.desc = &descs_->get(name + "_joule_total", MetricType::counter,
                            fmt::format("Hardware monitor for joules used so far ({})", property), "chip,sensor",
                            "joules", "/sys/class/hwmon");
      return true;
    }
    if (type == "power") {
      if (property == "accuracy")
        return gauge(name, "Hardware monitor power meter accuracy, as a ratio", Op::micro, "ratio");
      if (property == "average_interval" || property == "average_interval_min" || property == "average_interval_max")
        return gauge(name + "_seconds", fmt::format("Hardware monitor power usage update interval ({})", property),
                     Op::milli, "seconds");
      return gauge(name + "_watt", fmt::format("Hardware monitor for power usage in watts ({})", property), Op::micro,
                   "watts");
    }
    if (type == "humidity")
      return gauge(
          name,
          fmt::format("Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a "
                      "percentage) ({})",
                      property),
          Op::micro, "ratio");
    if (type == "fan" && (property == "input" || property == "min" || property == "max" || property == "target")) {
      e.quantity = Quantity::rpm;
      return gauge(name + "_rpm", fmt::format("Hardware monitor for fan revolutions per minute ({})", property),
                   Op::raw);
    }
    if (type == "freq" && property == "input") {
      if (!label) return false;
      e.sensor = clean_metric_name(*label);
      return gauge(name + "_freq_mhz", "Hardware monitor for GPU frequency in MHz", Op::micro);
    }
    return gauge(name, fmt::format("Hardware monitor {} element {}", type, property), Op::raw);
  }

  static void emit(BatchWriter& out, const Chip& chip, std::int64_t now) {
    const auto& id = chip.about.id;
    if (!id.chip_name.empty()) out.set(kChipNames, 1, id.chip, id.chip_name);
    if (!chip.about.device_name.empty()) out.set(kDeviceName, 1, id.chip, chip.about.device_name);
    for (const auto& [sensor, text] : chip.about.labels) out.set(kSensorLabel, 1, id.chip, sensor, text);
    for (const auto& [sensor, text] : chip.about.aliases) out.set(kAlias, 1, id.chip, sensor, text);
    for (const auto& [sensor, text] : chip.about.oem_infos) out.set(kOemInfo, 1, id.chip, sensor, text);
    const auto waiting = chip.read.waiting_ns(now);
    if (waiting > PacedRound::kPatienceNs)
      out.problem({Errc::timeout, 0, fmt::format("{} ({}): a read does not return", id.directory, id.chip)});
    const auto* values = chip.read.values(now);
    if (!values) return;
    for (const auto& problem : values->problems) out.problem(problem);
    for (std::size_t i = 0; i < values->numbers.size(); ++i)
      if (!std::isnan(values->numbers[i]))
        out.set(*chip.about.elements[i].desc, values->numbers[i], id.chip, chip.about.elements[i].sensor);
    out.set(kReadSeconds, static_cast<double>(values->read_ns) / 1e9, id.chip);
  }

  const Host& host_;
  const HwmonReadings& readings_;
  KernelDir class_;
  NameFilter chip_filter_, sensor_filter_;
  const std::vector<Alias> aliases_;
  DescPoolPtr descs_ = std::make_shared<DescPool>();
  HelperPool helpers_;
  std::vector<Chip> chips_;
  std::int64_t rescan_ns_ = 0;
};

// Absent, so that no process is started for nothing. node_exporter calls the collector failed (ErrNoData)
// without the folder, and successful with an empty one: then the error has no errno.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto chips =
      NameFilter::make(options.text("collector.hwmon.chip-exclude"), options.text("collector.hwmon.chip-include"));
  if (!chips) return fail(chips.error());
  auto sensors =
      NameFilter::make(options.text("collector.hwmon.sensor-exclude"), options.text("collector.hwmon.sensor-include"));
  if (!sensors) return fail(sensors.error());
  auto aliases = parse_aliases(options.list("collector.hwmon.alias"));
  if (!aliases) return fail(aliases.error());
  const auto path = host.sysfs("class/hwmon");
  const auto entries = list_directory(path);
  if (!entries) return absent_when_gone(entries.error());
  if (entries->empty()) return fail(Errc::absent, path + ": this machine has no hardware monitoring chip");
  return std::make_unique<Hwmon>(host, std::move(*chips), std::move(*sensors), std::move(*aliases));
}

}  // namespace

extern const CollectorInfo collector_hwmon;
const CollectorInfo collector_hwmon{kMetrics, kFlags, make};

}  // namespace vitald
