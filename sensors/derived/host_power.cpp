// SPDX-License-Identifier: Apache-2.0
// What the whole host draws, in watts and joules, from the best of the meters that other collectors read. docs/power.md
// has the order. Where there is no meter there is no number.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/deriver.h"
#include "core/layout_map.h"
#include "core/log.h"
#include "core/metric_row.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"vitald_host_power_watts", MetricType::gauge,
     "What the host draws, by the best meter there is: external, a metric the operator names; acpi_power_meter, the "
     "platform's meter through ACPI; ipmi_dcmi, the same through the BMC; hwmon_system, a chip that measures the whole "
     "machine; psys, the platform by RAPL; battery, what batteries give while nothing else feeds; rapl_packages, only "
     "processors and memory by RAPL; model, an estimate with the operator's coefficients. Absent without any.",
     "source", "watts", "vitald"},
    {"vitald_host_energy_joules_total", MetricType::counter,
     "Energy the host has used since vitald began to count with this source: the meter's own counter where it has one, "
     "else its power over the time between two readings that are at most two minutes apart.",
     "source", "joules", "vitald"},
    {"vitald_host_power_source_changes_total", MetricType::counter,
     "Times that another meter became the one that vitald_host_power_watts comes from.", "", "", "vitald"},
    // As of utilization: where nobody collects in between it is the mean of minutes.
    {"vitald_host_power_over_seconds", MetricType::gauge,
     "What time the power is the mean of, where a counter tells it.", "source", "seconds", "vitald", Shown::inside},
};
constexpr auto& kOver = row(kMetrics, "vitald_host_power_over_seconds");
constexpr auto& kPower = row(kMetrics, "vitald_host_power_watts");
constexpr auto& kEnergy = row(kMetrics, "vitald_host_energy_joules_total");
constexpr auto& kChanges = row(kMetrics, "vitald_host_power_source_changes_total");

