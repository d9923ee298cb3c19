// SPDX-License-Identifier: Apache-2.0
// Which names the samples of a family have beside its own: nobody else may have those.
#pragma once

#include <span>
#include <string_view>

#include "core/metric.h"

namespace vitald {

// A summary has no buckets: `rpc_bucket` beside a summary `rpc` is a family like any other. Empty: the family's own
// name is the only one.
inline std::span<const std::string_view> part_suffixes(MetricType type) {
  static constexpr std::string_view kAll[] = {"_bucket", "_sum", "_count"};
  if (type == MetricType::histogram) return kAll;
  if (type == MetricType::summary) return std::span(kAll).subspan(1);
  return {};
}

}  // namespace vitald
