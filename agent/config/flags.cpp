// SPDX-License-Identifier: Apache-2.0
#include "agent/config/flags.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <deque>

#include "core/text/scan.h"

namespace vitald {
namespace {

using enum FlagType;

constexpr std::int64_t kMs = 1'000'000, kSecond = 1'000 * kMs;
constexpr std::string_view kDialects[] = {"2", "3"};
constexpr std::string_view kLogLevels[] = {"debug", "info", "warn", "error"};
constexpr std::string_view kLogFormats[] = {"logfmt", "json"};

// node_exporter's names and texts where it has the same flag.
constexpr FlagSpec kAgentFlags[] = {
    {"collector.disable-defaults", boolean, "false", "Set all collectors to disabled by default."},
    {"path.procfs", text, "/proc", "procfs mountpoint."},
    {"path.sysfs", text, "/sys", "sysfs mountpoint."},
    {"path.rootfs", text, "/", "rootfs mountpoint."},
    {"path.udev.data", text, "/run/udev/data", "udev data path."},
    {"web.listen-address", list, ":9100", "Addresses on which to expose metrics and web interface. Repeatable."},
    {.name = "web.telemetry-path",
     .fallback = "/metrics",
     .help = "Path under which to expose metrics.",
     .begins_with = "/"},
    {.name = "web.max-requests",
     .type = number,
     .fallback = "40",
     .help = "Maximum number of parallel scrape requests. Use 0 to disable.",
     .least = 0,
     .most = 1'000'000},
    {"web.created-series", boolean, "false",
     "Give OpenMetrics' readers a _created series beside each counter, histogram and summary, with the time since when "
     "it counts. A Prometheus before 3 keeps them as series of their own. Protobuf always has these times."},
    {"web.config.file", text, "",
     "Path to configuration file that can enable TLS or authentication, in exporter-toolkit's format."},
    {"web.systemd-socket", boolean, "false", "Use systemd socket activation listeners instead of port listeners."},
    {"runtime.gomaxprocs", number, "1", "Accepted for node_exporter's sake, without effect: there is no Go runtime."},
    {"web.max-age", duration, "1s", "A scrape is answered with numbers up to this age; 0: always fresh ones."},
    {.name = "pipeline.interval",
     .type = duration,
     .fallback = "5s",
     .help = "How often rules are evaluated; without rules nothing runs between scrapes.",
     .least = 100 * kMs},
    {"rules.file", list, "", "Rule file in Prometheus' format, or a glob of them. Repeatable."},
    {.name = "rules.promql.dialect",
     .fallback = "3",
     .help = "Where Prometheus 2 and 3 give different answers, whose rules give: 3 leaves the sample at a range's left "
             "end out and drops names last. 2 is that of Debian 12's and 13's servers.",
     .choices = kDialects},
    {"rules.promql.experimental", boolean, "false",
     "Allow in rules what Prometheus calls experimental, and may change: info(), fill(), anchored, smoothed, "
     "start_timestamp()."},
    {"rules.series-label", list, "",
     "NAME=VALUE that rules and queries see on every series, as a Prometheus server would add it. Without one "
     "job=node and instance=HOST:PORT; `job=` is none. Repeatable."},
    {"rules.external-label", list, "",
     "NAME=VALUE that tells this host from others: $externalLabels in templates, and in what receivers get. "
     "Repeatable."},
    {"web.external-url", text, "",
     "URL under which others reach this server: externalURL in templates, and in what receivers get. Empty: http:// "
     "with this host's name and the port of the first listen address."},
    {.name = "history.retention",
     .type = duration,
     .fallback = "1h",
     .help = "How long the samples of all series are kept where there are rules; those that a rule looks back at "
             "longer, longer.",
     .least = 60 * kSecond},
    {.name = "history.memory",
     .type = number,
     .fallback = "16",
     .help = "MiB that the history may take. Beyond it the oldest samples go first; a metric, the log and the rules "
             "say so.",
     .least = 1,
     .most = 1'048'576},
    {"history.without-rules", boolean, "false",
     "Keep history also where there are no rules, so that queries have something to look at; collects every "
     "pipeline.interval then."},
    {"checks.file", list, "",
     "Rackscope's check and metric libraries: a file, a glob or a folder. Checks of scope node are evaluated for this "
     "host: vitald_check_state, /api/v1/checks. Repeatable."},
    {"verdict.file", text, "",
     "YAML file with the rules of /api/v1/verdict and `vitald verdict`, in place of those that are built in "
     "(deploy/verdict.yaml)."},
    {.name = "query.lookback-delta",
     .type = duration,
     .fallback = "5m",
     .help = "How old the newest sample of a series may be for a query of the API to see it.",
     .least = kSecond},
    {.name = "query.max-concurrency",
     .type = number,
     .fallback = "2",
     .help = "Queries of the API that run at the same time, each on a thread that yields to all others; more wait.",
     .least = 1,
     .most = 100},
    {.name = "query.max-samples",
     .type = number,
     .fallback = "1000000",
     .help = "Most samples that a query of the API may give, or have in memory at one time; beyond it it fails. A "
             "sample takes "
             "some 40 bytes.",
     .least = 1'000,
     .most = 1'000'000'000},
    {.name = "query.timeout",
     .type = duration,
     .fallback = "10s",
     .help = "How long a query of the API may take, with what it waits for others.",
     .least = 100 * kMs,
     .most = 3'600 * kSecond},
    {"history.keep", list, "",
     "Series of which samples stay for longer than --history.retention, and how many of them: "
     "'{__name__=~\"node_hwmon.*\"} for 7d every 1m'. In a file: {match: ..., for: 7d, every: 1m}. Repeatable."},
    {"rules.alert.for-outage-tolerance", duration, "1h",
     "After a longer outage alerts begin anew: what was pending waits again, what fired is told as resolved."},
    {"rules.alert.for-grace-period", duration, "10m",
     "After a restart a pending alert whose `for` is this or longer fires so long after it at the earliest."},
    {"history.save-interval", duration, "5m",
     "How often the history is written to --state.directory, beside the end: what a crash may lose of it, or "
     "an end whose disk takes more than a second. 0: at the end only."},
    {.name = "evidence.disk",
     .type = number,
     .fallback = "64",
     .help = "MiB in --state.directory for what is written down when alerts fire: the series of their expressions, the "
             "busiest owners, pressure, processes, blocked tasks, the kernel's log; at most 1 MiB each time, the "
             "oldest go. "
             "Messages name the file (annotation `evidence`). 0: nothing is written.",
     .least = 0,
     .most = 100'000},
    {.name = "evidence.span",
     .type = duration,
     .fallback = "10m",
     .help = "How far back the series in it go.",
     .least = 1'000'000'000,
     .most = 86'400'000'000'000},
    {"evidence.last-words", boolean, "true",
     "When an alert of severity critical fires, write one line to the kernel's log (/dev/kmsg): the alert, load, "
     "memory, "
     "pressure. It is on the console, on a netconsole and in pstore when the machine dies."},
    {"state.directory", text, "/var/lib/vitald",
     "Folder for what must survive a restart, made where its parent is there. Without this flag the first one of "
     "$STATE_DIRECTORY goes before the default; empty: nothing is kept."},
    {"config.file", text, "", "YAML file with any of these settings; flags win over it."},
    {"config.check", boolean, "false", "Check configuration and rule files, print every problem, and exit."},
    {.name = "log.level",
     .fallback = "info",
     .help = "Only log messages with the given severity or above.",
     .choices = kLogLevels},
    {.name = "log.format", .fallback = "logfmt", .help = "Output format of log messages.", .choices = kLogFormats},
    {"once", boolean, "false", "Collect once, print the metrics to standard output, and exit."},
    {"dump-metrics-docs", boolean, "false", "Print docs/metrics.md and exit."},
    {"dump-config-docs", boolean, "false", "Print docs/config.md and exit."},
    {"dump-flags-docs", boolean, "false", "Print docs/cli.md and exit."},
    {"dump-api-docs", boolean, "false", "Print docs/api.md and exit."},
    {"version", boolean, "false", "Show version and exit."},
    {"help", boolean, "false", "Show this help and exit."},
};

const std::vector<FlagSpec>& table() {
  static std::deque<std::string> texts;
  static const std::vector<FlagSpec> flags = [] {
    std::vector<FlagSpec> all(std::begin(kAgentFlags), std::end(kAgentFlags));
    for (const auto& entry : collector_list()) {
      const auto& name = texts.emplace_back(switch_name(entry));
      const auto* state = entry.state == DefaultState::on    ? "enabled"
                          : entry.state == DefaultState::off ? "disabled"
                                                             : "where available";
      const auto& help = texts.emplace_back(fmt::format("Enable the {} {} (default: {}).", entry.name,
                                                        entry.folder == "bpf" ? "probe" : "collector", state));
      const auto* fallback = entry.state == DefaultState::on ? "true" : entry.state == DefaultState::off ? "false" : "";
      all.push_back({name, boolean, fallback, help, {}});
      all.insert(all.end(), entry.info->flags.begin(), entry.info->flags.end());
    }
    std::ranges::stable_sort(all, {}, &FlagSpec::name);
    // Two collectors may share a flag (one switch for several probes).
    all.erase(std::unique(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name == b.name; }),
              all.end());
    return all;
  }();
  return flags;
}

std::string with_underscores(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(
      out, [](char c) { return c == '-' || c == '.'; }, '_');
  return out;
}

}  // namespace

std::span<const FlagSpec> all_flags() { return table(); }

const FlagSpec* find_flag(std::string_view name, bool* deprecated) {
  const auto& flags = table();
  if (deprecated) *deprecated = false;
  const auto at = std::ranges::lower_bound(flags, name, {}, &FlagSpec::name);
  if (at != flags.end() && at->name == name) return &*at;
  for (const auto& flag : flags)
    if (!flag.replaces.empty() && flag.replaces == name) {
      if (deprecated) *deprecated = true;
      return &flag;
    }
  return nullptr;
}

std::vector<std::string> yaml_path(const FlagSpec& flag) {
  static constexpr std::string_view kCommandLineOnly[] = {"config.", "once", "dump-", "version", "help"};
  for (const auto prefix : kCommandLineOnly)
    if (flag.name.starts_with(prefix)) return {};
  if (flag.name == "rules.file") return {"rules", "files"};
  if (flag.name == "checks.file") return {"checks", "files"};
  std::string_view rest = flag.name;
  const auto section = take_until(rest, '.');
  if ((section != "collector" && section != "probe") || flag.name == "collector.disable-defaults") {
    std::vector<std::string> path{section == "collector" ? "collectors" : with_underscores(section)};
    if (!rest.empty()) path.push_back(with_underscores(rest));
    return path;
  }
  const auto name = take_until(rest, '.');
  return {std::string(section) + "s", std::string(name), rest.empty() ? "enabled" : with_underscores(rest)};
}

std::string switch_name(const CollectorEntry& entry) {
  return fmt::format("{}.{}", entry.folder == "bpf" ? "probe" : "collector", entry.name);
}

bool is_wanted(const CollectorEntry& entry, const Options& options) {
  const auto name = switch_name(entry);
  if (options.given(name)) return options.flag(name);
  return entry.state != DefaultState::off && !options.flag("collector.disable-defaults");
}

namespace {

std::string bound_text(const FlagSpec& flag, std::int64_t bound) {
  return flag.type == duration ? duration_text(bound) : fmt::format("{}", bound);
}

// "debug, info, warn or error"
std::string any_of(std::span<const std::string_view> choices) {
  return fmt::format("{} or {}", fmt::join(choices.first(choices.size() - 1), ", "), choices.back());
}

std::string choice_problem(const FlagSpec& flag, std::string_view value) {
  if (std::ranges::find(flag.choices, value) != flag.choices.end()) return {};
  return fmt::format("'{}' is not known, expected {}", value, any_of(flag.choices));
}

std::string limit_problem(const FlagSpec& flag, std::string_view value) {
  if (flag.type == number || flag.type == duration) {
    const auto n = flag.type == number ? *parse_i64(value) : *parse_duration_ns(value);
    if (n < flag.least && flag.most == INT64_MAX)
      return fmt::format("{} is too {}, expected {} or more", value, flag.type == number ? "small" : "short",
                         bound_text(flag, flag.least));
    if (n < flag.least || n > flag.most)
      return fmt::format("{} is outside {}..{}", value, bound_text(flag, flag.least), bound_text(flag, flag.most));
  } else if (flag.type == words) {
    for (auto rest = value; !rest.empty();) {
      const auto word = trim(take_until(rest, ','));
      if (auto problem = word.empty() ? "" : choice_problem(flag, word); !problem.empty()) return problem;
    }
  } else if (!flag.choices.empty()) {
    return choice_problem(flag, value);
  }
  if (!value.starts_with(flag.begins_with))
    return fmt::format("'{}' found, expected something that begins with '{}'", value, flag.begins_with);
  return {};
}

}  // namespace

std::string value_problem(const FlagSpec& flag, std::string_view value) {
  switch (flag.type) {
    case boolean:
      if (value != "true" && value != "false") return fmt::format("'{}' is neither true nor false", value);
      break;
    case duration:
      if (!parse_duration_ns(value)) return fmt::format("'{}' is not a duration; write e.g. 500ms, 15s, 5m", value);
      break;
    case number:
      if (!parse_i64(value)) return fmt::format("'{}' is not a whole number", value);
      break;
    case pattern: {
      const RE2 re(std::string(value), RE2::Quiet);  // Debian 13's takes no std::string_view
      if (!re.ok()) return fmt::format("'{}' is not a regular expression (RE2): {}", value, re.error());
      break;
    }
    case text:
    case list:
    case words: break;
  }
  return limit_problem(flag, value);
}

std::string allowed_text(const FlagSpec& flag) {
  const bool from = flag.least != INT64_MIN, to = flag.most != INT64_MAX;
  if (from && to) return fmt::format("{} to {}", bound_text(flag, flag.least), bound_text(flag, flag.most));
  if (from) return fmt::format("{} or more", bound_text(flag, flag.least));
  if (to) return fmt::format("{} or less", bound_text(flag, flag.most));
  if (!flag.choices.empty())
    return fmt::format("{} of: {}", flag.type == words ? "some" : "one", fmt::join(flag.choices, ", "));
  if (!flag.begins_with.empty()) return fmt::format("begins with {}", flag.begins_with);
  return {};
}

}  // namespace vitald
