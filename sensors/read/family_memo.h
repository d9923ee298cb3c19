// SPDX-License-Identifier: Apache-2.0
// Families named by the rows of a kernel table: the row at the same place nearly always has the same key as
// last time, so one comparison stands in for building the name and looking it up.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metric.h"

namespace vitald {

class FamilyMemo {
 public:
  struct Family {
    const MetricDesc* desc = nullptr;  // null: not wanted
    bool cleaned = false;              // its key had to become another word: CleanedLast
  };
  // The family of the row with this key; `make()` gives it when it is new at this place.
  template <class Make>
  const Family& at(std::size_t row, std::string_view key, Make make) {
    if (row >= rows_.size()) rows_.resize(row + 1);
    auto& [known, family] = rows_[row];
    if (known != key) {
      known = key;
      family = make();
    }
    return family;
  }

 private:
  std::vector<std::pair<std::string, Family>> rows_;
};

}  // namespace vitald
