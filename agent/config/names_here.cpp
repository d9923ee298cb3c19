// SPDX-License-Identifier: Apache-2.0
#include "agent/config/names_here.h"

#include <algorithm>

#include "agent/config/flags.h"
#include "core/collector.h"

namespace vitald {

std::vector<std::string> names_on(const Host& host, const Options& options) {
  std::vector<std::string> out;
  for (const auto& entry : collector_list()) {
    const bool brings_names = std::ranges::any_of(
        entry.info->metrics, [](const MetricDesc& m) { return m.name.find('*') != std::string_view::npos; });
    if (!brings_names || entry.folder != "proc" || entry.runs != Runs::here || !is_wanted(entry, options)) continue;
    const auto made = entry.info->make(host, options);
    if (!made) continue;
    BatchWriter writer{std::string(entry.name)};
    writer.begin(host.clock().boot_ns());
    const auto outcome = (*made)->collect(writer);
    const auto batch = writer.finish(outcome, 0, 0);
    for (const auto* family : *batch->layout->families()) out.emplace_back(family->name);
  }
  return out;
}

}  // namespace vitald
