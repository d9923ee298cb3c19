// SPDX-License-Identifier: Apache-2.0
// Energy that CPU packages, DRAM and their like used, from the counters of /sys/class/powercap.
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/power/zone_counter.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_rapl_joules_total", MetricType::counter, "Current RAPL value in joules", "index,path,rapl_zone", "joules",
     "/sys/class/powercap/*/energy_uj"},
    {"node_rapl_*_joules_total", MetricType::counter, "*", "index,path", "joules", "/sys/class/powercap/*/energy_uj"},
};
constexpr auto& kZoneLabel = row(kMetrics, "node_rapl_joules_total");

constexpr FlagSpec kFlags[] = {
    // node_exporter's help text talks of systemd units; it was copied there.
    {"collector.rapl.enable-zone-label", FlagType::boolean, "false",
     "One metric node_rapl_joules_total with the zone as a label, instead of one metric for each zone"},
};

class Rapl final : public Collector {
 public:
  Rapl(const Host& host, bool zone_label) : powercap_(host.sysfs("class/powercap")), zone_label_(zone_label) {}

  Result<> collect(BatchWriter& out) override {
    const auto changed = powercap_.refresh();
    if (!changed) return absent_when_gone(changed.error());
    if (*changed || !hidden_.empty()) list_zones();
    out.use(descs_);
    Result<> outcome;
    if (!hidden_.empty())
      outcome = fail(Errc::denied,
                     fmt::format("{}: {} there lead nowhere: a container's engine hides what they lead to "
                                 "(/sys/devices/virtual/powercap, since CVE-2020-8694); mount the host's /sys and name "
                                 "it with --path.sysfs",
                                 powercap_.path(), fmt::join(hidden_, ", ")));
    for (auto& zone : zones_) {
      const auto text = zone.energy.read();
      if (!text && text.error().kind == Errc::gone) continue;  // powercap zones without a counter: DTPM, idle injection
      if (!text && text.error().kind == Errc::denied) {
        outcome = fail(Errc::denied, text.error().text +
                                         ": energy counters are readable by root only since CVE-2020-8694; "
                                         "CAP_DAC_READ_SEARCH is needed");
        continue;
      }
      const auto microjoules = text ? parse_u64(trim(*text)) : std::nullopt;
      if (!microjoules) {
        out.problem(text ? malformed(zone.energy.path(), trim(*text), "a number of microjoules").value()
                         : text.error());
        continue;
      }
      const double joules = static_cast<double>(*microjoules) / 1000000.0;
      if (zone_label_) out.set(kZoneLabel, joules, Decimal(zone.index), zone.path, zone.name);
      else out.set(*zone.desc, joules, Decimal(zone.index), zone.path);
    }
    return outcome;
  }

 private:
  struct Zone {
    std::string name, path;
    std::int64_t index = 0;
    const MetricDesc* desc = nullptr;
    ZoneCounter energy;
  };

  // Zones are those folders that have a name: "package-0" is the package with index 0; the second "dram" is
  // dram with index 1.
  void list_zones() {
    zones_.clear();
    hidden_.clear();
    std::map<std::string, std::int64_t> used;
    for (const auto& entry : powercap_.names()) {
      Zone zone;
      zone.path = powercap_.file(entry);
      const auto text = read_kernel_file(zone.path + "/name");
      if (!text) {
        if (text.error().kind == Errc::gone && ::access(zone.path.c_str(), F_OK) != 0) hidden_.push_back(entry);
        continue;
      }
      zone.name = trim(*text);
      const auto bar = zone.name.find('-');
      const auto index = bar == std::string::npos || zone.name.find('-', bar + 1) != std::string::npos
                             ? std::nullopt
                             : parse_i64(std::string_view(zone.name).substr(bar + 1));
      if (index) zone.name.resize(bar);
      zone.index = index ? *index : used[zone.name];
      used[zone.name] = zone.index + 1;
      zone.desc = &descs_->get(fmt::format("node_rapl_{}_joules_total", metric_name(zone.name)), MetricType::counter,
                               fmt::format("Current RAPL {} value in joules", zone.name), "index,path", "joules",
                               "/sys/class/powercap/*/energy_uj");
      zone.energy = ZoneCounter(zone.path + "/energy_uj");
      zones_.push_back(std::move(zone));
    }
  }

  KernelDir powercap_;
  bool zone_label_;
  DescPoolPtr descs_ = std::make_shared<DescPool>();
  std::vector<Zone> zones_;
  std::vector<std::string> hidden_;  // names that lead nowhere
};

// Without the folder node_exporter calls the collector failed (ErrNoData); an empty one is a success.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (const auto there = list_directory(host.sysfs("class/powercap")); !there) return absent_when_gone(there.error());
  return std::make_unique<Rapl>(host, options.flag("collector.rapl.enable-zone-label"));
}

}  // namespace

extern const CollectorInfo collector_rapl;
const CollectorInfo collector_rapl{kMetrics, kFlags, make};

}  // namespace vitald
