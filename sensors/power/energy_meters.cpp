// SPDX-License-Identifier: Apache-2.0
#include "sensors/power/energy_meters.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <compare>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/log.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/power/energy_counter.h"
#include "sensors/power/zone_counter.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"vitald_energy_joules_total", MetricType::counter,
     "Energy used since vitald began to count, through wraps. Domain package: a processor, with its core and uncore in "
     "it; dram: beside it; psys: the platform, with all the others in it, absent until it was more "
     "than 0, since many machines have it and do not feed it. A thing that several sources count is "
     "counted once: by perf, else powercap, else powercap-mmio. What was counted so far stays while none of them can "
     "be read; vitald_energy_meter_up tells.",
     "domain,package,source", "joules", "perf_event_open(2) of the PMU power, /sys/class/powercap/*/energy_uj"},
    {"vitald_energy_meter_up", MetricType::gauge,
     "Whether vitald_energy_joules_total could be read. 0: what is used now is counted when the meter can be read "
     "again, or never, if it began anew (vitald_energy_meter_breaks_total).",
     "domain,package", "", "perf_event_open(2) of the PMU power, /sys/class/powercap/*/energy_uj"},
    {"vitald_energy_meter_breaks_total", MetricType::counter,
     "Times that an energy counter did not go on: reset, it began anew, was opened again or came back, and what was "
     "between is not counted; late, it "
     "was read so late that it may have wrapped more than once; source, another source counts from here on.",
     "domain,package,kind", "", "perf_event_open(2) of the PMU power, /sys/class/powercap/*/energy_uj"},
};
constexpr auto& kEnergy = row(kMetrics, "vitald_energy_joules_total");
constexpr auto& kMeterUp = row(kMetrics, "vitald_energy_meter_up");
constexpr auto& kBreaks = row(kMetrics, "vitald_energy_meter_breaks_total");

// The best first.
enum Source : std::size_t { kPerf, kPowercap, kMmio, kSourceCount };
constexpr std::string_view kSources[kSourceCount] = {"perf", "powercap", "powercap-mmio"};
enum Break : std::size_t { kReset, kLate, kOtherSource, kBreakCount };
constexpr std::string_view kBreakNames[kBreakCount] = {"reset", "late", "source"};

constexpr std::int64_t kRescanNs = 60'000'000'000;
constexpr int kFailuresBeforeAnother = 3;  // runs

// What counts. More than one of a source where a package has several dies with a register each.
struct About {
  std::string domain, package;
  Source source = kPowercap;
  std::string path;            // of powercap
  std::uint64_t range_uj = 0;  // of powercap
  PerfEnergyEvent event = {};  // of perf
  [[nodiscard]] auto key() const { return std::pair(domain, package); }
  bool operator==(const About& o) const {
    return domain == o.domain && package == o.package && source == o.source && path == o.path &&
           range_uj == o.range_uj && event.type == o.event.type && event.config == o.event.config &&
           event.cpu == o.event.cpu && event.joules_per_unit == o.event.joules_per_unit;
  }
};

class Counter {
 public:
  explicit Counter(About about)
      : about_(std::move(about)),
        file_(about_.source == kPerf ? std::string() : about_.path + "/energy_uj"),
        energy_(about_.source == kPerf ? about_.event.joules_per_unit : 1e-6,
                about_.domain == "psys" ? EnergyCounter::kMostPlatformWatts : EnergyCounter::kMostWatts) {}

