// SPDX-License-Identifier: Apache-2.0
// Whose the energy was: cases as text, the law over random histories, and how far off others' formulas are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "sensors/derived/energy_split.h"
#include "sensors/derived/idle_power.h"
#include "sensors/power/energy_counter.h"
#include "tests/sensors/deriver_cases.h"

namespace vitald {
namespace {

constexpr std::int64_t kS = 1'000'000'000;

std::string use(int id, const char* package, double seconds, const std::string& name) {
  return fmt::format(
      "vitald_owner_package_cpu_seconds_total{{id=\"{}\",package=\"{}\",owner_kind=\"unit\",owner=\"{}\"}} {}\n", id,
      package, name, seconds);
}
std::string memory(const char* name, double joules) {
  return fmt::format("vitald_energy_joules_total{{domain=\"dram\",package=\"{}\",source=\"perf\"}} {}\n", name, joules);
}
std::string package(const char* name, double joules, int cpus = 4) {
  return fmt::format(
      "vitald_energy_joules_total{{domain=\"package\",package=\"{0}\",source=\"perf\"}} {1}\n"
      "vitald_package_cpus{{package=\"{0}\"}} {2}\n",
      name, joules, cpus);
}
// 21 seconds in which a processor of 4 CPUs draws 40 W and nobody does anything: then its idle power is known.
std::vector<DeriverCycle> idle_for_a_while(const std::string& uses) {
  std::vector<DeriverCycle> cycles;
  for (int i = 0; i <= 21; ++i) cycles.push_back({static_cast<double>(i + 1), package("0", 40 * i) + uses, ""});
  return cycles;
}

double number_in(const std::string& text, const std::string& prefix) {
  const auto at = text.find(prefix);
  if (at == text.npos) return std::nan("");
  return std::stod(text.substr(text.find("} ", at) + 2));
}
std::string owner(const char* name) {
  return fmt::format("vitald_owner_energy_joules_total{{mode=\"active\",owner=\"{}\"", name);
}
constexpr const char* kIdleJoules = "vitald_owner_energy_joules_total{mode=\"idle\",owner=\"host\",owner_kind=\"host\"";

TEST(Energy, NobodyIsChargedBeforeIdleIsKnown) {
  check_deriver("energy",
                {{"no owners, no attribution", {{1, package("0", 0), ""}, {2, package("0", 90), ""}}},
                 {"no meter, no attribution", {{1, use(1, "0", 0, "a"), ""}, {2, use(1, "0", 1, "a"), ""}}},
                 {"unattributed",
                  {{1, package("0", 0) + use(1, "0", 5, "a"),
                    "vitald_energy_attribution_info{domain=\"package\",split=\"package\",weight=\"cpu_time\"} 1\n"
                    "vitald_owner_energy_joules_total{mode=\"active\",owner=\"a\",owner_kind=\"unit\"} 0\n"
                    "vitald_owner_energy_joules_total{mode=\"idle\",owner=\"host\",owner_kind=\"host\"} 0\n"
                    "vitald_gone_owners_energy_joules_total 0\n"
                    "vitald_unattributed_energy_joules_total{package=\"0\"} 0\n"
                    "vitald_energy_attribution_resets_total{domain=\"package\",package=\"0\"} 0\n"},
                   {2, package("0", 60) + use(1, "0", 6, "a"),
                    "vitald_energy_attribution_info{domain=\"package\",split=\"package\",weight=\"cpu_time\"} 1\n"
                    "vitald_owner_energy_joules_total{mode=\"active\",owner=\"a\",owner_kind=\"unit\"} 0\n"
                    "vitald_owner_energy_joules_total{mode=\"idle\",owner=\"host\",owner_kind=\"host\"} 0\n"
                    "vitald_gone_owners_energy_joules_total 0\n"
                    "vitald_unattributed_energy_joules_total{package=\"0\"} 60\n"
                    "vitald_energy_attribution_resets_total{domain=\"package\",package=\"0\"} 0\n"}}}});
}

std::string last(std::vector<DeriverCycle> cycles) {
  std::string error;
  const auto got = run_deriver("energy", cycles, error);
  EXPECT_EQ(error, "");
  return got.back();
}

TEST(Energy, ActiveByCpuTimeIdleApart) {
  auto cycles = idle_for_a_while(use(1, "0", 5, "a") + use(2, "0", 7, "b"));
  // 40 W idle and 60 J more, of which a used three CPU seconds and b one.
  cycles.push_back({23, package("0", 840 + 100) + use(1, "0", 8, "a") + use(2, "0", 8, "b"), ""});
  const auto got = last(cycles);
  EXPECT_DOUBLE_EQ(number_in(got, owner("a")), 45);
  EXPECT_DOUBLE_EQ(number_in(got, owner("b")), 15);
  EXPECT_DOUBLE_EQ(number_in(got, kIdleJoules), 40);
  EXPECT_DOUBLE_EQ(number_in(got, "vitald_unattributed_energy_joules_total{"), 840) << "from before it was known";
  EXPECT_NEAR(number_in(got, "vitald_package_idle_power_watts{method=\"low-load\""), 40, 0.001);
}

TEST(Energy, OwnersThatComeAreCalledOtherwiseAndGo) {
  auto cycles = idle_for_a_while(use(1, "0", 5, "a"));
  // b is new: all that it has used was in this second.
  cycles.push_back({23, package("0", 940) + use(1, "0", 6, "a") + use(2, "0", 1, "b"), ""});
  // Called otherwise it is the same: 1 second of 2, not 2.
  cycles.push_back({24, package("0", 1040) + use(1, "0", 7, "a") + use(2, "0", 2, "named"), ""});
  auto got = last(cycles);
  EXPECT_NEAR(number_in(got, owner("a")), 60, 0.01);
  EXPECT_NEAR(number_in(got, owner("named")), 60, 0.01);
  EXPECT_EQ(got.find(owner("b")), got.npos);
  // And it goes; who comes next under its place begins at 0.
  cycles.push_back({25, package("0", 1140) + use(1, "0", 8, "a"), ""});
  cycles.push_back({26, package("0", 1240) + use(1, "0", 9, "a") + use(3, "0", 1, "c"), ""});
  got = last(cycles);
  EXPECT_NEAR(number_in(got, owner("a")), 150, 0.01);
  EXPECT_NEAR(number_in(got, owner("c")), 30, 0.01);
  EXPECT_NEAR(number_in("} " + got.substr(got.find("vitald_gone_owners_energy_joules_total ") + 38), ""), 60, 0.01);
}

// The work on one processor does not pay for the other.
TEST(Energy, EachProcessorForItself) {
  std::vector<DeriverCycle> cycles;
  const auto at = [&](double s, double zero, double one, double a, double b) {
    cycles.push_back({s,
                      package("0", zero) + package("1", one) + use(1, "0", a, "a") + use(1, "1", 0, "a") +
                          use(2, "0", 0, "b") + use(2, "1", b, "b"),
                      ""});
  };
  for (int i = 0; i <= 21; ++i) at(i + 1, 40 * i, 50 * i, 0, 0);
  at(23, 840 + 240, 1050 + 50, 4, 0.0001);
  const auto got = last(cycles);
  EXPECT_NEAR(number_in(got, owner("a")), 200, 1e-6);
  EXPECT_NEAR(number_in(got, owner("b")), 0, 1e-6);
}

TEST(Energy, WhereTheKernelDoesNotSayWhichCpuIsWhere) {
  std::vector<DeriverCycle> cycles;
  for (int i = 0; i <= 21; ++i)
    cycles.push_back({i + 1.0, package("0", 40 * i) + use(1, "", 0, "a") + use(2, "", 0, "b"), ""});
  cycles.push_back({23, package("0", 940) + use(1, "", 1, "a") + use(2, "", 1, "b"), ""});
  const auto got = last(cycles);
  EXPECT_NE(got.find("vitald_energy_attribution_info{domain=\"package\",split=\"host\",weight=\"cpu_time\"} 1\n"),
            got.npos)
      << got;
  EXPECT_NEAR(number_in(got, owner("a")), 30, 1e-6);
  EXPECT_NEAR(number_in(got, owner("b")), 30, 1e-6);
}

TEST(Energy, ACounterThatGoesBackIsToldAndNoSpike) {
  auto cycles = idle_for_a_while(use(1, "0", 0, "a"));
  cycles.push_back({23, package("0", 3) + use(1, "0", 1, "a"), ""});
  cycles.push_back({24, package("0", 103) + use(1, "0", 2, "a"), ""});
  const auto got = last(cycles);
  EXPECT_DOUBLE_EQ(number_in(got, owner("a")), 60);
  EXPECT_NE(got.find("vitald_energy_attribution_resets_total{domain=\"package\",package=\"0\"} 1\n"), got.npos);
}

std::string dram_owner(const char* name) {
  return fmt::format("vitald_owner_dram_energy_joules_total{{mode=\"active\",owner=\"{}\"", name);
}

// The memory's energy is split apart: its idle power is its own, and what it takes beyond is by CPU time, too.
TEST(Energy, MemoryByItself) {
  const auto uses = use(1, "0", 5, "a") + use(2, "0", 7, "b");
  auto cycles = idle_for_a_while(uses);
  for (std::size_t i = 0; i < cycles.size(); ++i) cycles[i].given += memory("0", 8 * static_cast<double>(i));
  // 8 W and 12 J more, of which a used three CPU seconds and b one.
  cycles.push_back({23, package("0", 940) + memory("0", 168 + 20) + use(1, "0", 8, "a") + use(2, "0", 8, "b"), ""});
  auto got = last(cycles);
  EXPECT_DOUBLE_EQ(number_in(got, dram_owner("a")), 9);
  EXPECT_DOUBLE_EQ(number_in(got, dram_owner("b")), 3);
  EXPECT_DOUBLE_EQ(number_in(got, "vitald_owner_dram_energy_joules_total{mode=\"idle\""), 8);
  EXPECT_DOUBLE_EQ(number_in(got, "vitald_unattributed_dram_energy_joules_total{"), 168);
  EXPECT_NEAR(number_in(got, "vitald_dram_idle_power_watts{method=\"low-load\""), 8, 0.001);
  EXPECT_NE(got.find("vitald_energy_attribution_info{domain=\"dram\",split=\"package\",weight=\"cpu_time\"} 1\n"),
            got.npos);
  EXPECT_DOUBLE_EQ(number_in(got, owner("a")), 45) << "the processor's stays what it was";
  // The memory's counter cannot be read for a while, and its energy waits; the processor's goes on. Owners that go
  // meanwhile leave what they have had.
  cycles.push_back({24, package("0", 1040) + use(1, "0", 9, "a") + use(2, "0", 8, "b"), ""});
  cycles.push_back({25, package("0", 1140) + memory("0", 188 + 40) + use(1, "0", 10, "a"), ""});
  got = last(cycles);
  EXPECT_NEAR(number_in(got, dram_owner("a")), 9 + 24, 0.01);
  EXPECT_EQ(got.find(dram_owner("b")), got.npos);
  EXPECT_NE(got.find("vitald_gone_owners_dram_energy_joules_total 3\n"), got.npos) << got;
  // It begins anew: told of the memory alone.
  cycles.push_back({26, package("0", 1240) + memory("0", 1) + use(1, "0", 11, "a"), ""});
  got = last(cycles);
  EXPECT_NE(got.find("vitald_energy_attribution_resets_total{domain=\"dram\",package=\"0\"} 1\n"), got.npos);
  EXPECT_NE(got.find("vitald_energy_attribution_resets_total{domain=\"package\",package=\"0\"} 0\n"), got.npos);
}

// A meter that cannot be read shows what it had counted. Who used what in that time is not forgotten.
TEST(Energy, ASilentMeterIsNotOneThatStandsStill) {
  const auto up = [](int is) {
    return fmt::format("vitald_energy_meter_up{{domain=\"package\",package=\"0\"}} {}\n", is);
  };
  auto cycles = idle_for_a_while(use(1, "0", 5, "a") + use(2, "0", 5, "b") + up(1));
  cycles.push_back({23, package("0", 840) + use(1, "0", 7, "a") + use(2, "0", 5, "b") + up(0), ""});
  cycles.push_back({24, package("0", 1040) + use(1, "0", 7, "a") + use(2, "0", 7, "b") + up(1), ""});
  const auto got = last(cycles);
  EXPECT_NEAR(number_in(got, owner("a")), 60, 0.01) << got;
  EXPECT_NEAR(number_in(got, owner("b")), 60, 0.01);
}

TEST(Energy, NoMemoryMeterNoMemorysEnergy) {
  EXPECT_EQ(last(idle_for_a_while(use(1, "0", 5, "a"))).find("dram"), std::string::npos);
}

TEST(Energy, SaysByWhatItIsSplit) {
  for (const auto* weight : {"cpu_time", "aperf"}) {
    const auto got = last(
        {{1,
          package("0", 1) + fmt::format("vitald_package_cpu_weight{{weight=\"{}\"}} 1\n", weight) + use(1, "0", 0, "a"),
          ""}});
    EXPECT_NE(got.find(fmt::format(
                  "vitald_energy_attribution_info{{domain=\"package\",split=\"package\",weight=\"{}\"}} 1\n", weight)),
              got.npos)
        << got;
  }
}

double sum_in(const std::string& text, const std::string& family) {
  double sum = 0;
  for (std::size_t at = 0; (at = text.find(family, at)) != text.npos; at += family.size()) {
    if (at > 0 && text[at - 1] != '\n') continue;
    const auto next = text[at + family.size()];
    if (next != '{' && next != ' ') continue;
    const auto end = text.find('\n', at);
    sum += std::stod(text.substr(text.rfind(' ', end)));
  }
  return sum;
}

// The names make the same law: both domains, through meters that are not read, owners that come, go and are called
// otherwise, and counters that are set back.
TEST(Energy, TheLawOfBothDomainsAsItIsShown) {
  double charged = 0;
  for (unsigned history = 0; history < 150; ++history) {
    std::mt19937 random(history);
    const auto between = [&](double a, double b) {
      return a + (b - a) * static_cast<double>(random() % 10'001) / 10'000.0;
    };
    std::vector<DeriverCycle> cycles;
    // What the counters stood at, and what the split may be held to: without what was before a setting back.
    double counter[2][2] = {{50, 60}, {5, 6}}, owed[2] = {0, 0};
    bool begun[2][2] = {};
    double last_seen[2][2] = {};
    double used[4][2] = {};
    bool lives[4] = {true, true, true, true};
    int id[4] = {1, 2, 3, 4}, next_id = 5;
    double at = 1;
    for (int cycle = 0; cycle < 40; ++cycle) {
      const bool calm = cycle < 25;
      const double seconds = calm ? 1 : between(0.2, 5);
      at += seconds;
      std::string given, uses;
      for (int p = 0; p < 2; ++p) {
        double busy = 0;
        for (int o = 0; o < 4; ++o) {
          const double s = lives[o] ? between(0, calm ? 0.01 : seconds) : 0;
          used[o][p] += s, busy += s;
        }
        counter[0][p] += (40 + 10 * p) * seconds + 9 * busy;
        counter[1][p] += (6 + p) * seconds + 2 * busy;
      }
      for (int d = 0; d < 2; ++d)
        for (int p = 0; p < 2; ++p) {
          if (!calm && random() % 12 == 0) counter[d][p] = 0;
          if (cycle != 0 && cycle < 39 && random() % 8 == 0) continue;  // not read
          const auto name = std::to_string(p);
          given += d == 0 ? package(name.c_str(), counter[d][p]) : memory(name.c_str(), counter[d][p]);
          if (begun[d][p] && counter[d][p] >= last_seen[d][p]) owed[d] += counter[d][p] - last_seen[d][p];
          begun[d][p] = true;
          last_seen[d][p] = counter[d][p];
        }
      for (int o = 0; o < 4; ++o) {
        if (!calm && random() % 10 == 0) {
          lives[o] = !lives[o];
          if (lives[o]) id[o] = next_id++, used[o][0] = used[o][1] = 0;
        }
        if (!lives[o]) continue;
        for (int p = 0; p < 2; ++p)
          uses +=
              use(id[o], p == 0 ? "0" : "1", used[o][p], fmt::format("o{}{}", o, random() % 20 == 0 ? "renamed" : ""));
      }
      cycles.push_back({at, given + uses, ""});
    }
    const auto text = last(cycles);
    const char* families[2][3] = {
        {"vitald_owner_energy_joules_total", "vitald_gone_owners_energy_joules_total",
         "vitald_unattributed_energy_joules_total"},
        {"vitald_owner_dram_energy_joules_total", "vitald_gone_owners_dram_energy_joules_total",
         "vitald_unattributed_dram_energy_joules_total"}};
    for (int d = 0; d < 2; ++d) {
      double sum = 0;
      for (const auto* family : families[d]) sum += sum_in(text, family);
      ASSERT_NEAR(sum, owed[d], 0.001 * owed[d] + 0.001) << "history " << history << ", domain " << d << "\n" << text;
      charged += sum_in(text, families[d][0]);
    }
  }
  EXPECT_GT(charged, 1e5) << "nobody was ever charged";
}

// What is counted of a time in which the meter began anew, or the machine slept, is not what the processor takes idle.
TEST(Energy, MetersThatStandStillAndSleepTeachNothing) {
  struct Case {
    const char* name;
    double seconds, joules;  // of the cycle after 21 s of 40 W
  };
  for (const auto& c : {Case{"the meter began anew: nothing is counted of that second", 1, 0},
                        Case{"it was asleep for eight hours, at half a watt", 8 * 3600, 14'400},
                        Case{"it was asleep for eight hours, and the meter began anew", 8 * 3600, 0}}) {
    const auto uses = use(1, "0", 5, "a");
    auto cycles = idle_for_a_while(uses);
    double at = 22 + c.seconds, joules = 840 + c.joules;
    cycles.push_back({at, package("0", joules) + uses, ""});
    for (int i = 0; i < 60; ++i) cycles.push_back({at += 1, package("0", joules += 40) + uses, ""});
    EXPECT_NEAR(number_in(last(cycles), "vitald_package_idle_power_watts{"), 40, 0.01) << c.name;
  }
}

// The samples of a host that always does about the same continue to anything at no load: unknown until they agree.
TEST(IdlePower, IsKnownToATenthOrNotAtAll) {
  struct Case {
    const char* name;
    double interval, load, load_spread, noise;  // the last two: standard deviations; noise as a share of the power
    bool known;                                 // after ten minutes
  };
  for (const auto& c :
       {Case{"idle", 5, 0.02, 0.003, 0.05, true}, Case{"idle, some work", 5, 0.02, 0.02, 0.05, true},
        Case{"idle, looked at often", 1, 0.02, 0.003, 0.05, true}, Case{"some load", 5, 0.15, 0.02, 0.01, true},
        Case{"looked at often", 1, 0.15, 0.02, 0.05, true}, Case{"always the same load", 5, 0.15, 0.003, 0.05, false},
        Case{"looked at seldom", 10, 0.15, 0.003, 0.05, false}})
    for (unsigned seed = 0; seed < 50; ++seed) {
      std::mt19937_64 random(seed);
      std::normal_distribution<double> some;
      IdlePower idle;
      for (double s = 0; s < 600; s += c.interval) {
        const double load = std::max(0.0, c.load + c.load_spread * some(random));
        idle.sample(load, (40 + 120 * load) * (1 + c.noise * some(random)), c.interval);
        // Two standard errors are a tenth of what it takes, and the edge is a lower one: noise of 5 % is up to 8 W.
        EXPECT_NEAR(idle.watts().value_or(40), 40, 10) << c.name << ", seed " << seed << ", second " << s;
      }
      EXPECT_EQ(idle.watts().has_value(), c.known) << c.name << ", seed " << seed;
    }
}

TEST(IdlePower, Cases) {
  IdlePower none;
  none.sample(0.01, 40, 10);
  EXPECT_EQ(none.watts(), std::nullopt) << "ten seconds are too few";

  // Power at low load is noisy upwards: clock frequency, memory.
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> some(0, 1);
  IdlePower low;
  for (int i = 0; i < 600; ++i) {
    const double load = some(random) * 0.15;
    low.sample(load, 40 + 120 * load + 6 * some(random) * some(random), 1);
  }
  ASSERT_TRUE(low.watts());
  EXPECT_NEAR(*low.watts(), 40, 1.5);
  EXPECT_EQ(low.method(), "low-load");

  // A machine that always works: the line is continued.
  IdlePower busy;
  for (int i = 0; i < 599; ++i) {
    const double load = 0.4 + 0.5 * some(random);
    busy.sample(load, 40 + 120 * load, 1);
  }
  EXPECT_EQ(busy.watts(), std::nullopt);
  busy.sample(0.5, 100, 2);
  busy.sample(0.5, 100, 60);
  ASSERT_TRUE(busy.watts());
  EXPECT_NEAR(*busy.watts(), 40, 4);
  EXPECT_EQ(busy.method(), "fit");

  // Always the same load says nothing about another.
  IdlePower constant;
  for (int i = 0; i < 2000; ++i) constant.sample(0.7, 150, 1);
  EXPECT_EQ(constant.watts(), std::nullopt);

  // Once known it stays known, also when its host is busy for days and remembers no idle second.
  for (const double load : {0.25, 0.7, 1.0}) {
    IdlePower was_idle, was_fit;
    for (int i = 0; i < 21; ++i) was_idle.sample(0.01, 41.2, 1);
    for (int i = 0; i < 700; ++i) {
      const double some_load = 0.4 + 0.5 * some(random);
      was_fit.sample(some_load, 40 + 120 * some_load, 1);
    }
    ASSERT_TRUE(was_idle.watts());
    ASSERT_TRUE(was_fit.watts());
    for (int i = 1; i <= 86400; ++i) {  // ten days
      was_idle.sample(load, 40 + 120 * load, 10);
      was_fit.sample(load, 40 + 120 * load, 10);
      if (i != 8640 && i != 86400) continue;
      ASSERT_TRUE(was_idle.watts()) << load << " " << i;
      EXPECT_NEAR(*was_idle.watts(), 40, 2) << load << " " << i;
      EXPECT_NE(was_idle.method(), "");
      ASSERT_TRUE(was_fit.watts()) << load << " " << i;
      EXPECT_NEAR(*was_fit.watts(), 40, 4) << load << " " << i;
      EXPECT_EQ(was_fit.method(), "fit");
    }
  }

  // What it takes idle may change for good: half of it is forgotten in twelve hours.
  IdlePower changed;
  for (int i = 0; i < 3600; ++i) changed.sample(0.02, 40, 1);
  for (int i = 0; i < 4 * 86400; i += 10) changed.sample(0.02, 60, 10);
  EXPECT_NEAR(*changed.watts(), 60, 1.5);
}

// A processor whose true energy is known, behind a counter as powercap has it.
struct TrueMachine {
  struct Processor {
    double idle_watts, watts_per_cpu;
    std::uint32_t cpus;
    double joules = 0;      // it has used
    double raw_offset = 0;  // joules at which the raw counter was last set to 0
    std::uint64_t range_uj = 262'143'328'850;
    [[nodiscard]] std::uint64_t raw() const {
      return static_cast<std::uint64_t>((joules - raw_offset) * 1e6) % (range_uj + 1);
    }
  };
  std::vector<Processor> processors;
};

// Sum over owners, those that are gone, idle and unattributed is the counter; and the counter is what was used, but for
// what it has told that it lost. Wraps, missed cycles, owners that come and go within one, clock steps (there is no
// wall clock in it), restarts, suspended times, counters that are set back.
TEST(Energy, TheLawOverRandomHistories) {
  constexpr int kHistories = 100'000;
  std::uint64_t cycles_run = 0, wraps = 0, resets = 0, restarts = 0, gone_owners = 0;
  double worst_sum = 0, worst_true = 0, charged = 0, idle = 0, nobodys = 0;
  for (int history = 0; history < kHistories; ++history) {
    std::mt19937 random(static_cast<unsigned>(history));
    const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
    const auto between = [&](double a, double b) {
      return a + (b - a) * static_cast<double>(random() % 10'001) / 10'000.0;
    };
    TrueMachine machine;
    // Either near its wrap, or it is set back: both at once nobody can tell apart.
    const bool wrapping = chance(2);
    bool missed = false;
    // Half of them are quiet and begin with some calm cycles, so that it is learned what idle is, and then owners are
    // charged.
    const bool quiet = chance(2);
    const double work = quiet ? 0.03 : 1;
    const int calm_cycles = quiet ? 7 : 0;
    const std::size_t processors = 1 + random() % 2;
    for (std::size_t p = 0; p < processors; ++p) {
      machine.processors.push_back({between(5, 80), between(0.5, 12), 4});
      auto& m = machine.processors.back();
      m.joules = wrapping ? static_cast<double>(m.range_uj) / 1e6 - between(0, 5'000) : between(1, 60'000);
    }
    struct Run {
      EnergySplit split;
      std::vector<EnergyCounter> counters;
      std::vector<double> totals, began;  // counted; true at the first reading
      std::vector<double> lost;           // true energy between readings that were told to be broken
      std::vector<double> last_true;
      bool first = true;
    };
    const auto new_run = [&] {
      Run run;
      run.counters.assign(processors, EnergyCounter(1e-6));
      run.totals.assign(processors, 0), run.began.assign(processors, 0), run.lost.assign(processors, 0);
      run.last_true.assign(processors, 0);
      return run;
    };
    auto run = new_run();
    struct Owner {
      bool lives = false;
      std::vector<double> cpu;
    };
    std::vector<Owner> owners(4);
    for (auto& o : owners) o = {chance(2), std::vector<double>(processors, 0)};
    std::int64_t now = kS;
    std::uint64_t sum_before = 0;
    const auto check = [&] {
      std::uint64_t sum = run.split.gone() + run.split.idle(), counted = 0;
      for (std::uint32_t o = 0; o < owners.size(); ++o) sum += run.split.owner(o);
      for (std::uint32_t p = 0; p < run.split.packages(); ++p) {
        sum += run.split.unattributed(p);
        counted += run.split.counted(p);
      }
      worst_sum = std::max(worst_sum, counted ? std::abs(static_cast<double>(sum) - static_cast<double>(counted)) /
                                                    static_cast<double>(counted)
                                              : static_cast<double>(sum));
      ASSERT_EQ(sum, counted) << "history " << history;
      ASSERT_GE(sum, sum_before) << "history " << history;
      sum_before = sum;
      for (std::size_t p = 0; p < processors && !run.first; ++p) {
        const double truth = machine.processors[p].joules - run.began[p] - run.lost[p];
        const double counter = static_cast<double>(run.split.counted(static_cast<std::uint32_t>(p))) / 1e6;
        ASSERT_NEAR(counter, truth, 0.001 * truth + 0.001) << "history " << history << " processor " << p;
        if (truth > 1) worst_true = std::max(worst_true, std::abs(counter - truth) / truth);
      }
    };
    for (int cycle = 0; cycle < calm_cycles + 8; ++cycle, ++cycles_run) {
      const bool calm = cycle < calm_cycles;
      const auto happens = [&](unsigned one_in) { return !calm && chance(one_in); };
      // The time in between: the machine works, or is suspended for a part of it.
      const bool set_back = !wrapping && !missed && happens(8);
      const double seconds = happens(8) && !set_back ? between(10, 100) : between(calm ? 3 : 0.05, 6);
      std::vector<double> used(processors, 0);
      for (auto& o : owners) {
        if (!o.lives) continue;
        for (std::size_t p = 0; p < processors; ++p) {
          const double cpu = work * between(0, seconds);
          o.cpu[p] += cpu, used[p] += cpu;
        }
      }
      for (std::size_t p = 0; p < processors; ++p) {
        auto& m = machine.processors[p];
        const auto before = m.raw();
        m.joules += m.idle_watts * seconds + m.watts_per_cpu * used[p];
        if (m.raw() < before) ++wraps;
      }
      now += static_cast<std::int64_t>(seconds * 1e9);
      if (happens(16) && !set_back) now += static_cast<std::int64_t>(between(1, 20) * 1e9);  // suspended
      if (set_back) {  // as by a suspend to memory
        auto& m = machine.processors[random() % processors];
        // One that stood at 0 shows the same before and after.
        if (m.joules - m.raw_offset > 1'000) m.raw_offset = m.joules, ++resets;
      }
      if (happens(40)) {  // the agent begins anew: what it knows is gone
        run = new_run();
        sum_before = 0;
        ++restarts;
      }
      missed = !set_back && happens(6);
      if (missed) continue;
      std::vector<EnergySplit::Package> packages(processors);
      for (std::size_t p = 0; p < processors; ++p) {
        auto& m = machine.processors[p];
        packages[p].cpus = m.cpus;
        if (happens(20) && !run.first && !set_back) {  // cannot be read now
          missed = true;
          continue;
        }
        const auto grown = run.counters[p].feed(m.raw(), m.range_uj, now);
        if (grown.step == EnergyStep::first) run.began[p] = m.joules;
        // What was told is not held against it.
        else if (grown.step != EnergyStep::grown) run.lost[p] += m.joules - run.last_true[p] - grown.joules;
        run.last_true[p] = m.joules;
        run.totals[p] += grown.joules;
        packages[p].joules = run.totals[p];
      }
      std::vector<EnergySplit::Use> uses;
      for (std::uint32_t o = 0; o < owners.size(); ++o)
        for (std::uint32_t p = 0; p < processors && owners[o].lives; ++p) uses.push_back({o, p, owners[o].cpu[p]});
      run.split.cycle(now, packages, uses, !happens(10));
      run.first = false;
      for (std::uint32_t o = 0; o < owners.size(); ++o) {
        if (owners[o].lives && chance(6)) {
          run.split.drop(o);
          owners[o] = {false, std::vector<double>(processors, 0)};
          ++gone_owners;
        } else if (!owners[o].lives && chance(4)) {
          owners[o].lives = true;
        }
      }
      const bool all_read = std::ranges::none_of(packages, [](const auto& p) { return std::isnan(p.joules); });
      if (all_read) check();
      if (testing::Test::HasFatalFailure()) return;
    }
    idle += static_cast<double>(run.split.idle()) / 1e6;
    charged += static_cast<double>(run.split.gone()) / 1e6;
    for (std::uint32_t o = 0; o < owners.size(); ++o) charged += static_cast<double>(run.split.owner(o)) / 1e6;
    for (std::uint32_t p = 0; p < run.split.packages(); ++p)
      nobodys += static_cast<double>(run.split.unattributed(p)) / 1e6;
  }
  fmt::print(
      "{} histories, {} cycles: {} wraps, {} set back, {} restarts, {} owners gone; {:.0f} MJ active, {:.0f} "
      "idle, {:.0f} nobody's; largest difference of the sum {:g}, of the counter from the truth {:g}\n",
      kHistories, cycles_run, wraps, resets, restarts, gone_owners, charged / 1e6, idle / 1e6, nobodys / 1e6, worst_sum,
      worst_true);
  EXPECT_GT(charged, 1e6);
  EXPECT_GT(idle, 1e6);
  EXPECT_GT(wraps, 1000U);
  EXPECT_GT(resets, 1000U);
  EXPECT_GT(restarts, 1000U);
  EXPECT_GT(gone_owners, 1000U);
}

// A day of two processors with four owners whose true energy is known, and what three formulas make of it. Kepler:
// energy of all processors by the host's CPU ratio, split by CPU time. Alumet: energy by the owner's share of all CPUs.
TEST(Energy, BesideOthersFormulas) {
  constexpr std::size_t kOwners = 4;
  TrueMachine machine;
  machine.processors = {{45, 6, 16}, {55, 9, 16}};
  EnergySplit ours;
  std::mt19937 random(7);
  const auto between = [&](double a, double b) {
    return a + (b - a) * static_cast<double>(random() % 10'001) / 10'000.0;
  };
  std::vector<double> truth(kOwners, 0), kepler(kOwners, 0), alumet(kOwners, 0), cpu(kOwners * 2, 0), mine(kOwners, 0);
  double idle_truth = 0, kepler_idle = 0;
  std::int64_t now = kS;
  for (int second = 0; second < 86'400; second += 5, now += 5 * kS) {
    const double hour = second / 3600.0, day = 0.5 + 0.5 * std::sin(hour / 24 * 2 * 3.14159265);
    double used[2] = {}, by[kOwners][2] = {}, grown[2] = {};
    // A service on the first processor, one on the second, a batch job at night on both, a small one that never rests.
    by[0][0] = 5 * 12 * day * between(0.5, 1), by[1][1] = 5 * 8 * day * between(0.5, 1);
    if (hour > 15 && hour < 18) by[2][0] = 5 * 3, by[2][1] = 5 * 6;
    by[3][0] = by[3][1] = 5 * 0.1;
    for (std::size_t p = 0; p < 2; ++p) {
      auto& m = machine.processors[p];
      grown[p] = m.idle_watts * 5;
      idle_truth += m.idle_watts * 5;
      for (std::size_t o = 0; o < kOwners; ++o) {
        used[p] += by[o][p];
        truth[o] += m.watts_per_cpu * by[o][p];
        grown[p] += m.watts_per_cpu * by[o][p];
        cpu[o * 2 + p] += by[o][p];
      }
      m.joules += grown[p];
    }
    const double energy = grown[0] + grown[1], all = used[0] + used[1], ratio = all / (32 * 5);
    kepler_idle += energy * (1 - ratio);
    for (std::size_t o = 0; o < kOwners; ++o) {
      const double owners = by[o][0] + by[o][1];
      kepler[o] += all > 0 ? energy * ratio * owners / all : 0;
      alumet[o] += energy * owners / (32 * 5);
    }
    std::vector<EnergySplit::Use> uses;
    for (std::uint32_t o = 0; o < kOwners; ++o)
      for (std::uint32_t p = 0; p < 2; ++p) uses.push_back({o, p, cpu[o * 2 + p]});
    const EnergySplit::Package packages[] = {{machine.processors[0].joules, 16}, {machine.processors[1].joules, 16}};
    ours.cycle(now, packages, uses, true);
  }
  for (std::uint32_t o = 0; o < kOwners; ++o) mine[o] = static_cast<double>(ours.owner(o)) / 1e6;
  const auto error = [&](const std::vector<double>& got) {
    double off = 0, sum = 0;
    for (std::size_t o = 0; o < kOwners; ++o) off += std::abs(got[o] - truth[o]), sum += truth[o];
    return off / sum;
  };
  for (std::size_t o = 0; o < kOwners; ++o)
    fmt::print(
        "owner {}: truth {:.0f} J, vitald {:.0f} ({:+.1f} %), Kepler {:.0f} ({:+.1f} %), Alumet {:.0f} ({:+.1f} %)\n",
        o, truth[o], mine[o], (mine[o] / truth[o] - 1) * 100, kepler[o], (kepler[o] / truth[o] - 1) * 100, alumet[o],
        (alumet[o] / truth[o] - 1) * 100);
  fmt::print("idle: truth {:.0f} J, vitald {:.0f}, Kepler {:.0f}; off by {:.2f} %, {:.2f} %, {:.2f} %\n", idle_truth,
             static_cast<double>(ours.idle()) / 1e6, kepler_idle, error(mine) * 100, error(kepler) * 100,
             error(alumet) * 100);
  EXPECT_LT(error(mine), error(kepler));
  EXPECT_LT(error(mine), error(alumet));
  EXPECT_LT(error(mine), 0.05);
}

}  // namespace
}  // namespace vitald
