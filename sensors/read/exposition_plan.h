// SPDX-License-Identifier: Apache-2.0
// Text expositions of several sources (files, programs) as the series of one collector: what they say of the same
// family fits together, and nothing is there twice.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/batch.h"
#include "core/metric.h"
#include "core/result.h"
#include "sensors/read/exposition.h"

namespace vitald {

struct ExpositionSource {
  std::string_view name;  // in what is said of it
  const Exposition* content = nullptr;
};

// Not thread-safe.
class ExpositionPlan {
 public:
  // `origin`: "Metric read from ", before the names of the sources, is the help of families without one.
  // `own`: the collector's families, which no source may give: what is said of sources is not theirs to say.
  explicit ExpositionPlan(std::string origin, std::span<const MetricDesc> own = {})
      : origin_(std::move(origin)), own_(own) {}
  // In the order of precedence. What the sources are must stay as it is until the next call.
  void build(std::span<const ExpositionSource> sources);
  void emit(BatchWriter& out) const;
  // The numbers of a family that is no histogram: their labels as they are emitted, and which of the sources, counted
  // from 0, each is of.
  void each(std::string_view family,
            const std::function<void(std::span<const Label> labels, std::size_t source)>& take) const;
  // What was left out, and why: the first hundred of them, and how many more there are.
  [[nodiscard]] std::span<const Error> conflicts() const { return conflicts_; }

 private:
  struct Item {
    const MetricDesc* desc = nullptr;
    Part part = Part::value;
    std::uint32_t first_label = 0, label_count = 0, source = 0;
    double value = 0;
    std::int64_t since_wall_ms = 0;  // 0: not known
  };
  void left_out(std::string why);
  bool is_first(const ExpositionFamily& family, const ExpositionSeries& series, std::string_view source,
                std::set<std::string>& seen);
  struct Found {
    const ExpositionFamily* family = nullptr;
    std::string_view path;
    std::uint32_t source = 0;
  };
  void add(const Found& found, const MetricDesc& desc, std::set<std::string>& seen);
  void put(const MetricDesc& desc, Part part, std::uint32_t source, const std::vector<Label>& labels, double value,
           std::int64_t since_wall_ms);

  [[nodiscard]] bool is_own(const ExpositionFamily& family) const;

  std::string origin_;
  std::span<const MetricDesc> own_;
  DescPoolPtr descs_ = std::make_shared<DescPool>();
  // Everything to emit; views into the sources and texts_.
  std::vector<Item> plan_;
  std::vector<Label> labels_;
  std::deque<std::string> texts_;
  std::vector<Error> conflicts_;
  std::size_t more_conflicts_ = 0;  // that are not kept
};

}  // namespace vitald
