// SPDX-License-Identifier: Apache-2.0
// What is told of flags and settings: --help, docs/cli.md, docs/config.md.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "agent/config/exec.h"
#include "agent/config/flags.h"
#include "exporters/deliver/receiver.h"
#include "exporters/push/push.h"
#include "rules/load/keys.h"

namespace vitald {
namespace {

using enum FlagType;

std::string written(const FlagSpec& flag) {
  if (flag.type == boolean) return fmt::format("--[no-]{}", flag.name);
  if (flag.fallback.empty()) return fmt::format("--{}={}", flag.name, flag.type == list ? "... ..." : "...");
  return fmt::format("--{}=\"{}\"{}", flag.name, flag.fallback, flag.type == list ? " ..." : "");
}

// In the order in which one needs them; within a section by name, so that what belongs to a collector follows its
// switch.
struct HelpSection {
  std::string_view title;
  std::span<const std::string_view> begins;  // the first words of its flags
};
constexpr std::string_view kGeneral[] = {"config",   "help",    "log",   "once",   "path",
                                         "pipeline", "runtime", "state", "version"};
constexpr std::string_view kWeb[] = {"web"};
constexpr std::string_view kRules[] = {"rules", "checks", "history", "query", "verdict"};
constexpr std::string_view kCollectors[] = {"collector"};
constexpr std::string_view kProbes[] = {"probe", "owner", "bpf"};
constexpr HelpSection kSections[] = {{"Flags", kGeneral},
                                     {"HTTP", kWeb},
                                     {"Rules, alerts and history", kRules},
                                     {"Collectors", kCollectors},
                                     {"eBPF probes and owners", kProbes},
                                     {"Others", {}}};

const HelpSection& section_of(const FlagSpec& flag) {
  const auto word = flag.name.substr(0, flag.name.find('.'));
  const auto found = std::ranges::find_if(
      kSections, [&](const HelpSection& s) { return std::ranges::find(s.begins, word) != s.begins.end(); });
  return found == std::end(kSections) ? *std::rbegin(kSections) : *found;
}

struct Row {
  std::string_view left, right;
};
constexpr Row kUsage[] = {
    {"vitald [<flags>]", "the daemon"},
    {"vitald --once [<flags>]", "collects once and prints the metrics"},
    {"vitald --config.check [<flags>]", "tells all that is wrong with the configuration"},
    {"vitald alerts [list|ack|silence]", "what burns, who has it in hand; vitald alerts --help says more"},
    {"vitald doctor [<flags>]", "what this machine can and cannot do, and what to change"},
    {"vitald registration", "this host as a metric endpoint to register with a scheduler, as JSON"},
    {"vitald rules check FILE...", "tells all that is wrong with rule files"},
    {"vitald rules test FILE...", "runs unit tests of rules in promtool's format"},
    {"vitald top [--once]", "the host at a glance, live; vitald top --help says more"},
    {"vitald verdict", "what is wrong with this host; vitald verdict --help says more"},
    {"vitald worker NAME [<flags>]", "one collector as a process of its own; started by the agent"},
};
constexpr Row kExitStatuses[] = {
    {"0",
     "all is well: the daemon was ended by a signal; --config.check: the configuration is good; doctor: all that the "
     "configuration asks for works; --once: the metrics are printed; rules: the files are good, the tests pass; "
     "verdict: "
     "nothing is wrong (2: something is, 3: nobody knows)"},
    {"1",
     "it is not, and standard error or doctor's FIX lines say what: a mistake in flags or configuration, a port that "
     "is taken, something that is asked for and does not work"},
};

}  // namespace

std::string help_text() {
  std::string out;
  for (const auto& [left, right] : kUsage)
    out += fmt::format("{} {:<33}{}\n", out.empty() ? "usage:" : "      ", left, right);
  out += "\nExit status:\n";
  for (const auto& [left, right] : kExitStatuses) out += fmt::format("  {}  {}\n", left, right);
  for (const auto& section : kSections) {
    out += fmt::format("\n{}:\n", section.title);
    for (const auto& flag : all_flags()) {
      if (&section_of(flag) != &section) continue;
      const auto left = written(flag);
      if (left.size() < 30) out += fmt::format("  {:<30}", left);
      else out += fmt::format("  {}\n  {:<30}", left, "");
      const auto allowed = allowed_text(flag);
      out += allowed.empty() ? fmt::format("{}\n", flag.help) : fmt::format("{} ({})\n", flag.help, allowed);
    }
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
      "# Commands, flags and vitald.yaml\n\nWritten by `vitald --dump-flags-docs`.\n\n| command | what it does |\n"
      "|---|---|\n";
  for (const auto& [left, right] : kUsage) out += fmt::format("| `{}` | {} |\n", escaped(left), right);
  out += "\n| exit status | means |\n|---|---|\n";
  for (const auto& [left, right] : kExitStatuses) out += fmt::format("| {} | {} |\n", left, right);
  out +=
      "\n## Flags\n\nFlags win over the file.\n\n"
      "| flag | in vitald.yaml | default | allowed | what it does |\n|---|---|---|---|---|\n";
  for (const auto& flag : all_flags()) {
    const auto path = yaml_path(flag);
    std::string old = flag.replaces.empty() ? "" : fmt::format(" Formerly `--{}`.", flag.replaces);
    out += fmt::format("| `--{}` | {} | {} | {} | {}{} |\n", flag.name,
                       path.empty() ? "" : fmt::format("`{}`", fmt::join(path, ".")),
                       flag.fallback.empty() ? "" : fmt::format("`{}`", escaped(flag.fallback)), allowed_text(flag),
                       escaped(flag.help), old);
  }
  return out;
}

namespace {

std::string keys_markdown(std::span<const RuleKey> keys) {
  std::string out = "| key | type | default | allowed | what it does |\n|---|---|---|---|---|\n";
  for (const auto& k : keys)
    out +=
        fmt::format("| `{}` | {} | {} | {} | {} |\n", k.key, k.type, k.fallback, escaped(k.allowed), escaped(k.help));
  return out;
}

}  // namespace

// A section for each first word, in the order of the flags' names; collectors and probes are sections of their own.
std::string config_markdown() {
  static constexpr std::string_view kTypes[] = {
      "true or false", "text",          "regular expression",       "duration",
      "number",        "list of texts", "words with commas between"};
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
      out += fmt::format("\n## {}\n\n| key | type | default | allowed | what it does |\n|---|---|---|---|---|\n",
                         fmt::join(section, "."));
    }
    const auto& flag = *row.second;
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.first.back(), kTypes[static_cast<std::size_t>(flag.type)],
                       flag.fallback.empty() ? "" : fmt::format("`{}`", escaped(flag.fallback)), allowed_text(flag),
                       escaped(flag.help));
  }
  out += "\n## exec\n\nA list; each item is a program that prints metrics ([exec.md](exec.md)).\n\n" + exec_markdown();
  for (const auto* kind : receiver_kinds())
    out += fmt::format("\n## notify.{}\n\nA list; each item is {}.\n\n{}", kind->key, kind->about, kind->markdown());
  for (const auto* kind : push_kinds())
    out += fmt::format("\n## push.{}\n\nA list; each item is {} ([destinations.md](destinations.md)).\n\n{}", kind->key,
                       kind->about, kind->markdown());
  out += "\n## push.*.relabel\n\nA list of rules, carried out in their order.\n\n" + relabel_markdown();
  out +=
      "\n## inhibit_rules\n\nA list; while an alert that `source_matchers` fit fires, those that `target_matchers` fit "
      "are "
      "not told to receivers where the labels in `equal` are the same ([alerts.md](alerts.md)).\n\n"
      "| key | type | default | allowed | what it does |\n|---|---|---|---|---|\n"
      "| `source_matchers` | list of texts | must be given | `severity=\"critical\"`, `!=`, `=~`, `!~` | Which alerts "
      "mute "
      "others. |\n"
      "| `target_matchers` | list of texts | must be given | the same | Which alerts are muted. |\n"
      "| `equal` | list of texts |  | names of labels | The labels that both must have alike; one that neither has is "
      "alike. |\n";
  out += "\n# Rule files\n\nThe files of `rules.files` and `--rules.file` are YAML, too, with these keys on top:\n\n";
  out += keys_markdown(kTopKeys);
  out += "\n## thresholds\n\n";
  out += keys_markdown(kThresholdKeys);
  out += "\n## groups\n\n";
  out += keys_markdown(kGroupKeys);
  out += "\n## groups.rules\n\n";
  out += keys_markdown(kRuleKeys);
  return out;
}

}  // namespace vitald
