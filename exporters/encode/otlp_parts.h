// SPDX-License-Identifier: Apache-2.0
// A finished ExportMetricsServiceRequest of ours, point by point, so that a server gets it in parts of a size it takes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

class OtlpParts {
 public:
  // The bytes must stay. malformed: they are no request that OtlpEncoder made.
  static Result<OtlpParts> of(std::string_view bytes);
  [[nodiscard]] std::size_t size() const { return points_.size(); }
  // Of how many samples these points are made.
  [[nodiscard]] std::uint64_t samples(std::size_t first, std::size_t count) const;
  // Points [first, first + count) as a request.
  [[nodiscard]] std::string part(std::size_t first, std::size_t count) const;

 private:
  struct Metric {
    std::string_view name, description, unit;
    std::uint32_t kind = 0;                        // the number of its field
    std::uint64_t temporality = 0, monotonic = 0;  // 0: it has none
  };
  struct Point {
    std::uint32_t metric = 0, samples = 1;
    std::string_view bytes;
  };
  bool add(std::string_view metric);

  std::string_view resource_, scope_;
  std::vector<Metric> metrics_;
  std::vector<Point> points_;
};

}  // namespace vitald
