// SPDX-License-Identifier: Apache-2.0
// The first line of /proc/interrupts and softirqs: "           CPU0       CPU2". It has a column for some of the CPUs
// (interrupts: those online, softirqs: the possible ones) and says which.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/scan.h"

namespace vitald {

class CpuHeader {
 public:
  // Read anew only when it is another line than last time. False when a word of it is no CPU.
  bool read(std::string_view line) {
    if (line == line_ && good_) return true;
    line_ = line;
    cpus_.clear();
    good_ = true;
    for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
      good_ = good_ && take_prefix(word, "CPU") && parse_u64(word);
      cpus_.emplace_back(word);
    }
    good_ = good_ && !cpus_.empty();
    return good_;
  }
  // The number of each column, as text.
  [[nodiscard]] std::span<const std::string> cpus() const { return cpus_; }

 private:
  std::string line_;
  std::vector<std::string> cpus_;
  bool good_ = false;
};

}  // namespace vitald
