// SPDX-License-Identifier: Apache-2.0
// Which groups of BPF programs have a series of their own, and that their counters only grow.
#include "sensors/bpf/program_groups.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace vitald {
namespace {

const ProgramGroup kOther{"other", "other", "other", "", ""};

ProgramGroup group(int n) { return {fmt::format("program {}", n), "kprobe", "", "", ""}; }

// A listing in which each of [first, end) is there once and ran so often since the one before.
void list(ProgramGroups& groups, int first, int end, double runs = 0) {
  for (int i = first; i < end; ++i) groups.add(group(i), {.count = 1, .bytes = 10, .runs = runs, .run_seconds = runs});
  groups.close();
}

TEST(ProgramGroups, OthersInTheirPlaceHaveTheirPlace) {
  ProgramGroups groups;
  list(groups, 0, 300);
  ASSERT_EQ(groups.sums().size(), ProgramGroups::kMost + 1);
  EXPECT_EQ(groups.sums().at(kOther).count, 44);
  list(groups, 300, 600);
  ASSERT_EQ(groups.sums().size(), ProgramGroups::kMost + 1);
  EXPECT_EQ(groups.sums().at(kOther).count, 44);
  EXPECT_EQ(groups.sums().at(group(300)).count, 1);
  EXPECT_EQ(groups.sums().at(group(555)).bytes, 10);
  EXPECT_FALSE(groups.sums().contains(group(0)));
}

TEST(ProgramGroups, RunsAreOfTheGroupAndOfTheRest) {
  ProgramGroups groups;
  list(groups, 0, 300, 1);
  list(groups, 0, 300, 2);
  EXPECT_EQ(groups.sums().at(group(0)).runs, 3);
  EXPECT_EQ(groups.sums().at(kOther).runs, 44 * 3);
  EXPECT_EQ(groups.sums().at(kOther).run_seconds, 44 * 3);
  EXPECT_EQ(groups.sums().at(kOther).count, 44);
}

// The order of a listing is that of ids: a member of an old group may come last.
TEST(ProgramGroups, WhoHasASeriesKeepsIt) {
  ProgramGroups groups;
  list(groups, 0, 1, 5);
  for (int i = 1; i < 300; ++i) groups.add(group(i), {.count = 1});
  groups.add(group(0), {.count = 1, .runs = 2});
  groups.close();
  EXPECT_EQ(groups.sums().at(group(0)).runs, 7);
}

TEST(ProgramGroups, WhatIsGoneEndsWithItsCounters) {
  ProgramGroups groups;
  list(groups, 0, 2, 5);
  list(groups, 1, 2, 1);
  EXPECT_EQ(groups.sums().size(), 1U);
  list(groups, 0, 2, 1);
  EXPECT_EQ(groups.sums().at(group(0)).runs, 1);
  EXPECT_EQ(groups.sums().at(group(1)).runs, 7);
}

TEST(ProgramGroups, OneWithoutASizeLeavesNoneToTheGroup) {
  ProgramGroups groups;
  groups.add(group(0), {.count = 1, .bytes = 0, .sized = false});
  groups.add(group(0), {.count = 1, .bytes = 8});
  groups.add(group(1), {.count = 1, .bytes = 8});
  groups.close();
  EXPECT_FALSE(groups.sums().at(group(0)).sized);
  EXPECT_TRUE(groups.sums().at(group(1)).sized);
}

}  // namespace
}  // namespace vitald
