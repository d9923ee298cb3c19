// SPDX-License-Identifier: Apache-2.0
// BPF programs, and maps, of one name, type and holder taken together, in a bounded number of groups.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace vitald {

// What series are told apart by. What maps have no use for is empty.
struct ProgramGroup {
  std::string program, type, process, owner_kind, owner;
  auto operator<=>(const ProgramGroup&) const = default;
};

struct ProgramSum {
  double count = 0;
  double bytes = 0;
  bool sized = true;                 // bytes is of all of them
  double runs = 0, run_seconds = 0;  // with those of members that are gone
};

// Counted anew with each listing: add() each, then close(). A group that is gone ends with its run counters. Not
// thread-safe.
class ProgramGroups {
 public:
  static constexpr std::size_t kMost = 256;  // all beyond are one more, "other"

  // `one` has of runs and run_seconds what came since the listing before.
  void add(ProgramGroup group, const ProgramSum& one) { listed_.emplace_back(std::move(group), one); }
  void close() {
    std::map<ProgramGroup, ProgramSum> now;
    const auto count = [&](const ProgramGroup& group, const ProgramSum& one) {
      const auto [it, is_new] = now.try_emplace(group);
      auto& sum = it->second;
      if (is_new)
        if (const auto before = sums_.find(group); before != sums_.end()) {
          sum.runs = before->second.runs;
          sum.run_seconds = before->second.run_seconds;
        }
      sum.count += one.count;
      sum.bytes += one.bytes;
      sum.sized = sum.sized && one.sized;
      sum.runs += one.runs;
      sum.run_seconds += one.run_seconds;
    };
    // Who has a series keeps it.
    for (const auto& [group, one] : listed_)
      if (sums_.contains(group)) count(group, one);
    const ProgramGroup other{"other", "other", "other", "", ""};
    for (const auto& [group, one] : listed_)
      if (!sums_.contains(group)) count(now.contains(group) || now.size() < kMost ? group : other, one);
    sums_ = std::move(now);
    listed_.clear();
  }
  [[nodiscard]] const std::map<ProgramGroup, ProgramSum>& sums() const { return sums_; }

 private:
  std::vector<std::pair<ProgramGroup, ProgramSum>> listed_;
  std::map<ProgramGroup, ProgramSum> sums_;
};

}  // namespace vitald
