// SPDX-License-Identifier: Apache-2.0
// What is told of flags and settings: --help, docs/cli.md, docs/config.md.
#include <fmt/format.h>

#include <algorithm>

#include "agent/config/flags.h"
#include "exporters/deliver/receiver.h"
#include "rules/load/keys.h"

namespace vitald {
namespace {

using enum FlagType;

std::string written(const FlagSpec& flag) {
  if (flag.type == boolean) return fmt::format("--[no-]{}", flag.name);
  if (flag.fallback.empty()) return fmt::format("--{}={}", flag.name, flag.type == list ? "... ..." : "...");
  return fmt::format("--{}=\"{}\"{}", flag.name, flag.fallback, flag.type == list ? " ..." : "");
}

}  // namespace

std::string help_text() {
  std::string out =
      "usage: vitald [<flags>]\n"
      "       vitald alerts [list|ack|silence...]  what burns, who has it in hand; `vitald alerts --help`\n"
      "       vitald doctor [<flags>]        what this machine can and cannot do, and what to change\n"
      "       vitald worker NAME [<flags>]   one collector as a process of its own; started by the agent\n\n"
      "Flags:\n";
  for (const auto& flag : all_flags()) {
    const auto left = written(flag);
    if (left.size() < 30) out += fmt::format("  {:<30}", left);
    else out += fmt::format("  {}\n  {:<30}", left, "");
    const auto allowed = allowed_text(flag);
    out += allowed.empty() ? fmt::format("{}\n", flag.help) : fmt::format("{} ({})\n", flag.help, allowed);
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
  for (const auto* kind : receiver_kinds())
    out += fmt::format("\n## notify.{}\n\nA list; each item is {}.\n\n{}", kind->key, kind->about, kind->markdown());
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