  Result<std::uint64_t> read(const OpenPerfEvent& open) {
    if (about_.source == kPerf) {
      if (!fd_) {
        auto fd = open(about_.event.type, about_.event.config, about_.event.cpu);
        if (!fd) return fail(fd.error());
        fd_ = std::move(*fd);
        energy_.forget();  // it begins at 0
        began_anew_ = std::exchange(was_open_, true);
      }
      if (const auto count = read_perf_event(fd_)) return *count;
      fd_.reset();
      return fail(Errc::gone,
                  fmt::format("the energy counter {} on CPU {} counts no more", about_.domain, about_.event.cpu));
    }
    const auto text = file_.read();
    if (!text && text.error().kind == Errc::denied)
      return fail(Errc::denied, text.error().text +
                                    ": energy counters are root's only since CVE-2020-8694; CAP_DAC_READ_SEARCH is "
                                    "needed, or CAP_PERFMON where the kernel has the PMU power");
    if (!text) return fail(text.error());
    const auto number = parse_u64(trim(*text));
    if (!number) return malformed(file_.path(), trim(*text), "a number of microjoules");
    return *number;
  }
  EnergyCounter::Grown feed(std::uint64_t raw, std::int64_t boot_ns) {
    return energy_.feed(raw, about_.source == kPerf ? 0 : about_.range_uj, boot_ns);
  }
  void forget() { energy_.forget(); }
  // Once after the kernel's counter had to be opened again: what it counted in between is not known.
  bool began_anew() { return std::exchange(began_anew_, false); }
  [[nodiscard]] const About& about() const { return about_; }

 private:
  About about_;
  ZoneCounter file_;
  Fd fd_;
  bool was_open_ = false, began_anew_ = false;
  EnergyCounter energy_;
};

// A processor, its memory, the platform.
struct Meter {
  std::array<std::vector<Counter>, kSourceCount> counters;
  std::optional<Source> chosen;
  int failures = 0;
  double joules = 0;
  std::array<std::uint64_t, kBreakCount> breaks{};
  bool listed = false;
  bool is_another = false;  // while listing: one of those that count was made anew
  bool counts = false;      // it was more than 0 once
};

std::optional<std::string> short_text(const std::string& path) {
  const auto text = read_kernel_file(path);
  if (!text) return std::nullopt;
  return std::string(trim(*text));
}

// The zones of powercap that count energy: "intel-rapl:0" is a package, "intel-rapl:0:1" a part of it. Linux 6.9 and
// 6.10 have one for each die (drivers/powercap/intel_rapl_common.c), whosever the register is.
std::vector<About> list_zones(const std::string& folder, std::span<const std::string> names, EnergyRegisters of) {
  std::vector<About> out;
  const auto is_counted = [&](const About& zone) {
    return std::ranges::any_of(
        out, [&](const About& other) { return other.key() == zone.key() && other.source == zone.source; });
  };
  std::array<int, kSourceCount> platforms{};
  for (const auto& entry : names) {
    const auto colon = entry.find(':');
    if (colon == entry.npos) continue;  // the driver itself
    const auto path = folder + "/" + entry;
    const auto name = short_text(path + "/name");
    if (!name) continue;
    About zone;
    zone.path = path;
    zone.source = std::string_view(entry).substr(0, colon).ends_with("mmio") ? kMmio : kPowercap;
    const auto package_of = [](std::string_view text) -> std::optional<std::string> {
      if (!take_prefix(text, "package-")) return std::nullopt;
      const auto digits = text.substr(0, text.find('-'));  // "package-0-die-1"
      return parse_u64(digits) ? std::optional(std::string(digits)) : std::nullopt;
    };
    if (*name == "psys") {
      zone.domain = "psys";
      zone.package = std::to_string(platforms[zone.source]++);
    } else if (auto package = package_of(*name)) {
      zone.domain = "package";
      zone.package = std::move(*package);
    } else if (*name == "core" || *name == "uncore" || *name == "dram") {
      const auto parent = short_text(folder + "/" + entry.substr(0, entry.rfind(':')) + "/name");
      auto in = parent ? package_of(*parent) : std::nullopt;
      if (!in) continue;
      zone.domain = *name;
      zone.package = std::move(*in);
      // AMD's MSR_CORE_ENERGY_STAT is one core's, that of the CPU which is asked.
      if (zone.domain == "core" && of == EnergyRegisters::amd) continue;
    } else {
      continue;
    }
    if (of != EnergyRegisters::per_die && is_counted(zone)) continue;
    if (const auto range = short_text(path + "/max_energy_range_uj")) zone.range_uj = parse_u64(*range).value_or(0);
    out.push_back(std::move(zone));
  }
  return out;
}

