// SPDX-License-Identifier: Apache-2.0
// Families whose names are words of the kernel. Where a word had to be cleaned to be a name, its sample comes after the
// others: of two with one name the first counts, and that is the word that is the name itself.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/batch.h"

namespace vitald {

// Not thread-safe: belongs to one collector, as its BatchWriter does.
class CleanedLast {
 public:
  template <class... V>
  void set(BatchWriter& out, const MetricDesc& desc, double value, bool cleaned, const V&... labels) {
    static_assert(sizeof...(V) <= kLabels);
    if (cleaned) later_.push_back({&desc, value, {std::string(std::string_view(labels))...}, sizeof...(V)});
    else out.set(desc, value, labels...);
  }
  // At the end of the run, or of a part of it beyond which there is no other with the same labels.
  void finish(BatchWriter& out) {
    for (const auto& late : later_) {
      std::array<std::string_view, kLabels> labels;
      for (std::size_t i = 0; i < late.count; ++i) labels[i] = late.labels[i];
      out.set_values(*late.desc, late.value, std::span(labels).first(late.count));
    }
    later_.clear();
  }

 private:
  static constexpr std::size_t kLabels = 2;
  struct Late {
    const MetricDesc* desc;
    double value;
    std::array<std::string, kLabels> labels;
    std::size_t count;
  };
  std::vector<Late> later_;
};

}  // namespace vitald
