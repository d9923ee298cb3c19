// SPDX-License-Identifier: Apache-2.0
// Which probes go when all together cost too much, and when they come back.
#include "sensors/bpf/budget.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// Four probes: two share the program 1, one has 2, one has 3 that costs next to nothing.
class Budget : public testing::Test {
 protected:
  Budget() { budget_.set_limit(0.01); }
  // After so long, in which the programs took so much of a CPU; those that are on then.
  std::string look(std::int64_t later_ns, const std::map<int, double>& rates) {
    now_ns_ += later_ns;
    struct Probe {
      const char* name;
      std::uint8_t rank;
      int program;
    };
    constexpr Probe kProbes[] = {{"a", 0, 1}, {"b", 2, 1}, {"c", 1, 2}, {"d", 9, 3}};
    std::string on;
    for (const auto& [program, rate] : rates) seconds_[program] += rate * static_cast<double>(later_ns) / 1e9;
    for (const auto& probe : kProbes) {
      const ProbeBudget::Program programs[] = {{&keys_[probe.program], seconds_[probe.program]}};
      // As in a cycle: who was asked before a decision hears of it in the next one.
      budget_.look(probe.name, probe.rank, programs, now_ns_);
    }
    for (const auto& probe : kProbes) {
      const ProbeBudget::Program programs[] = {{&keys_[probe.program], seconds_[probe.program]}};
      if (budget_.look(probe.name, probe.rank, programs, now_ns_)) on += probe.name;
    }
    return on;
  }
  Host host_;
  ProbeBudget budget_{host_};
  std::int64_t now_ns_ = 1000 * kSecond;
  int keys_[4] = {};
  std::map<int, double> seconds_;
};

TEST_F(Budget, WithinItAllAreOn) {
  look(0, {});
  EXPECT_EQ(look(15 * kSecond, {{1, 0.004}, {2, 0.005}}), "abcd");
}

TEST_F(Budget, TheLeastImportantThatCostsGoesFirst) {
  look(0, {});
  EXPECT_EQ(look(15 * kSecond, {{1, 0.008}, {2, 0.005}}), "acd") << "d frees nothing, b a half of its program";
  EXPECT_EQ(look(15 * kSecond, {{1, 0.007}, {2, 0.005}}), "ad") << "was not enough";
  EXPECT_EQ(look(15 * kSecond, {{1, 0.007}}), "ad");
}

TEST_F(Budget, AsManyAsAreNeeded) {
  look(0, {});
  EXPECT_EQ(look(15 * kSecond, {{1, 0.02}, {2, 0.02}}), "ad");
  EXPECT_EQ(look(15 * kSecond, {{1, 0.02}}), "d") << "a alone has more than all may";
}

TEST_F(Budget, AShortPeakCountsWhenItIsALargeOne) {
  look(0, {});
  EXPECT_EQ(look(2 * kSecond, {{1, 0.02}}), "abcd") << "a mean of ten seconds counts";
  EXPECT_EQ(look(2 * kSecond, {{1, 0.2}}), "cd") << "at once";
}

TEST_F(Budget, ComesBackAndEachTimeLater) {
  look(0, {});
  EXPECT_EQ(look(15 * kSecond, {{2, 0.02}}), "abd");
  EXPECT_EQ(look(30 * kSecond, {}), "abd") << "not yet";
  EXPECT_EQ(look(30 * kSecond, {}), "abcd") << "after a minute";
  EXPECT_EQ(look(15 * kSecond, {{2, 0.02}}), "abd");
  EXPECT_EQ(look(60 * kSecond, {}), "abd") << "two, now";
  EXPECT_EQ(look(60 * kSecond, {}), "abcd");
  for (int i = 0; i < 45; ++i) EXPECT_EQ(look(15 * kSecond, {{2, 0.002}}), "abcd");
  EXPECT_EQ(look(15 * kSecond, {{2, 0.02}}), "abd");
  EXPECT_EQ(look(60 * kSecond, {}), "abcd") << "it has fitted for long meanwhile";
}

TEST_F(Budget, NotWhileThereIsNoRoom) {
  look(0, {});
  EXPECT_EQ(look(15 * kSecond, {{1, 0.009}, {2, 0.02}}), "ad") << "by half of a shared one it would still be too much";
  EXPECT_EQ(look(120 * kSecond, {{1, 0.009}}), "ad");
  EXPECT_EQ(look(15 * kSecond, {{1, 0.001}}), "acd") << "the most important one, and one at a time";
  EXPECT_EQ(look(15 * kSecond, {{1, 0.001}}), "abcd");
}

TEST_F(Budget, AnotherLimitIsAnotherChance) {
  look(0, {});
  EXPECT_EQ(look(15 * kSecond, {{2, 0.02}}), "abd");
  budget_.set_limit(0.05);
  EXPECT_EQ(look(1, {}), "abcd");
  EXPECT_EQ(look(15 * kSecond, {{2, 0.04}}), "abcd");
  budget_.set_limit(0);
  EXPECT_EQ(look(15 * kSecond, {{2, 7}}), "abcd") << "none at all";
}

TEST_F(Budget, WhoGoesLeavesTheOthersCounted) {
  look(0, {});
  budget_.forget("a");
  seconds_[1] = 0;  // the other one's own count
  const ProbeBudget::Program programs[] = {{&keys_[1], 100}};
  EXPECT_TRUE(budget_.look("b", 2, programs, now_ns_)) << "begins with what it says first";
  now_ns_ += 15 * kSecond;
  const ProbeBudget::Program more[] = {{&keys_[1], 101}};
  EXPECT_FALSE(budget_.look("b", 2, more, now_ns_));
}

// What it had may be another's by now, who is counted.
TEST_F(Budget, WhoHasOtherProgramsLeavesTheOldOnes) {
  const ProbeBudget::Program one[] = {{&keys_[1], 0}}, two[] = {{&keys_[2], 0}};
  budget_.look("a", 0, one, now_ns_);
  budget_.look("a", 0, two, now_ns_ += kSecond);
  EXPECT_TRUE(budget_.look("b", 2, one, now_ns_));
  now_ns_ += 15 * kSecond;
  const ProbeBudget::Program more[] = {{&keys_[1], 1}};
  EXPECT_FALSE(budget_.look("b", 2, more, now_ns_));
}

}  // namespace
}  // namespace vitald
