// SPDX-License-Identifier: Apache-2.0
// The kernel side's arithmetic, compiled natively.
#include "vitald/hist.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "vitald/block.h"
#include "vitald/memory.h"
#include "vitald/owner.h"
#include "vitald/sched.h"

namespace {

static_assert(sizeof(vitald_hist) == (VITALD_HIST_SLOTS + 1) * sizeof(__u64));
// Rows of different CPUs share no cache line.
static_assert(sizeof(vitald_sched_cpu) % 64 == 0);
static_assert(sizeof(vitald_sched_row) == 64);
static_assert(sizeof(vitald_reclaim_cpu) % 64 == 0);
static_assert(sizeof(vitald_block_row) % 64 == 0);

// By the definition: the first bound 2^(i-20) s that is not below ns, in whole numbers of 2^-20 ns.
std::uint32_t slot_by_definition(std::uint64_t ns) {
  for (std::uint32_t i = 0; i < VITALD_HIST_BOUNDS; ++i)
    if (static_cast<unsigned __int128>(ns) << 20 <= static_cast<unsigned __int128>(1'000'000'000) << i) return i;
  return VITALD_HIST_BOUNDS;
}

TEST(Hist, Slot) {
  struct Case {
    std::uint64_t ns;
    std::uint32_t slot;
  };
  const Case cases[] = {
      {0, 0},
      {953, 0},  // 2^-20 s is 953.67 ns
      {954, 1},
      {1907, 1},  // 2^-19 s is 1907.35 ns
      {1908, 2},
      {1'953'125, 11},  // 2^-9 s exactly: le is inclusive
      {1'953'126, 12},
      {1'000'000'000, 20},
      {1'000'000'001, 21},
      {64'000'000'000, 26},
      {64'000'000'001, 27},
      {UINT64_MAX, 27},
  };
  for (const auto& c : cases) EXPECT_EQ(vitald_hist_slot(c.ns), c.slot) << c.ns;
}

TEST(Hist, SlotIsTheDefinition) {
  std::mt19937_64 random(2);
  for (std::uint64_t ns = 0; ns < 2'000'000; ++ns) ASSERT_EQ(vitald_hist_slot(ns), slot_by_definition(ns)) << ns;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto ns = random() >> (random() % 64);
    ASSERT_EQ(vitald_hist_slot(ns), slot_by_definition(ns)) << ns;
  }
  for (std::uint32_t i = 0; i < VITALD_HIST_BOUNDS; ++i) {
    const auto bound = static_cast<std::uint64_t>((static_cast<unsigned __int128>(1'000'000'000) << i) >> 20);
    for (const auto ns : {bound - 1, bound, bound + 1}) EXPECT_EQ(vitald_hist_slot(ns), slot_by_definition(ns)) << ns;
  }
}

}  // namespace
