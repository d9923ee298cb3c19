// SPDX-License-Identifier: Apache-2.0
// What a scheduler asks of a host: how full it is, whether to place something on it, and how to register it.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "agent/api/alerts.h"
#include "agent/api/endpoints.h"
#include "agent/api/freshness.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/api/rules.h"
#include "core/os/host_name.h"
#include "core/os/machine_id.h"

namespace vitald {
namespace {

constexpr std::int64_t kFreshNs = 1'000'000'000;     // numbers that are newer need not be collected anew
constexpr std::int64_t kPatienceNs = 2'000'000'000;  // for a collection; what is there is answered then, with its age

// A number, where it is from and when it was read.
struct Reading {
  double value;
  std::string source;
  std::int64_t boot_ns;
};

// `take(sample's labels, value)` for every sample of a family.
template <class Take>
void each_sample(const Snapshot& snapshot, std::string_view family, Take&& take) {
  for (const auto& batch : snapshot.batches)
    for (const auto& sample : batch->layout->samples())
      if (sample.family->name == family)
        take(Layout::labels(sample), batch->values[sample.value], batch->collected_boot_ns);
}

std::string_view label_of(std::span<const Label> labels, std::string_view name) {
  for (const auto& l : labels)
    if (l.name == name) return l.value;
  return {};
}

std::optional<Reading> utilization_of(const Snapshot& snapshot, std::string_view resource) {
  std::optional<Reading> found;
  each_sample(snapshot, "vitald_utilization_ratio", [&](auto labels, double ratio, std::int64_t at) {
    if (label_of(labels, "resource") == resource && std::isfinite(ratio))
      found = Reading{std::clamp(ratio, 0.0, 1.0) * 100, "vitald_utilization_ratio", at};
  });
  return found;
}

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

std::vector<std::string> chips_named(const Snapshot& snapshot, std::span<const std::string_view> names) {
  std::vector<std::string> chips;
  each_sample(snapshot, "node_hwmon_chip_names", [&](auto labels, double, std::int64_t) {
    if (is_one_of(label_of(labels, "chip_name"), names)) chips.emplace_back(label_of(labels, "chip"));
  });
  return chips;
}

// The hottest of the processors and the board, by the chips that say it: a disk or a network card may be hotter and is
// not the host. Without such a chip the hottest thermal zone.
std::optional<Reading> temperature_of(const Snapshot& snapshot) {
  static constexpr std::string_view kChips[] = {"coretemp", "k10temp",      "k8temp",      "zenpower",
                                                "acpitz",   "fam15h_power", "cpu_thermal", "peci_cputemp"};
  std::optional<Reading> hottest;
  const auto take = [&](double celsius, std::int64_t at, std::string source) {
    if (std::isfinite(celsius) && (!hottest || celsius > hottest->value)) hottest = {celsius, std::move(source), at};
  };
  const auto chips = chips_named(snapshot, kChips);
  each_sample(snapshot, "node_hwmon_temp_celsius", [&](auto labels, double celsius, std::int64_t at) {
    const auto chip = label_of(labels, "chip");
    if (std::ranges::find(chips, chip) != chips.end())
      take(celsius, at, fmt::format("node_hwmon_temp_celsius {} {}", chip, label_of(labels, "sensor")));
  });
  if (hottest) return hottest;
  each_sample(snapshot, "node_thermal_zone_temp", [&](auto labels, double celsius, std::int64_t at) {
    take(celsius, at, fmt::format("node_thermal_zone_temp {} {}", label_of(labels, "type"), label_of(labels, "zone")));
  });
  return hottest;
}

// The deriver host_power chooses the meter (docs/power.md).
std::optional<Reading> power_of(const Snapshot& snapshot) {
  std::optional<Reading> found;
  each_sample(snapshot, "vitald_host_power_watts", [&](auto labels, double watts, std::int64_t at) {
    if (std::isfinite(watts))
      found = Reading{watts, fmt::format("vitald_host_power_watts {}", label_of(labels, "source")), at};
  });
  return found;
}

void append(Json& j, std::string_view name, const std::optional<Reading>& r, std::string_view unit,
            std::int64_t now_boot_ns) {
  if (!r) return;
  j.key(name);
  j.open('{');
  j.number(unit, r->value);
  j.number("age_seconds", static_cast<double>(std::max<std::int64_t>(0, now_boot_ns - r->boot_ns)) / 1e9);
  j.text("source", r->source);
  j.close('}');
}

struct Thresholds {
  std::optional<double> cpu, memory, disk, network, temperature;
};

std::optional<Thresholds> thresholds_of(const Parameters& p, std::string& problem) {
  Thresholds out;
  const auto read = [&](const char* name, std::optional<double>& to, double most) {
    const auto text = first(p, name);
    if (text.empty()) return;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= most))
      problem = fmt::format("{}: '{}', expected a number from 0 to {}", name, text, most);
    else to = value;
  };
  static constexpr std::string_view kKnown[] = {"cpu_threshold", "memory_threshold", "disk_threshold",
                                                "network_threshold", "temperature_threshold"};
  for (const auto& [name, value] : p)
    if (!is_one_of(name, kKnown))
      problem = fmt::format("there is no '{}', expected one of {}", name, fmt::join(kKnown, ", "));
  read("cpu_threshold", out.cpu, 100);
  read("memory_threshold", out.memory, 100);
  read("disk_threshold", out.disk, 100);
  read("network_threshold", out.network, 100);
  read("temperature_threshold", out.temperature, 1000);
  if (!problem.empty()) return {};
  return out;
}