constexpr FlagSpec kFlags[] = {
    {"collector.host_power.external", FlagType::text, "",
     "Name of a gauge in watts that says what the host draws, for example one that a textfile brings from the rack's "
     "power distribution; its series are added up. It goes before every other meter."},
    {"collector.host_power.external-max-age", FlagType::duration, "15m",
     "What a text file that was written longer ago says of that gauge is silent: who writes it has died; 0: never. So "
     "is what one says whose date is more than a minute ahead."},
    {.name = "collector.host_power.model-idle-watts",
     .type = FlagType::number,
     .fallback = "0",
     .help = "What this host draws when it does nothing, in watts, for an estimate where it has no meter. With "
             "model-busy-watts; 0: no estimate.",
     .least = 0,
     .most = 100'000},
    {.name = "collector.host_power.model-busy-watts",
     .type = FlagType::number,
     .fallback = "0",
     .help = "What this host draws when all its CPUs are busy, in watts, for an estimate where it has no meter; in "
             "between it goes by the CPUs' utilization. 0: no estimate.",
     .least = 0,
     .most = 100'000},
};

// The best first.
enum Source : std::size_t { kExternal, kAcpi, kDcmi, kSystem, kPsys, kBattery, kPackages, kModel, kSourceCount };
constexpr std::string_view kNames[kSourceCount] = {"external", "acpi_power_meter", "ipmi_dcmi",     "hwmon_system",
                                                   "psys",     "battery",          "rapl_packages", "model"};

// A meter that is silent for longer than this gives way to the next.
constexpr std::int64_t kSilentNs = 60'000'000'000;
// A text file's date that is further ahead tells no age: of its writer's clock, or of the host's before it was set.
constexpr double kMostAheadS = 60;
// Between readings that are further apart nobody knows what was drawn.
constexpr std::int64_t kMostBetweenNs = 120'000'000'000;
// Counters of energy become power over at least this, and at most that: the mean of a longer time is no power of now.
constexpr std::int64_t kLeastNs = 1'000'000'000, kMostNs = 300'000'000'000;

std::string_view label(const Sample& s, std::string_view name) {
  for (const auto& l : Layout::labels(s))
    if (l.name == name) return l.value;
  return {};
}

std::string all_labels(const Sample& s) {
  std::string text;
  for (const auto& l : Layout::labels(s)) text += fmt::format("{}={},", l.name, l.value);
  return text;
}

// Where a layout has what is of interest.
struct Rows {
  struct Watts {
    std::uint32_t value;
    std::string chip, sensor;
    bool average;
  };
  struct Joules {
    std::uint32_t value;
    // Whoever counts it: the counter goes on where another source takes over.
    std::string domain, package;
  };
  struct Supply {
    std::uint32_t value;
    std::string name;
  };
  struct Part {
    std::uint32_t value;
    std::string name;
    std::optional<std::uint32_t> mtime = {};  // of the text file that it is in
  };
  std::vector<Part> external, dcmi;
  std::vector<std::uint32_t> cpu;
  std::vector<Watts> hwmon;
  std::vector<Joules> energy, energy_up;  // energy_up: whether that one could be read
  std::vector<Supply> supply_watts, supply_volts, supply_amperes, online;
  std::map<std::string, std::string, std::less<>> chip_names;
  std::map<std::pair<std::string, std::string>, std::string> sensor_labels, oem_infos;
  struct SupplyAbout {
    std::string type, status, scope;
  };
  std::map<std::string, SupplyAbout, std::less<>> supplies;
  bool any = false;
};

// What one source said in this cycle.
struct Reading {
  std::optional<double> watts;
  std::int64_t at_ns = 0;
  // Of counters: each by its name, so that one that comes is no jump.
  std::map<std::string, double> joules;
  // Of a sum of watts: what is in it.
  std::set<std::string> parts;
};

class HostPower final : public Deriver {
 public:
  HostPower(std::string external, std::int64_t external_ns, double idle_watts, double busy_watts)
      : external_(std::move(external)), external_ns_(external_ns), idle_watts_(idle_watts), busy_watts_(busy_watts) {}

  void hear(std::span<const BatchPtr> from_anybody) override {
    from_anybody_.assign(from_anybody.begin(), from_anybody.end());
  }

  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    const auto now = so_far.boot_ns;
    std::map<std::string, std::string> silent;
    auto readings = read(so_far, silent);
    std::optional<Source> best;
    for (std::size_t s = 0; s < kSourceCount; ++s) {
      auto& meter = meters_[s];
      if (!complete(meter, readings[s], now)) readings[s].at_ns = 0;
      follow(meter, readings[s]);
      if (!readings[s].at_ns || (!meter.watts && !meter.too_long)) continue;
      meter.heard_ns = now;
      if (!best) best = static_cast<Source>(s);
    }
    tell(std::move(silent), readings[kExternal], now, out);
    choose(best, now);
    if (chosen_) {
      const auto& meter = meters_[*chosen_];
      if (meter.heard_ns == now) {
        if (meter.watts) out.set(kPower, *meter.watts, kNames[*chosen_]);
        out.set(kEnergy, meter.joules, kNames[*chosen_]);
        if (meter.watts && meter.over_ns != 0)
          out.set(kOver, static_cast<double>(meter.over_ns) / 1e9, kNames[*chosen_]);
      }
    }
    if (chosen_) out.set(kChanges, static_cast<double>(changes_));
    rows_.forget_unused();
    return {};
  }

 private:
  struct Meter {
    std::optional<double> watts;
    double joules = 0;
    std::int64_t heard_ns = 0;
    // The reading before.
    std::int64_t at_ns = 0;
    double last_watts = 0;
    std::map<std::string, double> counters;
    // Of counters: what they had grown by since `power_from_ns`.
    double grown = 0;
    std::int64_t power_from_ns = 0;
    std::int64_t over_ns = 0;                   // what `watts` is the mean of
    bool too_long = false;                      // for watts to say anything; the joules are what they are
    std::map<std::string, std::int64_t> parts;  // of the sum: when each was there last
  };

  // One of two feeds that cannot be read is no host that draws half. What is missing has to be away for as long as a
  // meter may be silent before the others are the host.
  static bool complete(Meter& meter, const Reading& now, std::int64_t now_ns) {
    for (const auto& part : now.parts) meter.parts[part] = now_ns;
    for (const auto& [part, joules] : now.joules) meter.parts[part] = now_ns;
    std::erase_if(meter.parts, [&](const auto& part) { return now_ns - part.second >= kSilentNs; });
    return std::ranges::all_of(meter.parts, [&](const auto& part) { return part.second == now_ns; });
  }

  // What a reading adds. One whose time was seen before adds nothing.
  static void follow(Meter& meter, Reading& now) {
    if (now.at_ns == 0) {
      meter.watts.reset();
      meter.too_long = false;
      return;
    }
    if (now.at_ns == meter.at_ns) return;
    const auto passed_ns = now.at_ns - meter.at_ns;
    const bool follows = meter.at_ns != 0 && passed_ns > 0;
    if (now.watts) {
      if (follows && passed_ns <= kMostBetweenNs)
        meter.joules += (meter.last_watts + *now.watts) / 2 * static_cast<double>(passed_ns) / 1e9;
      meter.watts = meter.last_watts = *now.watts;
    } else {
      double grown = 0;
      for (const auto& [name, joules] : now.joules)
        if (const auto before = meter.counters.find(name); before != meter.counters.end() && joules > before->second)
          grown += joules - before->second;
      const bool same = std::ranges::equal(meter.counters, now.joules,
                                           [](const auto& a, const auto& b) { return a.first == b.first; });
      meter.joules += grown;
      meter.grown += grown;
      meter.counters = std::move(now.joules);
      if (!follows || !same) {
        meter.watts.reset();
        meter.too_long = false;
        meter.grown = 0;
        meter.power_from_ns = now.at_ns;
      } else if (const auto over_ns = now.at_ns - meter.power_from_ns; over_ns >= kLeastNs) {
        // One that stands still (virtual machines have such) does not know, as firmware that says 0.
        meter.watts.reset();
        meter.too_long = meter.grown > 0 && over_ns > kMostNs;
        if (meter.grown > 0 && !meter.too_long) meter.watts = meter.grown / (static_cast<double>(over_ns) / 1e9);
        meter.over_ns = over_ns;
        meter.grown = 0;
        meter.power_from_ns = now.at_ns;
      }
    }
    meter.at_ns = now.at_ns;
  }

  // Of the operator's gauge: what does not count, and why, for as long as that lasts; and when it is over. `silent`: by
  // the labels of a series.
  void tell(std::map<std::string, std::string> silent, const Reading& external, std::int64_t now, BatchWriter& out) {
    for (const auto& [part, heard_ns] : meters_[kExternal].parts)
      if (heard_ns != now) silent.try_emplace(part, "no longer there, or no power");
    const auto name = [&](std::string_view labels) {
      labels = labels.substr(0, labels.size() - (labels.ends_with(',') ? 1 : 0));
      return labels.empty() ? external_ : fmt::format("{}{{{}}}", external_, labels);
    };
    for (const auto& [part, why] : silent)
      out.problem({Errc::timeout, 0, fmt::format("{} is silent: {}", name(part), why)});
    for (const auto& [part, why] : silent_)
      if (external.parts.contains(part)) log::info("the operator's meter is heard again", {{"series", name(part)}});
    silent_ = std::move(silent);
  }

  void choose(std::optional<Source> best, std::int64_t now) {
    if (!best || best == chosen_) return;
    if (chosen_ && *best > *chosen_ && now - meters_[*chosen_].heard_ns < kSilentNs) return;
    if (chosen_) ++changes_;
    if (chosen_)
      log::warn("the host's power comes from another meter", {{"from", kNames[*chosen_]}, {"to", kNames[*best]}});
    else log::info("the host's power", {{"source", kNames[*best]}});
    chosen_ = best;
  }

  // `silent`: the series of the operator's gauge that do not count, and why.
  std::array<Reading, kSourceCount> read(const Snapshot& so_far, std::map<std::string, std::string>& silent) {
    std::array<Reading, kSourceCount> out;
    // A host that runs draws something: firmware that says 0 does not know. Where another feed has numbers, one at 0
    // stands by; it is missing where it had some in the last minute.
    const auto add = [&](Source source, double watts, std::int64_t at_ns, std::string part = {}) {
      if (!(watts > 0) || !std::isfinite(watts)) return;
      auto& reading = out[source];
      reading.watts = reading.watts.value_or(0) + watts;
      reading.at_ns = std::max(reading.at_ns, at_ns);
      reading.parts.insert(std::move(part));
    };
    std::map<std::string, double> platforms;
    for (const auto& batch : so_far.batches) {
      const auto& rows = rows_.of(batch->layout, [this](const Layout& layout) { return find(layout); });
      if (!rows.any) continue;
      const auto at = batch->collected_boot_ns;
      const auto value = [&](std::uint32_t i) { return batch->values[i]; };
      for (const auto& part : rows.external) add(kExternal, value(part.value), at, part.name);
      for (const auto& part : rows.dcmi) add(kDcmi, value(part.value), at, part.name);
      hwmon(rows, value, [&](Source source, double watts, const Rows::Watts& w) {
        add(source, watts, at, w.chip + ' ' + w.sensor);
      });
      for (const auto& e : rows.energy) {
        // A silent one shows what it had counted.
        if (std::ranges::any_of(rows.energy_up, [&](const Rows::Joules& up) {
              return up.domain == e.domain && up.package == e.package && value(up.value) == 0;
            }))
          continue;
        if (e.domain == "psys") platforms[e.package] = value(e.value), out[kPsys].at_ns = at;
        else if (e.domain == "package" || e.domain == "dram")
          out[kPackages].joules[e.domain + ' ' + e.package] = value(e.value), out[kPackages].at_ns = at;
      }
      if (const auto watts = batteries(rows, value)) add(kBattery, *watts, at);
      if (busy_watts_ > 0)
        for (const auto i : rows.cpu) add(kModel, idle_watts_ + (busy_watts_ - idle_watts_) * value(i), at);
    }
    if (!out[kExternal].watts && !external_.empty())
      for (const auto& batch : from_anybody_) {
        const auto& rows = rows_.of(batch->layout, [this](const Layout& l) { return external_of(l); });
        for (const auto& part : rows.external) {
          if (part.mtime) {
            const auto age_s = static_cast<double>(so_far.wall_ns) / 1e9 - batch->values[*part.mtime];
            // Without its age: it would be news with each cycle.
            if (external_ns_ != 0 && age_s > static_cast<double>(external_ns_) / 1e9) {
              silent[part.name] = fmt::format("its text file was not written for more than {}s: who writes it has died",
                                              external_ns_ / 1'000'000'000);
              continue;
            }
            if (age_s < -kMostAheadS) {
              silent[part.name] = "dated more than a minute ahead: the clock of its writer, or this host's, is wrong";
              continue;
            }
          }
          add(kExternal, batch->values[part.value], batch->collected_boot_ns, part.name);
        }
      }
    from_anybody_.clear();
    for (auto& reading : out)
      if (reading.watts && !std::isfinite(*reading.watts)) reading = {};
    // On boards with several processors one of them counts for the platform, and the others stand still. Where more
    // than one moves it is not known what they count.
    for (const auto& [id, joules] : platforms) {
      const auto before = platforms_.find(id);
      if (before != platforms_.end() && joules != before->second) moving_.try_emplace(id);
      if (const auto moves = moving_.find(id); moves != moving_.end()) moves->second = so_far.boot_ns;
    }
    std::erase_if(moving_, [&](const auto& moves) { return so_far.boot_ns - moves.second >= kSilentNs; });
    if (moving_.size() == 1 && platforms.contains(moving_.begin()->first))
      out[kPsys].joules = {{"psys", platforms[moving_.begin()->first]}};
    else out[kPsys].at_ns = 0;
    platforms_ = std::move(platforms);
    if (!out[kPackages].joules.empty() &&
        std::ranges::none_of(out[kPackages].joules, [](const auto& j) { return j.first.starts_with("package"); }))
      out[kPackages].at_ns = 0;  // memory alone is not the host
    return out;
  }

  // ACPI's meters: two of them are two feeds. On boards that measure by module the modules are the host, and the other
  // meters are parts of them. Per sensor the average counts, else what it is now.
  template <class Value, class Add>
  static void hwmon(const Rows& rows, Value&& value, Add&& add) {
    const auto oem = [&](const Rows::Watts& w) -> std::string_view {
      const auto at = rows.oem_infos.find({w.chip, w.sensor});
      return at == rows.oem_infos.end() ? std::string_view() : std::string_view(at->second);
    };
    const bool by_module = std::ranges::any_of(
        rows.oem_infos, [](const auto& info) { return std::string_view(info.second).starts_with("Module Power"); });
    for (const auto& w : rows.hwmon) {
      const auto name = rows.chip_names.find(w.chip);
      if (name == rows.chip_names.end()) continue;
      if (!w.average && std::ranges::any_of(rows.hwmon, [&](const Rows::Watts& other) {
            return other.average && other.chip == w.chip && other.sensor == w.sensor;
          }))
        continue;
      if (name->second == "power_meter") {
        if (!by_module || oem(w).starts_with("Module Power")) add(kAcpi, value(w.value), w);
      } else if (name->second == "occ") {
        const auto text = rows.sensor_labels.find({w.chip, w.sensor});
        if (text != rows.sensor_labels.end() && text->second == "system") add(kSystem, value(w.value), w);
      }
    }
  }

  // What batteries give while nothing else feeds the machine; each has to say how much.
  template <class Value>
  static std::optional<double> batteries(const Rows& rows, Value&& value) {
    for (const auto& supply : rows.online) {
      const auto about = rows.supplies.find(supply.name);
      const bool feeds = about == rows.supplies.end() || about->second.type != "Battery";
      if (feeds && value(supply.value) != 0) return std::nullopt;
    }
    const auto of = [&](const std::vector<Rows::Supply>& list, std::string_view name) -> std::optional<double> {
      const auto at = std::ranges::find(list, name, &Rows::Supply::name);
      return at == list.end() ? std::nullopt : std::optional(std::abs(value(at->value)));
    };
    std::optional<double> sum;
    for (const auto& [name, about] : rows.supplies) {
      if (about.type != "Battery" || about.status != "Discharging" || about.scope == "Device") continue;  // a mouse's
      auto watts = of(rows.supply_watts, name);
      const auto volts = of(rows.supply_volts, name), amperes = of(rows.supply_amperes, name);
      if (!watts && volts && amperes) watts = *volts * *amperes;
      if (!watts) return std::nullopt;
      sum = sum.value_or(0) + *watts;
    }
    return sum && *sum > 0 ? sum : std::nullopt;
  }

  // Of what anybody wrote nothing else counts, whatever it is called.
  Rows external_of(const Layout& layout) const {
    Rows rows;
    std::map<std::string, std::uint32_t> mtimes;
    for (const auto& s : layout.samples())
      if (s.family->name == external_) rows.external.push_back({s.value, all_labels(s)});
      else if (s.family->name == "vitald_textfile_power_mtime_seconds") mtimes[all_labels(s)] = s.value;
    for (auto& part : rows.external)
      if (const auto at = mtimes.find(part.name); at != mtimes.end()) part.mtime = at->second;
    return rows;
  }

  Rows find(const Layout& layout) const {
    Rows rows;
    for (const auto& s : layout.samples()) {
      const auto name = s.family->name;
      if (!external_.empty() && name == external_) rows.external.push_back({s.value, all_labels(s)});
      else if (name == "node_hwmon_power_average_watt" || name == "node_hwmon_power_watt")
        rows.hwmon.push_back(
            {s.value, std::string(label(s, "chip")), std::string(label(s, "sensor")), name.ends_with("average_watt")});
      else if (name == "node_hwmon_chip_names" || name == "vitald_hwmon_device_name")
        rows.chip_names[std::string(label(s, "chip"))] = label(s, "chip_name");
      else if (name == "node_hwmon_sensor_label")
        rows.sensor_labels[{std::string(label(s, "chip")), std::string(label(s, "sensor"))}] = label(s, "label");
      else if (name == "vitald_hwmon_oem_info")
        rows.oem_infos[{std::string(label(s, "chip")), std::string(label(s, "sensor"))}] = label(s, "text");
      else if (name == "vitald_energy_joules_total")
        rows.energy.push_back({s.value, std::string(label(s, "domain")), std::string(label(s, "package"))});
      else if (name == "vitald_energy_meter_up")
        rows.energy_up.push_back({s.value, std::string(label(s, "domain")), std::string(label(s, "package"))});
      else if (name == "ipmi_dcmi_power_consumption_watts") rows.dcmi.push_back({s.value, all_labels(s)});
      else if (name == "node_power_supply_info")
        rows.supplies[std::string(label(s, "power_supply"))] = {
            std::string(label(s, "type")), std::string(label(s, "status")), std::string(label(s, "scope"))};
      else if (name == "node_power_supply_power_watt")
        rows.supply_watts.push_back({s.value, std::string(label(s, "power_supply"))});
      else if (name == "node_power_supply_voltage_volt")
        rows.supply_volts.push_back({s.value, std::string(label(s, "power_supply"))});
      else if (name == "node_power_supply_current_ampere")
        rows.supply_amperes.push_back({s.value, std::string(label(s, "power_supply"))});
      else if (name == "node_power_supply_online")
        rows.online.push_back({s.value, std::string(label(s, "power_supply"))});
      else if (name == "vitald_utilization_ratio" && label(s, "resource") == "cpu") rows.cpu.push_back(s.value);
      else continue;
      rows.any = true;
    }
    return rows;
  }

  const std::string external_;
  const std::int64_t external_ns_;
  const double idle_watts_, busy_watts_;
  LayoutMap<Rows> rows_;
  std::vector<BatchPtr> from_anybody_;         // of this cycle
  std::map<std::string, std::string> silent_;  // of the cycle before
  std::array<Meter, kSourceCount> meters_;
  std::map<std::string, double> platforms_;
  std::map<std::string, std::int64_t> moving_;  // platform counters that were seen to: when each was there last
  std::optional<Source> chosen_;
  std::uint64_t changes_ = 0;
};

Result<std::unique_ptr<Deriver>> derive(const Host&, const Options& options) {
  const auto idle = options.number("collector.host_power.model-idle-watts"),
             busy = options.number("collector.host_power.model-busy-watts");
  if (busy < idle)
    return fail(Errc::malformed, fmt::format("collector.host_power.model-idle-watts {} is more than model-busy-watts "
                                             "{}: give both, the one below the other",
                                             idle, busy));
  return std::make_unique<HostPower>(std::string(options.text("collector.host_power.external")),
                                     options.duration_ns("collector.host_power.external-max-age"),
                                     static_cast<double>(idle), static_cast<double>(busy));
}

}  // namespace

extern const CollectorInfo collector_host_power;
const CollectorInfo collector_host_power{kMetrics, kFlags, nullptr, {}, derive};

}  // namespace vitald