class EnergyMeters final : public Collector {
 public:
  EnergyMeters(const Host& host, OpenPerfEvent open)
      : host_(host), open_(std::move(open)), of_(energy_registers(host)), powercap_(host.sysfs("class/powercap")) {}

  // False: nothing here counts energy.
  bool list() {
    const auto changed = powercap_.refresh();
    problems_.clear();
    std::vector<About> all;
    if (open_)
      for (auto& event : list_perf_energy(host_, of_, problems_)) {
        About about;
        about.domain = event.domain;
        about.package = event.package;
        about.source = kPerf;
        about.event = std::move(event);
        all.push_back(std::move(about));
      }
    if (changed)
      for (auto& zone : list_zones(powercap_.path(), powercap_.names(), of_)) all.push_back(std::move(zone));
    if (all == listed_) return !all.empty();
    // Counters that stay go on counting.
    std::map<Key, std::array<std::vector<Counter>, kSourceCount>> before;
    for (auto& [key, meter] : meters_) {
      meter.listed = false;
      before[key] = std::exchange(meter.counters, {});
    }
    for (const auto& about : all) {
      auto& meter = meters_[about.key()];
      auto& old = before[about.key()][about.source];
      const auto same = std::ranges::find(old, about, &Counter::about);
      meter.listed = true;
      if (same == old.end()) {
        meter.counters[about.source].emplace_back(about);
        meter.is_another = meter.is_another || meter.chosen == about.source;
      } else {
        meter.counters[about.source].push_back(std::move(*same));
        old.erase(same);
      }
    }
    for (auto& [key, meter] : meters_) {
      // One of several may have gone for good, too.
      const bool fewer = meter.chosen && !before[key][*meter.chosen].empty();
      if (meter.listed && (meter.is_another || fewer) && !meter.counters[*meter.chosen].empty())
        broke(key, meter, kReset);
      meter.is_another = false;
    }
    listed_ = std::move(all);
    return !listed_.empty();
  }

  Result<> collect(BatchWriter& out) override {
    const auto now = host_.clock().boot_ns();
    const auto changed = powercap_.refresh();
    if ((changed && *changed) || now >= rescan_ns_) {
      list();
      rescan_ns_ = now + kRescanNs;
    }
    for (const auto& problem : problems_) out.problem(problem);
    std::vector<const Key*> up;
    for (auto& [key, meter] : meters_)
      if (meter.listed && step(key, meter, now, out)) up.push_back(&key);
    // What owners were given of a meter that cannot be read, or is gone, stays theirs, so its joules do, too.
    for (const auto& [key, source] : last_)
      if (const auto& meter = meters_.at(key); shown(key, meter))
        out.set(kEnergy, meter.joules, key.first, key.second, kSources[source]);
    for (const auto& [key, source] : last_)
      if (shown(key, meters_.at(key)))
        out.set(kMeterUp, std::ranges::any_of(up, [&wanted = key](const Key* k) { return *k == wanted; }) ? 1 : 0,
                key.first, key.second);
    for (const auto& [key, meter] : meters_)
      for (std::size_t i = 0; i < kBreakCount; ++i)
        out.set(kBreaks, static_cast<double>(meter.breaks[i]), key.first, key.second, kBreakNames[i]);
    return {};
  }

  [[nodiscard]] std::string status() const override {
    std::string text;
    for (const auto& [key, meter] : meters_)
      if (meter.listed)
        text += fmt::format("{}{} {}: {}", text.empty() ? "" : ", ", key.first, key.second,
                            !meter.chosen       ? "not readable"
                            : shown(key, meter) ? kSources[*meter.chosen]
                                                : "0 so far");
    return text;
  }

