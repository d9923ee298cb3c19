// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/deriver_cases.h"

#include <fmt/format.h>

#include <stdexcept>

#include "core/collector.h"
#include "core/deriver.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// `name{a="b"} 1`, one a line; label values without escapes.
void emit_text(BatchWriter& out, DescPool& pool, std::string_view text) {
  while (!text.empty()) {
    auto line = take_line(text);
    const auto end = line.find_first_of("{ ");
    if (end == line.npos) throw std::runtime_error("no exposition: " + std::string(line));
    const auto name = line.substr(0, end);
    std::vector<Label> labels;
    if (line[end] == '{') {
      auto rest = line.substr(end + 1, line.rfind('}') - end - 1);
      while (!rest.empty()) {
        const auto label = take_until(rest, '=');
        rest.remove_prefix(1);
        labels.push_back({label, take_until(rest, '"')});
        if (rest.starts_with(',')) rest.remove_prefix(1);
      }
    }
    const auto value = parse_double(trim(line.substr(line.rfind(' '))));
    if (!value) throw std::runtime_error("no number: " + std::string(line));
    const auto type = name.ends_with("_total") ? MetricType::counter : MetricType::gauge;
    out.set_labels(pool.get(name, type, ""), *value, labels);
  }
}

}  // namespace

std::vector<std::string> run_deriver(std::string_view name, const std::vector<DeriverCycle>& cycles, std::string& error,
                                     const FlagValues& flags) {
  const CollectorEntry* found = nullptr;
  for (const auto& entry : collector_list())
    if (entry.name == name && entry.runs == Runs::after) found = &entry;
  if (!found) throw std::runtime_error("no such deriver: " + std::string(name));
  const Host host;
  Options options;
  options.declare(found->info->flags);
  for (const auto& [flag, value] : flags) options.set(flag, value);
  auto deriver = found->info->derive(host, options);
  if (!deriver) throw std::runtime_error(deriver.error().text);

  BatchWriter given("given"), textfile("textfile"), out{std::string(name)};
  const auto pool = std::make_shared<DescPool>();
  std::vector<std::string> results;
  for (const auto& cycle : cycles) {
    const auto boot_ns = static_cast<std::int64_t>(cycle.at_s * 1e9);
    Snapshot so_far;
    so_far.boot_ns = so_far.wall_ns = boot_ns;
    given.begin(boot_ns);
    given.use(pool);
    emit_text(given, *pool, cycle.given);
    so_far.batches.push_back(given.finish({}, 0, 0));
    textfile.begin(boot_ns);
    textfile.use(pool);
    emit_text(textfile, *pool, cycle.from_anybody);
    const BatchPtr from_anybody[] = {textfile.finish({}, 0, 0)};
    out.begin(boot_ns);
    (*deriver)->hear(from_anybody);
    const auto outcome = (*deriver)->derive(so_far, out);
    const auto batch = out.finish(outcome, 0, 0);
    error = outcome ? "" : fmt::format("{}: {}", to_string(outcome.error().kind), outcome.error().text);
    auto& text = results.emplace_back();
    for (const auto& s : batch->layout->samples())
      if (cycle.want_inside || s.family->shown != Shown::inside)
        text += fmt::format("{}{}\n", Layout::prefix(s), batch->values[s.value]);
    for (const auto& problem : batch->health.problems) text += "problem: " + problem.text + "\n";
  }
  return results;
}

}  // namespace vitald
