// SPDX-License-Identifier: Apache-2.0
// Rule files and their test scripts that lie beside the tree, where there are any.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/text/scan.h"
#include "tests/rules/memory_source.h"

namespace vitald {

// ../shared/corpus, or what VITALD_SHARED names; empty when there is none.
inline std::filesystem::path corpus() {
  if (const char* env = std::getenv("VITALD_SHARED")) return std::filesystem::path(env) / "corpus";
  for (auto dir = std::filesystem::path(VITALD_SOURCE_DIR); dir != dir.root_path(); dir = dir.parent_path())
    if (std::filesystem::exists(dir / "shared/corpus")) return dir / "shared/corpus";
  return {};
}

// The series of an exposition as one batch; types do not matter to rules.
inline std::vector<BatchPtr> exposition_batches(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::string line;
  auto pool = std::make_shared<DescPool>();
  BatchWriter writer("exposition");
  writer.begin(1);
  writer.use(pool);
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    const auto series = promql::split_series(line);
    if (!series) continue;
    std::vector<Label> labels;
    for (const auto& l : series->first)
      if (l.name != promql::kMetricName) labels.push_back(l);
    auto rest = series->second;
    writer.set_labels(pool->get(series->first.name(), MetricType::untyped, ""),
                      parse_double(take_word(rest)).value_or(0), labels);
  }
  return {writer.finish({}, 0, 0)};
}

}  // namespace vitald
