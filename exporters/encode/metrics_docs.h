// SPDX-License-Identifier: Apache-2.0
// The page of all families, docs/metrics.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/collector.h"

namespace vitald {

// Families that do not come from a collector.
struct DocsSection {
  std::string_view title, text;
  std::span<const MetricDesc> metrics;
};

// docs/metrics.md: every family of every collector, from the descriptors beside the code, then `others`.
std::string metrics_markdown(std::span<const CollectorEntry> collectors, std::span<const DocsSection> others);

}  // namespace vitald