 private:
  using Key = std::pair<std::string, std::string>;  // domain, package

  // Whether it could be read.
  bool step(const Key& key, Meter& meter, std::int64_t now, BatchWriter& out) {
    std::optional<Error> error;
    const auto before = meter.chosen;
    bool good = meter.chosen && count(meter, *meter.chosen, now, key, error);
    if (!good && (!meter.chosen || ++meter.failures >= kFailuresBeforeAnother)) {
      std::optional<Error> first;
      meter.chosen.reset();
      for (std::size_t s = 0; s < kSourceCount && !good; ++s) {
        if (meter.counters[s].empty()) continue;
        for (auto& counter : meter.counters[s]) counter.forget();
        std::optional<Error> why;
        good = count(meter, static_cast<Source>(s), now, key, why);
        if (good) meter.chosen = static_cast<Source>(s);
        else if (!first) first = std::move(why);
      }
      if (!good && first) error = std::move(first);
      if (good && last_.contains(key)) broke(key, meter, last_.at(key) != *meter.chosen ? kOtherSource : kReset);
    }
    if (!good) {
      if (!meter.chosen && before) last_[key] = *before;
      if (error) out.problem(std::move(*error));
      return false;
    }
    meter.failures = 0;
    last_[key] = *meter.chosen;
    return true;
  }

  // Processors have the platform's counter also where no board feeds it, and virtual machines: 0 for ever is no number.
  static bool shown(const Key& key, const Meter& meter) { return meter.counts || key.first != "psys"; }

  // All counters of a source, or none.
  bool count(Meter& meter, Source source, std::int64_t now, const Key& key, std::optional<Error>& error) {
    auto& counters = meter.counters[source];
    if (counters.empty()) return false;
    std::vector<std::uint64_t> raw;
    for (auto& counter : counters) {
      const auto value = counter.read(open_);
      if (!value) {
        error = value.error();
        return false;
      }
      raw.push_back(*value);
      meter.counts |= *value != 0;
    }
    for (std::size_t i = 0; i < counters.size(); ++i) {
      const auto grown = counters[i].feed(raw[i], now);
      meter.joules += grown.joules;
      const bool anew = counters[i].began_anew() && meter.chosen;
      if (anew || grown.step == EnergyStep::reset) broke(key, meter, kReset);
      if (grown.step == EnergyStep::too_late) broke(key, meter, kLate);
    }
    return true;
  }
  static void broke(const Key& key, Meter& meter, Break kind) {
    if (meter.breaks[kind]++ != 0 && kind != kOtherSource) return;  // the metric goes on telling
    log::warn("an energy counter did not go on", {{"domain", key.first},
                                                  {"package", key.second},
                                                  {"kind", kBreakNames[kind]},
                                                  {"source", meter.chosen ? kSources[*meter.chosen] : ""}});
  }

  const Host& host_;
  const OpenPerfEvent open_;
  const EnergyRegisters of_;
  KernelDir powercap_;
  std::vector<About> listed_;
  std::vector<Error> problems_;
  std::map<Key, Meter> meters_;
  std::map<Key, Source> last_;  // that counted
  std::int64_t rescan_ns_ = 0;
};

// The kernel's counters are the running system's, whatever the folder is that stands for it in a test.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return make_energy_meters(host, host.view().kernel ? OpenPerfEvent(open_perf_event) : OpenPerfEvent());
}

}  // namespace

Result<std::unique_ptr<Collector>> make_energy_meters(const Host& host, OpenPerfEvent open) {
  auto meters = std::make_unique<EnergyMeters>(host, std::move(open));
  if (!meters->list())
    return fail(Errc::absent, host.sysfs("class/powercap") + " and the PMU power: this machine counts no energy");
  return meters;
}

extern const CollectorInfo collector_energy_meters;
const CollectorInfo collector_energy_meters{kMetrics, {}, make};

}  // namespace vitald
