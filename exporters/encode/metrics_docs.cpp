// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/metrics_docs.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/text/scan.h"

namespace vitald {
namespace {

// Text in a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += "\\|";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '\n') out += ' ';
    else out += c;
  }
  return out;
}

// "cpu,mode" -> "`cpu` `mode`"
std::string label_names(std::string_view names) {
  std::string out;
  while (!names.empty()) out += fmt::format("{}`{}`", out.empty() ? "" : " ", take_until(names, ','));
  return out;
}

void append_table(std::string& out, std::span<const MetricDesc> metrics) {
  out += "| metric | type | labels | from | what it says |\n|---|---|---|---|---|\n";
  for (const auto& m : metrics)
    if (m.shown == Shown::everywhere)
      out += fmt::format("| `{}` | {} | {} | {} | {} |\n", m.name, to_string(m.type), label_names(m.labels),
                         cell(m.source), cell(m.help));
}

std::string_view when(DefaultState state) {
  switch (state) {
    case DefaultState::on: return "on by default";
    case DefaultState::off: return "off by default";
    case DefaultState::detect: return "on where the machine has it";
  }
  return {};
}

}  // namespace

std::string metrics_markdown(std::span<const CollectorEntry> collectors, std::span<const DocsSection> others) {
  std::vector<const CollectorEntry*> sorted;
  for (const auto& entry : collectors) sorted.push_back(&entry);
  std::ranges::sort(sorted, {}, [](const CollectorEntry* e) { return e->name; });

  std::string out =
      "# Metrics\n\n"
      "Written by `./dev docs` from the descriptors beside the code; do not edit. A `*` in a name stands for what the\n"
      "source itself names. A family is there only while the machine gives it: a missing number is missing, never "
      "0.\n\n";
  for (const auto* entry : sorted) {
    out += fmt::format("## {}\n\n`--{}.{}`, {}{}.\n\n", entry->name, entry->folder == "bpf" ? "probe" : "collector",
                       entry->name, when(entry->state),
                       entry->runs == Runs::worker  ? ", in a process of its own"
                       : entry->runs == Runs::after ? ", from the numbers of other collectors"
                                                    : "");
    if (entry->info->metrics.empty()) out += "Only families whose names its sources bring along.\n";
    else append_table(out, entry->info->metrics);
    out += '\n';
  }
  for (const auto& section : others) {
    out += fmt::format("## {}\n\n{}\n\n", section.title, section.text);
    append_table(out, section.metrics);
    out += '\n';
  }
  out.pop_back();  // one newline at the end
  return out;
}

}  // namespace vitald
