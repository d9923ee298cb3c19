// SPDX-License-Identifier: Apache-2.0
// Families whose names are words of the kernel. Where a word had to be cleaned to be a name, its sample comes after the
// others: of two with one name the first counts, and that is the word that is the name itself.
#pragma once

#include <vector>

#include "core/batch.h"

namespace vitald {

class CleanedLast {
 public:
  void set(BatchWriter& out, const MetricDesc& desc, double value, bool cleaned) {
    if (cleaned) later_.push_back({&desc, value});
    else out.set(desc, value);
  }
  // At the end of the run.
  void finish(BatchWriter& out) {
    for (const auto& [desc, value] : later_) out.set(*desc, value);
    later_.clear();
  }

 private:
  struct Late {
    const MetricDesc* desc;
    double value;
  };
  std::vector<Late> later_;
};

}  // namespace vitald
