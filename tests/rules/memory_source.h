// SPDX-License-Identifier: Apache-2.0
// What tests write series with; the room of the language has it, since `vitald rules test` needs it too.
#pragma once

#include "rules/promql/memory_source.h"

namespace vitald::promql {

// The points of one line that has numbers only.
inline std::optional<std::vector<std::optional<double>>> parse_numbers(std::string_view text) {
  std::string error;
  const auto points = parse_points(text, error);
  if (!points) return std::nullopt;
  std::vector<std::optional<double>> out;
  for (const auto& p : *points) {
    if (p.histogram) return std::nullopt;
    out.push_back(p.missing ? std::nullopt : std::optional(p.value));
  }
  return out;
}

}  // namespace vitald::promql
