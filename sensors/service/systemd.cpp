// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <re2/re2.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/scan.h"
#include "sensors/name_filter.h"
#include "sensors/service/bus.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "org.freedesktop.systemd1";
constexpr MetricDesc kMetrics[] = {
    {"node_systemd_version", gauge, "Detected systemd version", "version", "", kSource},
    {"node_systemd_virtualization_info", gauge, "Detected virtualization technology", "virtualization_type", "",
     kSource},
    {"node_systemd_units", gauge, "Summary of systemd unit states", "state", "", kSource},
    {"node_systemd_unit_state", gauge, "Systemd unit", "name,state,type", "", kSource},
    {"node_systemd_service_restart_total", counter, "Service unit count of Restart triggers", "name", "", kSource},
    {"node_systemd_unit_start_time_seconds", gauge, "Start time of the unit since unix epoch in seconds.", "name",
     "seconds", kSource},
    {"node_systemd_unit_tasks_current", gauge, "Current number of tasks per Systemd unit", "name", "", kSource},
    {"node_systemd_unit_tasks_max", gauge, "Maximum number of tasks per Systemd unit", "name", "", kSource},
    {"node_systemd_timer_last_trigger_seconds", gauge, "Seconds since epoch of last trigger.", "name", "seconds",
     kSource},
    {"node_systemd_socket_accepted_connections_total", counter, "Total number of accepted socket connections", "name",
     "", kSource},
    {"node_systemd_socket_current_connections", gauge, "Current number of socket connections", "name", "", kSource},
    {"node_systemd_socket_refused_connections_total", gauge, "Total number of refused socket connections", "name", "",
     kSource},
    {"node_systemd_system_running", gauge, "Whether the system is operational (see 'systemctl is-system-running')", "",
     "", kSource},
};
enum Metric {
  kVersion,
  kVirtualization,
  kUnits,
  kUnitState,
  kRestarts,
  kStartTime,
  kTasksCurrent,
  kTasksMax,
  kLastTrigger,
  kAccepted,
  kCurrent,
  kRefused,
  kRunning
};
constexpr FlagSpec kFlags[] = {
    {"collector.systemd.unit-include", FlagType::pattern, ".+",
     "Regexp of systemd units to include. Units must both match include and not match exclude to be included.",
     "collector.systemd.unit-whitelist"},
    {"collector.systemd.unit-exclude", FlagType::pattern, R"(.+\.(automount|device|mount|scope|slice))",
     "Regexp of systemd units to exclude. Units must both match include and not match exclude to be included.",
     "collector.systemd.unit-blacklist"},
    {"collector.systemd.private", FlagType::boolean, "false",
     "Establish a private, direct connection to systemd without dbus (Strongly discouraged since it requires root. For "
     "testing purposes only)."},
    {"collector.systemd.enable-task-metrics", FlagType::boolean, "false",
     "Enables service unit tasks metrics unit_tasks_current and unit_tasks_max"},
    {"collector.systemd.enable-restarts-metrics", FlagType::boolean, "false",
     "Enables service unit metric service_restart_total"},
    {"collector.systemd.enable-start-time-metrics", FlagType::boolean, "false",
     "Enables service unit metric unit_start_time_seconds"},
};

constexpr const char *kService = "org.freedesktop.systemd1", *kPath = "/org/freedesktop/systemd1";
constexpr const char *kManager = "org.freedesktop.systemd1.Manager", *kUnit = "org.freedesktop.systemd1.Unit";
constexpr const char *kServiceUnit = "org.freedesktop.systemd1.Service", *kMountUnit = "org.freedesktop.systemd1.Mount";
constexpr const char *kTimerUnit = "org.freedesktop.systemd1.Timer", *kSocketUnit = "org.freedesktop.systemd1.Socket";
constexpr std::string_view kStates[] = {"active", "activating", "deactivating", "inactive", "failed"};
constexpr double kMicrosecondsPerSecond = 1e6;

struct Unit {
  std::string name, active_state, path;
};

class Systemd final : public Collector {
 public:
  Systemd(const Options& options, NameFilter filter)
      : filter_(std::move(filter)),
        bus_(kService, options.flag("collector.systemd.private") ? "unix:path=/run/systemd/private" : ""),
        tasks_(options.flag("collector.systemd.enable-task-metrics")),
        restarts_(options.flag("collector.systemd.enable-restarts-metrics")),
        start_times_(options.flag("collector.systemd.enable-start-time-metrics")) {}

  // What was emitted before the manager stopped answering stays.
  Result<> collect(BatchWriter& out) override {
    if (auto open = bus_.begin(); !open) return open;
    manager(out);
    std::vector<Unit> units;
    if (auto listed = list(out, units); !listed) return listed;
    for (const auto& unit : units) {
      state(out, unit);
      if (start_times_) start_time(out, unit);
      if (unit.name.ends_with(".service")) service(out, unit);
      else if (unit.name.ends_with(".timer")) timer(out, unit);
      else if (unit.name.ends_with(".socket")) socket(out, unit);
      if (bus_.lost()) return fail(lost_);
    }
    const auto running = bus_.text(kPath, kManager, "SystemState");
    if (!running) return fail(running.error());
    out.set(kMetrics[kRunning], *running == "running" ? 1 : 0);
    return {};
  }

