// SPDX-License-Identifier: Apache-2.0
// The windows of CPU time as the kernel's side writes them.
#include "sensors/bpf/windows.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace vitald {
namespace {

constexpr std::uint64_t kW = VITALD_WINDOW_NS;

struct Ended {
  std::uint16_t distance, units;
  bool full;
};

std::vector<double> windows_of(std::uint64_t newest, std::uint64_t ns, std::initializer_list<Ended> ended,
                               std::uint64_t first, std::size_t count) {
  vitald_sched_peaks row{};
  row.window = newest;
  row.ns = ns;
  for (const auto& e : ended)
    row.ended[row.count++ % VITALD_WINDOWS] =
        static_cast<std::uint16_t>(e.distance << 8 | (e.full ? VITALD_WINDOW_FULL : 0) | e.units);
  std::vector<double> into(count);
  add_windows(row, first, into);
  for (auto& ns_in : into) ns_in /= 1e6;
  return into;
}

TEST(Windows, FromTheRing) {
  struct Case {
    const char* name;
    std::uint64_t newest, ns;
    std::initializer_list<Ended> ended;
    std::uint64_t first;
    std::vector<double> want;  // ms
  };
  constexpr double kUnit = 1.048576;
  const Case cases[] = {
      {"nothing yet", 0, 0, {}, 0, {0, 0, 0}},
      {"only the newest", 12, 5'000'000, {}, 10, {0, 0, 5}},
      {"one after the other", 12, 7'000'000, {{1, 10, false}, {1, 20, false}}, 10, {10 * kUnit, 20 * kUnit, 7}},
      {"a gap is empty", 13, 0, {{3, 10, false}}, 10, {10 * kUnit, 0, 0, 0}},
      {"a long slice fills what is between", 13, 1'000'000, {{3, 10, true}}, 10, {10 * kUnit, 100, 100, 1}},
      {"a unit and a rest is a whole window", 11, 0, {{1, 95, false}}, 10, {100, 0}},
      {"older than asked for", 12, 0, {{1, 9, false}, {1, 10, false}, {1, 11, false}}, 11, {11 * kUnit, 0}},
      {"newer than asked for", 14, 9'000'000, {{1, 10, false}, {1, 11, false}}, 11, {0, 10 * kUnit}},
      {"further away than can be said", 400, 0, {{1, 99, false}, {255, 10, true}}, 397, {100, 100, 100, 0}},
      {"further away and idle", 400, 2'000'000, {{1, 99, false}, {255, 10, false}}, 398, {0, 0, 2}},
  };
  for (const auto& c : cases) {
    const auto windows = windows_of(c.newest, c.ns, c.ended, c.first, c.want.size());
    for (std::size_t i = 0; i < c.want.size(); ++i) EXPECT_NEAR(windows[i], c.want[i], 1e-9) << c.name << ", " << i;
  }
}

TEST(Windows, SliceThatHasNotEnded) {
  struct Case {
    const char* name;
    std::uint64_t since, now, first;
    std::vector<double> want;  // ns
  };
  const Case cases[] = {
      {"within one", 10 * kW + 5, 10 * kW + 9, 10, {4, 0}},
      {"over three", 10 * kW + kW / 2, 12 * kW + 1, 10, {kW / 2.0, kW, 1}},
      {"began before", 1, 11 * kW + 7, 10, {kW, 7}},
      {"longer than asked for", 10 * kW, 99 * kW, 10, {kW, kW}},
      {"not begun by that clock", 11 * kW, 10 * kW, 10, {0, 0}},
  };
  for (const auto& c : cases) {
    std::vector<double> into(c.want.size());
    add_slice(c.since, c.now, c.first, into);
    EXPECT_EQ(into, c.want) << c.name;
  }
}

}  // namespace
}  // namespace vitald
