// SPDX-License-Identifier: Apache-2.0
// States of systemd's units, asked of it over D-Bus.
#include <fmt/format.h>
#include <re2/re2.h>

#include <map>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/name_filter.h"
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

enum Switch : std::uint8_t { kAlways, kTasks, kRestartCounts, kStartTimes };

// What is asked of units whose name ends so.
struct Property {
  std::string_view suffix;
  const char* interface;
  const char* name;
  char type;
  Metric metric;
  Switch wanted = kAlways;
  double divisor = 1;
};
constexpr Property kProperties[] = {
    {".service", kServiceUnit, "Type", 's', kUnitState},  // a label of the states
    {".mount", kMountUnit, "Type", 's', kUnitState},
    {"", kUnit, "ActiveEnterTimestamp", 't', kStartTime, kStartTimes, kMicrosecondsPerSecond},
    {".service", kServiceUnit, "NRestarts", 'u', kRestarts, kRestartCounts},
    {".service", kServiceUnit, "TasksCurrent", 't', kTasksCurrent, kTasks},
    {".service", kServiceUnit, "TasksMax", 't', kTasksMax, kTasks},
    {".timer", kTimerUnit, "LastTriggerUSec", 't', kLastTrigger, kAlways, kMicrosecondsPerSecond},
    {".socket", kSocketUnit, "NAccepted", 'u', kAccepted},
    {".socket", kSocketUnit, "NConnections", 'u', kCurrent},
    {".socket", kSocketUnit, "NRefused", 'u', kRefused},
};

struct Unit {
  std::string name, active_state, path;
  std::vector<const Property*> asked = {};
};

class Systemd final : public Collector {
 public:
  Systemd(const Host& host, const Options& options, NameFilter filter)
      : filter_(std::move(filter)),
        bus_(options.flag("collector.systemd.private") ? Bus::peer(host, kService, "/run/systemd/private")
                                                       : Bus::system(host, kService)) {
    const bool on[] = {true, options.flag("collector.systemd.enable-task-metrics"),
                       options.flag("collector.systemd.enable-restarts-metrics"),
                       options.flag("collector.systemd.enable-start-time-metrics")};
    for (const auto& p : kProperties)
      if (on[p.wanted]) properties_.push_back(&p);
  }

  // What was answered before the manager stopped answering stays.
  Result<> collect(BatchWriter& out) override {
    if (auto open = bus_.begin(); !open) return open;
    manager(out);
    std::vector<Unit> units;
    if (auto listed = list(out, units); !listed) return listed;

    std::vector<BusQuestion> questions;
    for (auto& unit : units)
      for (const auto* p : properties_)
        if (unit.name.ends_with(p->suffix) && !never_started(*p, unit)) {
          unit.asked.push_back(p);
          questions.push_back({unit.path, p->interface, p->name, p->type});
        }
    const auto asked = bus_.ask(questions);
    const auto* answer = questions.data();
    for (const auto& unit : units) {
      emit(out, unit, answer);
      answer += unit.asked.size();
    }
    if (!asked) return asked;
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
    if (const auto n = known ? parse_double(number) : std::nullopt) out.set(kMetrics[kVersion], *n, *version);
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
      if (is_shown(load, active) && !filter_.ignored(name)) units.push_back({name, active, path, {}});
    }
    for (const auto& [state, n] : count) out.set(kMetrics[kUnits], n, state);
    return {};
  }

  // Not those that are only mentioned by others (not-found) or masked. But a unit with a mistake in its file (error,
  // bad-setting), and any that has failed, make the system degraded, and somebody must see which it is.
  static bool is_shown(std::string_view load, std::string_view active) {
    return load == "loaded" || load == "error" || load == "bad-setting" || active == "failed";
  }

  static bool never_started(const Property& p, const Unit& unit) {
    return p.metric == kStartTime && unit.active_state != "active";
  }

  // A refused answer is of a unit that is gone, or of a systemd that has no such property.
  void emit(BatchWriter& out, const Unit& unit, const BusQuestion* answers) const {
    using State = BusQuestion::State;
    const bool has_type = !unit.asked.empty() && unit.asked.front()->metric == kUnitState;
    if (!has_type || answers->state != State::open)
      for (const auto state : kStates)
        out.set(kMetrics[kUnitState], state == unit.active_state ? 1 : 0, unit.name, state,
                has_type && answers->state == State::known ? answers->text : "");
    for (const auto* p : properties_)
      if (never_started(*p, unit)) out.set(kMetrics[kStartTime], 0, unit.name);
    constexpr auto kNone = UINT64_MAX;  // not counted, no limit
    for (std::size_t i = has_type ? 1 : 0; i < unit.asked.size(); ++i)
      if (answers[i].state == State::known && answers[i].number != kNone)
        out.set(kMetrics[unit.asked[i]->metric], static_cast<double>(answers[i].number) / unit.asked[i]->divisor,
                unit.name);
  }

  NameFilter filter_;
  Bus bus_;
  std::vector<const Property*> properties_;  // those switched on
  RE2 number_{R"(([0-9]{3,}(?:\.[0-9]+)?))"};
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(fmt::format("^(?:{})$", options.text("collector.systemd.unit-exclude")),
                                 fmt::format("^(?:{})$", options.text("collector.systemd.unit-include")));
  if (!filter) return fail(filter.error());
  return std::make_unique<Systemd>(host, options, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_systemd;
const CollectorInfo collector_systemd{kMetrics, kFlags, make};

}  // namespace vitald