 private:
  // "252.39-1~deb12u2" -> 252.39
  void manager(BatchWriter& out) {
    const auto version = bus_.text(kPath, kManager, "Version");
    std::string number;
    const bool known = version && RE2::PartialMatch(*version, number_, &number);
    out.set(kMetrics[kVersion], known ? parse_double(number).value_or(0) : 0, known ? std::string_view(*version) : "");
    const auto virtualization = bus_.text(kPath, kManager, "Virtualization");
    out.set(kMetrics[kVirtualization], 1,
            !virtualization           ? "unknown"
            : virtualization->empty() ? "none"
                                      : std::string_view(*virtualization));
  }

  Result<> list(BatchWriter& out, std::vector<Unit>& units) {
    auto rows = bus_.rows(kPath, kManager, "ListUnits", "ssssssouso");
    if (!rows) return fail(rows.error());
    std::map<std::string, double, std::less<>> count;
    for (const auto state : kStates) count.emplace(state, 0);
    for (;;) {
      const char *name, *description, *load, *active, *sub, *following, *path, *job_type, *job_path;
      std::uint32_t job;
      const auto more = rows->next("ssssssouso", &name, &description, &load, &active, &sub, &following, &path, &job,
                                   &job_type, &job_path);
      if (!more) return fail(more.error());
      if (!*more) break;
      ++count[active];
      if (std::string_view(load) == "loaded" && !filter_.ignored(name)) units.push_back({name, active, path});
    }
    for (const auto& [state, n] : count) out.set(kMetrics[kUnits], n, state);
    return {};
  }

  // The value, unless the unit is gone or this systemd has no such property.
  template <class T>
  std::optional<T> known(Result<T> value) {
    if (value) return *value;
    if (bus_.lost()) lost_ = value.error();
    return std::nullopt;
  }

  void state(BatchWriter& out, const Unit& unit) {
    std::string type;
    if (const char* interface = unit.name.ends_with(".service") ? kServiceUnit
                                : unit.name.ends_with(".mount") ? kMountUnit
                                                                : nullptr)
      type = known(bus_.text(unit.path.c_str(), interface, "Type")).value_or("");
    for (const auto state : kStates)
      out.set(kMetrics[kUnitState], state == unit.active_state ? 1 : 0, unit.name, state, type);
  }
  void start_time(BatchWriter& out, const Unit& unit) {
    const auto microseconds = unit.active_state == "active"
                                  ? known(bus_.u64(unit.path.c_str(), kUnit, "ActiveEnterTimestamp"))
                                  : std::optional<std::uint64_t>(0);
    if (microseconds)
      out.set(kMetrics[kStartTime], static_cast<double>(*microseconds) / kMicrosecondsPerSecond, unit.name);
  }
  void service(BatchWriter& out, const Unit& unit) {
    const char* path = unit.path.c_str();
    if (restarts_)
      if (const auto n = known(bus_.u32(path, kServiceUnit, "NRestarts"))) out.set(kMetrics[kRestarts], *n, unit.name);
    if (!tasks_) return;
    constexpr auto kNone = UINT64_MAX;  // not counted, no limit
    if (const auto n = known(bus_.u64(path, kServiceUnit, "TasksCurrent")); n && *n != kNone)
      out.set(kMetrics[kTasksCurrent], static_cast<double>(*n), unit.name);
    if (const auto n = known(bus_.u64(path, kServiceUnit, "TasksMax")); n && *n != kNone)
      out.set(kMetrics[kTasksMax], static_cast<double>(*n), unit.name);
  }
  void timer(BatchWriter& out, const Unit& unit) {
    if (const auto microseconds = known(bus_.u64(unit.path.c_str(), kTimerUnit, "LastTriggerUSec")))
      out.set(kMetrics[kLastTrigger], static_cast<double>(*microseconds) / kMicrosecondsPerSecond, unit.name);
  }
  void socket(BatchWriter& out, const Unit& unit) {
    const std::pair<Metric, const char*> counts[] = {
        {kAccepted, "NAccepted"}, {kCurrent, "NConnections"}, {kRefused, "NRefused"}};
    for (const auto& [metric, property] : counts) {
      const auto n = known(bus_.u32(unit.path.c_str(), kSocketUnit, property));
      if (!n) return;
      out.set(kMetrics[metric], *n, unit.name);
    }
  }

  NameFilter filter_;
  Bus bus_;
  bool tasks_, restarts_, start_times_;
  Error lost_;
  RE2 number_{R"(([0-9]{3,}(?:\.[0-9]+)?))"};
};

Result<std::unique_ptr<Collector>> make(const Host&, const Options& options) {
  auto filter = NameFilter::make(fmt::format("^(?:{})$", options.text("collector.systemd.unit-exclude")),
                                 fmt::format("^(?:{})$", options.text("collector.systemd.unit-include")));
  if (!filter) return fail(filter.error());
  return std::make_unique<Systemd>(options, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_systemd;
const CollectorInfo collector_systemd{kMetrics, kFlags, make};

}  // namespace vitald
