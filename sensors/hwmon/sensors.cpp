// SPDX-License-Identifier: Apache-2.0
// vitald_sensor_*: sensors as their administrator set them up in sensors.conf: with names, scaled from the
// pins of the chip to the rails of the board (`compute`), without those that measure nothing (`ignore`), and
// judged against their limits. `chip` and `sensor` are those of node_hwmon_*, which has the raw values.
#include <fmt/format.h>
#include <linux/magic.h>
#include <sensors/error.h>
#include <sensors/sensors.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/collector.h"
#include "core/log.h"
#include "core/metric_row.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/os/memory_file.h"
#include "core/text/scan.h"
#include "sensors/hwmon/chips.h"
#include "sensors/hwmon/readings.h"
#include "sensors/hwmon/sensor_state.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/paced_read.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

constexpr std::string_view kLabels = "chip,sensor,label";
constexpr std::string_view kSource = "libsensors, sensors_get_value()";
constexpr MetricDesc kMetrics[] = {
    {"vitald_sensor_voltage_volts", MetricType::gauge, "Voltage, scaled as in sensors.conf.", kLabels, "volts",
     kSource},
    {"vitald_sensor_fan_rpm", MetricType::gauge, "Revolutions per minute.", kLabels, "", kSource},
    {"vitald_sensor_temperature_celsius", MetricType::gauge, "Temperature.", kLabels, "celsius", kSource},
    {"vitald_sensor_power_watts", MetricType::gauge, "Power: now, or the chip's average where it has only that.",
     kLabels, "watts", kSource},
    {"vitald_sensor_energy_joules_total", MetricType::counter, "Energy used.", kLabels, "joules", kSource},
    {"vitald_sensor_current_amperes", MetricType::gauge, "Electric current.", kLabels, "amperes", kSource},
    {"vitald_sensor_humidity_ratio", MetricType::gauge, "Relative humidity, 0 to 1.", kLabels, "ratio", kSource},
    {"vitald_sensor_state", MetricType::gauge,
     "1 for the state the sensor is in, by its limits, their hysteresis and the chip's alarms.",
     "chip,sensor,label,state", "", kSource},
    {"vitald_sensor_info", MetricType::gauge,
     "What libsensors calls a sensor; computed: sensors.conf scales it, ignored: sensors.conf says it measures "
     "nothing.",
     "chip,sensor,libsensors_chip,adapter,label,computed,ignored", "", "libsensors"},
    {"vitald_sensor_read_seconds", MetricType::gauge,
     "Time the last read of a chip through libsensors took; above 0.05 it is read every 10 s, above 1 every 60 s.",
     "chip", "seconds", "CLOCK_BOOTTIME"},
};
constexpr auto& kState = row(kMetrics, "vitald_sensor_state");
constexpr auto& kInfo = row(kMetrics, "vitald_sensor_info");
constexpr auto& kReadSeconds = row(kMetrics, "vitald_sensor_read_seconds");

constexpr FlagSpec kFlags[] = {
    {"collector.sensors.config-file", FlagType::text, "",
     "libsensors configuration to use instead of /etc/sensors3.conf and /etc/sensors.d"},
};

constexpr std::string_view kOthersFlags[] = {"collector.hwmon.chip-exclude", "collector.hwmon.chip-include",
                                             "collector.hwmon.sensor-exclude", "collector.hwmon.sensor-include"};
constexpr std::int64_t kRescanNs = 60 * kSecond;

