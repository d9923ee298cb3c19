// SPDX-License-Identifier: Apache-2.0
#include "core/metric.h"

#include "core/text/utf8.h"

namespace vitald {

std::string_view to_string(MetricType type) {
  switch (type) {
    case MetricType::counter: return "counter";
    case MetricType::gauge: return "gauge";
    case MetricType::untyped: return "untyped";
    case MetricType::histogram: return "histogram";
    case MetricType::summary: return "summary";
  }
  return "untyped";
}

std::string_view DescPool::keep(std::string_view text) {
  if (text.empty()) return {};
  return texts_.emplace_back(text);
}

const MetricDesc* DescPool::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

const MetricDesc& DescPool::get(std::string_view name, MetricType type, std::string_view help, std::string_view labels,
                                std::string_view unit, std::string_view source, Shown shown) {
  if (const auto* known = find(name)) return *known;
  const auto& desc = descs_.emplace_back(
      MetricDesc{keep(name), type, keep(valid_utf8(help)), keep(labels), keep(unit), keep(source), shown});
  by_name_.emplace(desc.name, &desc);
  return desc;
}

}  // namespace vitald