class Utilization final : public Pending {
 public:
  Utilization(const AgentView& agent, const Thresholds& thresholds, std::int64_t arrived_boot_ns)
      : agent_(agent), thresholds_(thresholds), arrived_ns_(arrived_boot_ns) {}

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    const auto latest = agent_.latest();
    if (now_boot_ns < deadline_boot_ns() && (!latest || latest->boot_ns < wants_snapshot_boot_ns())) return {};
    if (!latest) return api_error(ApiError::unavailable, "the first collection still runs");
    return json_response(200, success(json(*latest, now_boot_ns)));
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return arrived_ns_ + kPatienceNs; }
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override { return arrived_ns_ - kFreshNs; }

 private:
  [[nodiscard]] std::string json(const Snapshot& snapshot, std::int64_t now_boot_ns) const {
    const auto cpu = utilization_of(snapshot, "cpu"), memory = utilization_of(snapshot, "memory"),
               disk = utilization_of(snapshot, "disk"), network = utilization_of(snapshot, "network"),
               temperature = temperature_of(snapshot);
    auto reasons = alerts();
    const auto above = [&](std::string_view what, const auto& reading, const std::optional<double>& threshold) {
      if (!threshold) return;
      if (!reading) reasons.push_back(fmt::format("{} is not known, and asked to be at most {}", what, *threshold));
      else if (reading->value > *threshold)
        reasons.push_back(fmt::format("{} is {:.1f}, above {}", what, reading->value, *threshold));
    };
    above("cpu", cpu, thresholds_.cpu);
    above("memory", memory, thresholds_.memory);
    above("disk", disk, thresholds_.disk);
    above("network", network, thresholds_.network);
    above("temperature", temperature, thresholds_.temperature);
    if (agent_.freshness && agent_.freshness->too_old(agent_.latest(), now_boot_ns))
      reasons.emplace_back("the numbers are too old: a collection hangs");
    std::string out;
    Json j(out);
    j.open('{');
    j.text("provider_uuid", machine_uuid());
    j.text("name", host_name());
    j.number("timestamp", static_cast<double>(snapshot.wall_ns / 1'000'000) / 1e3);
    append(j, "cpu", cpu, "percent", now_boot_ns);
    append(j, "memory", memory, "percent", now_boot_ns);
    append(j, "disk", disk, "percent", now_boot_ns);
    append(j, "network", network, "percent", now_boot_ns);
    append(j, "power", power_of(snapshot), "watts", now_boot_ns);
    append(j, "temperature", temperature, "celsius", now_boot_ns);
    if (cpu && memory) j.number("available_capacity", (100 - cpu->value) * 0.5 + (100 - memory->value) * 0.5);
    j.flag("schedulable", reasons.empty());
    j.list("reasons", reasons);
    j.close('}');
    return out;
  }

  // Critical ones that nobody has in hand and nobody has silenced.
  [[nodiscard]] std::vector<std::string> alerts() const {
    std::vector<std::string> out;
    AlertFilter wanted;
    wanted.severity = "critical";
    wanted.state = "firing";
    wanted.acknowledged = false;
    wanted.silenced = false;
    const auto view = rules_view_of(agent_);
    for (const auto& row : alert_rows(*view, *agent_.silences, agent_.clock->wall_ns() / 1'000'000, {})) {
      if (!wanted.fits(row)) continue;
      const auto& labels = row.alert->labels;
      const auto name = labels.find("alertname");
      out.push_back(fmt::format("critical alert {} fires", name == labels.end() ? "" : name->second));
    }
    return out;
  }

  const AgentView agent_;
  Thresholds thresholds_;
  std::int64_t arrived_ns_;
};

// The document of a metric endpoint, as schedulers keep one for each host.
std::string registration(const AgentView& agent) {
  struct stat installed {};
  const bool known = stat("/etc/machine-id", &installed) == 0;
  std::string out;
  Json j(out);
  j.open('{');
  j.text("uuid", machine_uuid());
  j.text("name", host_name());
  j.text("endpoint_url", agent.external_url + agent.metrics_path);
  j.text("type", "prometheus");
  j.whole("scrape_interval", std::max<std::int64_t>(1, agent.interval_ns() / 1'000'000'000));
  j.flag("enabled", true);
  const auto now_ms = agent.clock->wall_ns() / 1'000'000;
  j.text("created_at", go_time(known ? installed.st_mtim.tv_sec * 1000 : now_ms));
  j.text("updated_at", go_time(now_ms));
  j.close('}');
  return success(out);
}

}  // namespace

Handler utilization_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    std::string problem;
    const auto thresholds = thresholds_of(parameters_of(request), problem);
    if (!thresholds) return api_error(ApiError::bad_data, problem);
    return std::make_unique<Utilization>(agent, *thresholds, request.arrived_boot_ns);
  };
}

Handler registration_page(const AgentView& agent) {
  return [agent](const Request&) -> Answer { return json_response(200, registration(agent)); };
}

}  // namespace vitald