// In the order of sensors_feature_type, with the scale of the kernel's numbers and ours of libsensors'.
struct Kind {
  sensors_feature_type type;
  std::string_view file_type;
  const MetricDesc* desc;
  double kernel_units;  // in one of libsensors' units
  double scale;
};
constexpr Kind kKinds[] = {
    {SENSORS_FEATURE_IN, "in", &row(kMetrics, "vitald_sensor_voltage_volts"), 1e3, 1},
    {SENSORS_FEATURE_FAN, "fan", &row(kMetrics, "vitald_sensor_fan_rpm"), 1, 1},
    {SENSORS_FEATURE_TEMP, "temp", &row(kMetrics, "vitald_sensor_temperature_celsius"), 1e3, 1},
    {SENSORS_FEATURE_POWER, "power", &row(kMetrics, "vitald_sensor_power_watts"), 1e6, 1},
    {SENSORS_FEATURE_ENERGY, "energy", &row(kMetrics, "vitald_sensor_energy_joules_total"), 1e6, 1},
    {SENSORS_FEATURE_CURR, "curr", &row(kMetrics, "vitald_sensor_current_amperes"), 1e3, 1},
    {SENSORS_FEATURE_HUMIDITY, "humidity", &row(kMetrics, "vitald_sensor_humidity_ratio"), 1e3,
     0.01},  // libsensors counts percent
    {SENSORS_FEATURE_VID, "cpu", &row(kMetrics, "vitald_sensor_voltage_volts"), 1e3, 1},
    {SENSORS_FEATURE_INTRUSION, "intrusion", nullptr, 1, 1},
};

// The part of a subfeature's name after the sensor's -> where it belongs.
struct Field {
  std::string_view suffix;
  double SensorLimits::*member;
};
constexpr Field kFields[] = {
    {"min", &SensorLimits::min},
    {"max", &SensorLimits::max},
    {"lcrit", &SensorLimits::lcrit},
    {"crit", &SensorLimits::crit},
    {"emergency", &SensorLimits::emergency},
    {"min_hyst", &SensorLimits::min_hyst},
    {"max_hyst", &SensorLimits::max_hyst},
    {"lcrit_hyst", &SensorLimits::lcrit_hyst},
    {"crit_hyst", &SensorLimits::crit_hyst},
    {"emergency_hyst", &SensorLimits::emergency_hyst},
    {"alarm", &SensorLimits::alarm},
    {"min_alarm", &SensorLimits::min_alarm},
    {"max_alarm", &SensorLimits::max_alarm},
    {"lcrit_alarm", &SensorLimits::lcrit_alarm},
    {"crit_alarm", &SensorLimits::crit_alarm},
    {"emergency_alarm", &SensorLimits::emergency_alarm},
    {"cap_alarm", &SensorLimits::cap_alarm},
    {"fault", &SensorLimits::fault},
};

