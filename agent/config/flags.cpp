// SPDX-License-Identifier: Apache-2.0
#include "agent/config/flags.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <deque>

#include "agent/config/notify.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

using enum FlagType;

// node_exporter's names and texts where it has the same flag.
constexpr FlagSpec kAgentFlags[] = {
    {"collector.disable-defaults", boolean, "false", "Set all collectors to disabled by default."},
    {"path.procfs", text, "/proc", "procfs mountpoint."},
    {"path.sysfs", text, "/sys", "sysfs mountpoint."},
    {"path.rootfs", text, "/", "rootfs mountpoint."},
    {"path.udev.data", text, "/run/udev/data", "udev data path."},
    {"web.listen-address", list, ":9100", "Addresses on which to expose metrics and web interface. Repeatable."},
    {"web.telemetry-path", text, "/metrics", "Path under which to expose metrics."},
    {"web.max-requests", number, "40", "Maximum number of parallel scrape requests. Use 0 to disable."},
    {"web.config.file", text, "",
     "Path to configuration file that can enable TLS or authentication, in exporter-toolkit's format."},
    {"web.systemd-socket", boolean, "false", "Use systemd socket activation listeners instead of port listeners."},
    {"runtime.gomaxprocs", number, "1", "Accepted for node_exporter's sake, without effect: there is no Go runtime."},
    {"web.max-age", duration, "1s", "A scrape is answered with numbers up to this age; 0: always fresh ones."},
    {"pipeline.interval", duration, "5s", "How often rules are evaluated; without rules nothing runs between scrapes."},
    {"rules.file", list, "", "Rule file in Prometheus' format, or a glob of them. Repeatable."},
    {"rules.series-label", list, "",
     "NAME=VALUE that rules see on every series, as a Prometheus server would add it: job=node. Repeatable."},
    {"rules.external-label", list, "",
     "NAME=VALUE that tells this host from others: $externalLabels in templates, and in what receivers get. "
     "Repeatable."},
    {"web.external-url", text, "",
     "URL under which others reach this server: externalURL in templates, and in what receivers get. Empty: http:// "
     "with this host's name and the port of the first listen address."},
    {"history.retention", duration, "1h",
     "How long the samples of all series are kept where there are rules; those that a rule looks back at longer, "
     "longer."},
    {"history.memory", number, "16",
     "MiB that the history may take. Beyond it the oldest samples go first; a metric, the log and the rules say so."},
    {"rules.alert.for-outage-tolerance", duration, "1h",
     "After a longer outage alerts begin anew: what was pending waits again, what fired is told as resolved."},
    {"rules.alert.for-grace-period", duration, "10m",
     "After a restart a pending alert whose `for` is this or longer fires so long after it at the earliest."},
    {"history.save-interval", duration, "5m",
     "How often the history is written to --state.directory, beside the end: what a crash may lose of it. 0: at the "
     "end "
     "only."},
    {"state.directory", text, "/var/lib/vitald",
     "Folder for what must survive a restart, made where its parent is there. Without this flag the first one of "
     "$STATE_DIRECTORY goes before the default; empty: nothing is kept."},
    {"config.file", text, "", "YAML file with any of these settings; flags win over it."},
    {"config.check", boolean, "false", "Check configuration and rule files, print every problem, and exit."},
    {"log.level", text, "info",
     "Only log messages with the given severity or above. One of: debug, info, warn, error."},
    {"log.format", text, "logfmt", "Output format of log messages. One of: logfmt, json."},
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

std::string written(const FlagSpec& flag) {
  if (flag.type == boolean) return fmt::format("--[no-]{}", flag.name);
  if (flag.fallback.empty()) return fmt::format("--{}={}", flag.name, flag.type == list ? "... ..." : "...");
  return fmt::format("--{}=\"{}\"{}", flag.name, flag.fallback, flag.type == list ? " ..." : "");
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

namespace {

constexpr std::string_view kLogLevels[] = {"debug", "info", "warn", "error"};
constexpr std::string_view kLogFormats[] = {"logfmt", "json"};

// What a flag takes beyond its type.
struct Limit {
  std::string_view flag;
  std::string_view shortest = {};  // of a duration
  std::int64_t least = INT64_MIN, most = INT64_MAX;
  std::string_view word = {};  // what one of the choices is called
  std::span<const std::string_view> choices = {};
  std::string_view begins_with = {};  // then `word` says what it is
};
constexpr Limit kLimits[] = {
    {.flag = "pipeline.interval", .shortest = "100ms"},
    {.flag = "history.retention", .shortest = "1m"},
    {.flag = "history.memory", .least = 1, .most = 1'048'576},
    {.flag = "web.max-requests", .least = 0, .most = 1'000'000},
    {.flag = "log.level", .word = "log level", .choices = kLogLevels},
    {.flag = "log.format", .word = "log format", .choices = kLogFormats},
    {.flag = "web.telemetry-path", .word = "path", .begins_with = "/"},
};

std::string limit_problem(const Limit& limit, std::string_view value) {
  if (!limit.shortest.empty() && *parse_duration_ns(value) < *parse_duration_ns(limit.shortest))
    return fmt::format("{} is too short, expected {} or more", value, limit.shortest);
  if (limit.least != INT64_MIN || limit.most != INT64_MAX)
    if (const auto n = *parse_i64(value); n < limit.least || n > limit.most)
      return fmt::format("{} is outside {}..{}", n, limit.least, limit.most);
  if (!limit.choices.empty() && std::ranges::find(limit.choices, value) == limit.choices.end())
    return fmt::format("'{}' is no {}, expected {} or {}", value, limit.word,
                       fmt::join(limit.choices.first(limit.choices.size() - 1), ", "), limit.choices.back());
  if (!value.starts_with(limit.begins_with))
    return fmt::format("'{}' is not a {}, expected one that starts with '{}'", value, limit.word, limit.begins_with);
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
      const RE2 re(value, RE2::Quiet);
      if (!re.ok()) return fmt::format("'{}' is not a regular expression (RE2): {}", value, re.error());
      break;
    }
    case text:
    case list: break;
  }
  const auto* limit = std::ranges::find(kLimits, flag.name, &Limit::flag);
  return limit == std::end(kLimits) ? std::string() : limit_problem(*limit, value);
}

std::string help_text() {
  std::string out =
      "usage: vitald [<flags>]\n"
      "       vitald doctor [<flags>]        what this machine can and cannot do, and what to change\n"
      "       vitald worker NAME [<flags>]   one collector as a process of its own; started by the agent\n\n"
      "Flags:\n";
  for (const auto& flag : all_flags()) {
    const auto left = written(flag);
    if (left.size() < 30) out += fmt::format("  {:<30}", left);
    else out += fmt::format("  {}\n  {:<30}", left, "");
    out += fmt::format("{}\n", flag.help);
  }
  return out;
}

namespace {

std::string escaped(std::string_view text) {
  std::string s;
  for (const char c : text) {
    if (c == '|') s += '\\';
    s += c;
  }
  return s;
}

}  // namespace

std::string flags_markdown() {
  std::string out =
      "# Flags and vitald.yaml\n\nWritten by `vitald --dump-flags-docs`. Flags win over the file.\n\n"
      "| flag | in vitald.yaml | default | what it does |\n|---|---|---|---|\n";
  for (const auto& flag : all_flags()) {
    const auto path = yaml_path(flag);
    std::string old = flag.replaces.empty() ? "" : fmt::format(" Formerly `--{}`.", flag.replaces);
    out += fmt::format(
        "| `--{}` | {} | {} | {}{} |\n", flag.name, path.empty() ? "" : fmt::format("`{}`", fmt::join(path, ".")),
        flag.fallback.empty() ? "" : fmt::format("`{}`", escaped(flag.fallback)), escaped(flag.help), old);
  }
  return out;
}

// A section for each first word, in the order of the flags' names; collectors and probes are sections of their own.
std::string config_markdown() {
  static constexpr std::string_view kTypes[] = {"true or false", "text",   "regular expression",
                                                "duration",      "number", "list of texts"};
  std::string out =
      "# vitald.yaml\n\nWritten by `vitald --dump-config-docs`: every key there is. The file is given by "
      "`--config.file`, flags win over it, and `--config.check` tells every mistake with its line. Durations are "
      "written `500ms`, `15s`, `5m`. `collectors: {netdev: false}` is short for `{netdev: {enabled: false}}`. Merge "
      "keys "
      "(`<<: *base`) work as in Prometheus' files.\n";
  std::vector<std::string> section;
  std::vector<std::pair<std::vector<std::string>, const FlagSpec*>> rows;
  for (const auto& flag : all_flags())
    if (auto path = yaml_path(flag); !path.empty()) rows.emplace_back(std::move(path), &flag);
  const auto above = [](const auto& row) { return std::vector(row.first.begin(), row.first.end() - 1); };
  std::ranges::stable_sort(rows, {}, above);
  for (const auto& row : rows) {
    if (auto now = above(row); now != section) {
      section = std::move(now);
      out += fmt::format("\n## {}\n\n| key | type | default | what it does |\n|---|---|---|---|\n",
                         fmt::join(section, "."));
    }
    const auto& flag = *row.second;
    out += fmt::format("| `{}` | {} | {} | {} |\n", row.first.back(), kTypes[static_cast<std::size_t>(flag.type)],
                       flag.fallback.empty() ? "" : fmt::format("`{}`", escaped(flag.fallback)), escaped(flag.help));
  }
  out += "\n## notify.commands\n\nA list; each item is a command that is run for alerts.\n\n";
  out += fields_markdown<CommandHookSettings>(kCommandFields);
  return out;
}

}  // namespace vitald