// libsensors keeps its chips in globals: there is one of these at a time.
class Library {
 public:
  static Result<std::shared_ptr<Library>> open(const std::string& config) {
    sensors_parse_error_wfn = [](const char* error, const char* file, int line) {
      log::warn("libsensors configuration", {{"file", file ? file : ""}, {"line", Decimal(line)}, {"err", error}});
    };
    std::unique_ptr<FILE, Call<&fclose>> file;
    if (!config.empty()) {
      file.reset(std::fopen(config.c_str(), "re"));
      if (!file) return fail(from_errno(config, errno));
    }
    if (const int err = sensors_init(file.get()); err != 0)
      return fail(Errc::io, fmt::format("libsensors: sensors_init: {}", sensors_strerror(err)));
    return std::shared_ptr<Library>(new Library);
  }
  ~Library() { sensors_cleanup(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

 private:
  Library() = default;
};

struct Sensor {
  const Kind* kind = nullptr;
  std::string name, label;
  bool ignored = false;
  std::size_t value = SIZE_MAX;                                        // index into Reading::values
  std::vector<std::pair<double SensorLimits::*, std::size_t>> fields;  // and into values again
  SensorState state = SensorState::ok;
};

struct Subfeature {
  int number;
  std::string path;         // the file that libsensors would read
  double kernel_units = 0;  // of a main value; 0: a limit, an alarm
};

enum class Computed : std::uint8_t { unknown, no, yes };
constexpr std::string_view kComputed[] = {"unknown", "false", "true"};

struct Reading {
  std::vector<double> values;  // NaN: cannot be read
  std::vector<Computed> computed;
  std::int64_t paced_ns = 0, read_ns = 0;  // ChipTimes
};

// What libsensors makes of a text that was read already: the value in its units, by the chip's `compute`. It reads
// "PATH/NAME" of the chip it is asked about, and the name of a chip is the caller's: here PATH fills what it has room
// for (NAME_MAX bytes with the 0; sensors_read_sysfs_attr(), lib/sysfs.c), so that NAME is cut off, and PATH is a file
// of ours. A `compute` that names another sensor reads that one's file itself.
class Evaluation {
 public:
  explicit Evaluation(const sensors_chip_name& chip) : chip_(chip), file_(memory_file("sensor")) {
    const auto name = fmt::format("proc/self/fd/{}", file_.get());
    path_.assign(NAME_MAX - 1 - name.size(), '/');
    path_ += name;
    chip_.path = path_.data();
  }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  // 0, or libsensors' error. -SENSORS_ERR_KERNEL: it has looked for another file.
  int value_of(int subfeature, std::string_view text, double& out) {
    std::array<char, 64> padded;
    padded.fill('\n');
    std::ranges::copy(text.substr(0, padded.size() - 1), padded.begin());
    if (pwrite(file_.get(), padded.data(), padded.size(), 0) != static_cast<ssize_t>(padded.size()))
      return -SENSORS_ERR_KERNEL;
    return sensors_get_value(&chip_, subfeature, &out);
  }

 private:
  sensors_chip_name chip_;
  Fd file_;
  std::string path_;
};

// Runs on a helper: sensors_get_value only reads libsensors' tables, so several threads may.
class ChipReader {
 public:
  ChipReader(const HwmonReadings& readings, std::shared_ptr<Library> library, const sensors_chip_name* chip,
             const HwmonChip& id, std::vector<Subfeature> subfeatures)
      : library_(std::move(library)),
        chip_(chip),
        evaluation_(*chip),
        power_(id.directory + "/device"),
        subfeatures_(std::move(subfeatures)) {
    attributes_.reserve(subfeatures_.size());
    for (const auto& sub : subfeatures_) attributes_.emplace_back(readings, id, sub.path);
  }

  void read(Reading& out) {
    out.values.assign(subfeatures_.size(), SensorLimits::kNone);
    out.computed = computed_;
    out.computed.resize(subfeatures_.size(), Computed::unknown);
    out.paced_ns = 0;
    if (power_.asleep()) return;  // a read would wake it
    if (computed_.empty()) learn();
    read_chip(attributes_, times_, [&](std::size_t i, std::int64_t& paced_ns) {
      if (const auto text = attributes_[i].read(paced_ns)) out.values[i] = value(i, *text);
    });
    out.paced_ns = times_.paced_ns;
    out.read_ns = times_.read_ns;
    out.computed = computed_;
  }

 private:
  struct Known {
    std::string text;
    double value = 0;
  };

  double value(std::size_t i, std::string_view text) {
    auto& known = known_[i];
    if (plain_[i] && known.text == text) return known.value;
    double v = 0;
    auto error = evaluation_.value_of(subfeatures_[i].number, text, v);
    // Of a libsensors that looks elsewhere: then it reads for itself.
    if (error == -SENSORS_ERR_KERNEL) error = sensors_get_value(chip_, subfeatures_[i].number, &v);
    if (error != 0) return SensorLimits::kNone;
    known = {std::string(text), v};
    return v;
  }

  // libsensors does not tell whether a `compute` applies: one does where numbers come back that are more than the same
  // in its units. What is plain is a function of the text alone.
  void learn() {
    computed_.assign(subfeatures_.size(), Computed::unknown);
    plain_.assign(subfeatures_.size(), false);
    known_.resize(subfeatures_.size());
    for (std::size_t i = 0; i < subfeatures_.size(); ++i) {
      double zero = 0, more = 0, less = 0;
      if (evaluation_.value_of(subfeatures_[i].number, "0", zero) != 0 ||
          evaluation_.value_of(subfeatures_[i].number, "1000000", more) != 0 ||
          evaluation_.value_of(subfeatures_[i].number, "-3000000", less) != 0)
        continue;
      const auto units = subfeatures_[i].kernel_units;
      for (const double of : {1.0, 1e3, 1e6})
        plain_[i] = plain_[i] || (zero == 0 && more == 1e6 / of && less == -3e6 / of && (units == 0 || units == of));
      if (units != 0) computed_[i] = plain_[i] ? Computed::no : Computed::yes;
    }
  }

  std::shared_ptr<Library> library_;
  const sensors_chip_name* chip_;
  Evaluation evaluation_;
  PowerState power_;
  std::vector<Subfeature> subfeatures_;
  std::vector<SharedAttribute> attributes_;
  ChipTimes times_;
  std::vector<Computed> computed_;
  std::vector<bool> plain_;
  std::vector<Known> known_;
};

struct Chip {
  Chip(HwmonChip hwmon, std::string name, std::string bus, std::vector<Sensor> all, std::shared_ptr<ChipReader> reader)
      : id(std::move(hwmon)),
        libsensors_name(std::move(name)),
        adapter(std::move(bus)),
        sensors(std::move(all)),
        read([reader = std::move(reader)](Reading& out) { reader->read(out); }) {}
  HwmonChip id;
  std::string libsensors_name, adapter;
  std::vector<Sensor> sensors;
  PacedRead<Reading> read;
};

const Kind* kind_of(sensors_feature_type type) {
  const auto* kind = std::ranges::find(kKinds, type, &Kind::type);
  return kind == std::end(kKinds) ? nullptr : kind;
}

class Sensors final : public Collector {
 public:
  Sensors(const Host& host, std::string config, NameFilter chips, NameFilter sensors)
      : host_(host),
        readings_(host.shared<HwmonReadings>()),
        class_(host.sysfs("class/hwmon")),
        config_(std::move(config)),
        chip_filter_(std::move(chips)),
        sensor_filter_(std::move(sensors)),
        helpers_(4) {}

  Result<> collect(BatchWriter& out) override {
    const auto now = host_.clock().boot_ns();
    const auto changed = class_.refresh();
    if (!changed) return absent_when_gone(changed.error());
    stale_ |= *changed;
    if (now >= rescan_ns_) {
      rescan_ns_ = now + kRescanNs;
      if (auto chips = list_hwmon_chips(class_.path()); chips) stale_ |= *chips != known_;
    }
    if (stale_)
      if (auto scanned = scan(); !scanned) return scanned;

    PacedRound round(helpers_, now);
    for (auto& chip : chips_) round.start(chip.read);
    round.wait();
    for (auto& chip : chips_) {
      chip.read.settle(now);
      emit(out, chip, now);
    }
    return {};
  }

 private:
  // libsensors finds chips only when it is started. That must wait while a helper is inside of it.
  Result<> scan() {
    if (std::ranges::any_of(chips_,
                            [](const auto& chip) { return chip.read.pending() && !chip.read.pending()->done(); }))
      return {};
    auto hwmon = list_hwmon_chips(class_.path());
    if (!hwmon) return fail(hwmon.error());
    known_ = std::move(*hwmon);
    chips_.clear();
    auto library = Library::open(config_);
    if (!library) return fail(library.error());
    int at = 0;
    while (const auto* name = sensors_get_detected_chips(nullptr, &at)) {
      const auto id =
          std::ranges::find_if(known_, [&](const HwmonChip& chip) { return !folder_of(chip, name->path).empty(); });
      // What the administrator keeps hwmon from reading (a bus that hangs, a disk that must sleep) is not read here.
      if (id != known_.end() && !chip_filter_.ignored(id->chip)) add(*library, name, *id);
    }
    stale_ = false;
    return {};
  }

  // libsensors names the class folder, or the device's own for old drivers that have their attributes there. All mounts
  // of sysfs number alike (kernfs), also those of another network namespace.
  // Which of a chip's two that is; empty: neither.
  static std::string folder_of(const HwmonChip& chip, const char* path) {
    struct stat theirs {
    }, ours{};
    if (stat(path, &theirs) != 0) return {};
    for (auto& ours_path : {chip.directory, chip.directory + "/device"})
      if (stat(ours_path.c_str(), &ours) == 0 && ours.st_ino == theirs.st_ino) return ours_path;
    return {};
  }

  void add(const std::shared_ptr<Library>& library, const sensors_chip_name* name, const HwmonChip& id) {
    char text[256];
    if (sensors_snprintf_chip_name(text, sizeof text, name) < 0) return;
    const char* adapter = sensors_get_adapter_name(&name->bus);
    std::vector<Sensor> all;
    std::vector<Subfeature> subfeatures;
    const auto folder = folder_of(id, name->path);
    const auto file = [&](const sensors_subfeature& sub) { return fmt::format("{}/{}", folder, sub.name); };
    int feature_at = 0;
    while (const auto* feature = sensors_get_features(name, &feature_at)) {
      const auto* kind = kind_of(feature->type);
      if (!kind) continue;  // beep_enable
      Sensor sensor;
      sensor.kind = kind;
      // libsensors calls one cpu0_vid that is cpu0 to hwmon.
      const auto parts = split_sensor_file(feature->name);
      sensor.name = fmt::format("{}{}", parts.type, parts.number);
      if (sensor_filter_.ignored(id.chip + ";" + sensor.name)) continue;
      const std::unique_ptr<char, Call<&free>> label(sensors_get_label(name, feature));
      sensor.label = label ? label.get() : feature->name;
      int subfeature_at = 0;
      while (const auto* sub = sensors_get_all_subfeatures(name, feature, &subfeature_at)) {
        if (!(sub->flags & SENSORS_MODE_R)) continue;
        std::string_view suffix = sub->name;
        take_prefix(suffix, sensor.name);
        take_prefix(suffix, "_");
        // power: the average counts where there is no input.
        if (suffix == "input" || suffix == "vid" || (suffix == "average" && sensor.value == SIZE_MAX)) {
          sensor.value = subfeatures.size();
          subfeatures.push_back({sub->number, file(*sub), kind->kernel_units});
        } else if (const auto* field = std::ranges::find(kFields, suffix, &Field::suffix); field != std::end(kFields)) {
          sensor.fields.emplace_back(field->member, subfeatures.size());
          subfeatures.push_back({sub->number, file(*sub), 0});
        }
      }
      all.push_back(std::move(sensor));
    }
    add_ignored(name->path, id, all);
    chips_.emplace_back(id, text, adapter ? adapter : "", std::move(all),
                        std::make_shared<ChipReader>(readings_, library, name, id, std::move(subfeatures)));
  }

  // What has a value in the folder but is not among libsensors' features was ignored.
  void add_ignored(const std::string& directory, const HwmonChip& id, std::vector<Sensor>& all) const {
    const auto names = list_directory(directory);
    if (!names) return;
    for (const auto& name : *names) {
      const auto file = split_sensor_file(name);
      if (!file.valid || (file.property != "input" && file.property != "average")) continue;
      const auto* kind = std::ranges::find(kKinds, file.type, &Kind::file_type);
      auto sensor = fmt::format("{}{}", file.type, file.number);
      if (kind == std::end(kKinds) || std::ranges::find(all, sensor, &Sensor::name) != all.end()) continue;
      if (sensor_filter_.ignored(id.chip + ";" + sensor)) continue;
      Sensor ignored;
      ignored.kind = kind;
      ignored.name = ignored.label = std::move(sensor);
      ignored.ignored = true;
      all.push_back(std::move(ignored));
    }
  }

  static double plausible(const Sensor& sensor, double v, bool limit) {
    const auto quantity = sensor.kind->type == SENSORS_FEATURE_TEMP  ? Quantity::celsius
                          : sensor.kind->type == SENSORS_FEATURE_FAN ? Quantity::rpm
                                                                     : Quantity::other;
    return is_no_reading(quantity, v, sensor.kind->kernel_units, limit) ? SensorLimits::kNone : v;
  }

  static void emit(BatchWriter& out, Chip& chip, std::int64_t now) {
    const auto waiting = chip.read.waiting_ns(now);
    if (waiting > PacedRound::kPatienceNs)
      out.problem({Errc::timeout, 0, fmt::format("{} ({}): a read does not return", chip.id.directory, chip.id.chip)});
    const auto* reading = chip.read.values(now);
    if (!reading) return;
    for (auto& sensor : chip.sensors) {
      const auto computed = sensor.value == SIZE_MAX ? Computed::no : reading->computed[sensor.value];
      out.set(kInfo, 1, chip.id.chip, sensor.name, chip.libsensors_name, chip.adapter, sensor.label,
              kComputed[static_cast<std::size_t>(computed)], sensor.ignored ? "true" : "false");
      if (sensor.ignored) continue;
      SensorLimits limits;
      limits.temperature = sensor.kind->type == SENSORS_FEATURE_TEMP;
      limits.electric = sensor.kind->type == SENSORS_FEATURE_IN || sensor.kind->type == SENSORS_FEATURE_CURR;
      if (sensor.value != SIZE_MAX) limits.value = plausible(sensor, reading->values[sensor.value], false);
      for (const auto& [member, index] : sensor.fields)
        limits.*member = plausible(sensor, reading->values[index], true);
      // A sensor that says it is broken has no value worth showing.
      const bool broken = limits.fault == limits.fault && limits.fault != 0;
      if (sensor.kind->desc && !std::isnan(limits.value) && !broken)
        out.set(*sensor.kind->desc, limits.value * sensor.kind->scale, chip.id.chip, sensor.name, sensor.label);
      const auto state = judge_sensor(limits, sensor.state);
      if (!state) continue;
      sensor.state = *state;
      for (std::size_t i = 0; i < std::size(kSensorStates); ++i)
        out.set(kState, static_cast<std::size_t>(*state) == i ? 1 : 0, chip.id.chip, sensor.name, sensor.label,
                kSensorStates[i]);
    }
    out.set(kReadSeconds, static_cast<double>(reading->read_ns) / 1e9, chip.id.chip);
  }

  const Host& host_;
  const HwmonReadings& readings_;
  KernelDir class_;
  std::string config_;
  NameFilter chip_filter_, sensor_filter_;
  HelperPool helpers_;
  std::vector<HwmonChip> known_;
  std::vector<Chip> chips_;
  bool stale_ = true;
  std::int64_t rescan_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  // libsensors reads /sys, whatever --path.sysfs says: in a container that is another mount of the same kernel's.
  struct statfs ours {};
  if (!host.view().kernel || statfs("/sys", &ours) != 0 || ours.f_type != SYSFS_MAGIC)
    return fail(Errc::absent, "libsensors reads /sys and nothing else");
  const auto path = host.sysfs("class/hwmon");
  const auto entries = list_directory(path);
  if (!entries) return absent_when_gone(entries.error());
  if (entries->empty()) return fail(Errc::absent, path + ": this machine has no hardware monitoring chip");
  const auto filter = [&](std::string_view what) {
    const auto text = [&](std::string_view flag) {
      return options.spec(flag) ? options.text(flag) : std::string_view();
    };
    return NameFilter::make(text(fmt::format("collector.hwmon.{}-exclude", what)),
                            text(fmt::format("collector.hwmon.{}-include", what)));
  };
  auto chips = filter("chip");
  if (!chips) return fail(chips.error());
  auto sensors = filter("sensor");
  if (!sensors) return fail(sensors.error());
  return std::make_unique<Sensors>(host, std::string(options.text("collector.sensors.config-file")), std::move(*chips),
                                   std::move(*sensors));
}

}  // namespace

extern const CollectorInfo collector_sensors;
const CollectorInfo collector_sensors{kMetrics, kFlags, make, kOthersFlags};

}  // namespace vitald
