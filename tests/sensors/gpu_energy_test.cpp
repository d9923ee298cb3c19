// SPDX-License-Identifier: Apache-2.0
// The law of a GPU's energy over random histories: owners that come, go and become one with another, readings that are
// missed, counters that begin anew, times of which nobody says who used it, and those of whom nobody knows who they
// are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"
#include "sensors/gpu/gpu_energy.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

// What no board can have used, and numbers that are none, are not counted; nor is what was counted before, again.
TEST(GpuEnergy, NumbersThatCannotBe) {
  constexpr auto kAllOnes = 18446744073709551615.0 / 1e6;
  struct Case {
    const char* name;
    double said;  // once, between 101 and 151 J, 5 s after and before them
    double joules, resets;
  };
  for (const auto& c : {Case{"none", std::nan(""), 150, 0},
                        {"all ones", kAllOnes, 150, 0},
                        {"0", 0, 150, 0},
                        {"below 0", -1, 150, 0},
                        {"infinity", HUGE_VAL, 150, 0},
                        {"too much for a board", 1e6, 100, 2},
                        {"begun anew", 2, 249, 1}}) {
    SCOPED_TRACE(c.name);
    FakeClock clock;
    const CollectorFixture tree("loadavg");
    const Host host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""}, &clock);
    OwnerTable table(host);
    GpuEnergy energy(table);
    std::int64_t at_s = 0;
    for (const double joules : {1.0, 51.0, 101.0, c.said, 151.0})
      energy.step(at_s += 5'000'000'000, joules, std::vector<GpuEnergy::Used>{});
    BatchWriter out("test");
    out.begin(0);
    energy.emit(out, "0", "GPU-a", "sm_time");
    const auto text = exposition(*out.finish({}, 0, 0));
    EXPECT_EQ(lines_with(text, "vitald_gpu_energy_joules_total"),
              fmt::format("vitald_gpu_energy_joules_total{{UUID=\"GPU-a\",gpu=\"0\"}} {}\n", c.joules));
    EXPECT_EQ(lines_with(text, "resets_total"),
              fmt::format("vitald_gpu_energy_attribution_resets_total{{UUID=\"GPU-a\",gpu=\"0\"}} {}\n", c.resets));
  }
}

TEST(GpuEnergy, TheLawOverRandomHistories) {
  constexpr int kHistories = 20'000;
  double charged = 0, idle = 0, nobodys = 0;
  std::uint64_t resets = 0, gone = 0;
  FakeClock clock;
  const CollectorFixture tree("loadavg");
  const Host host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""}, &clock);
  for (int history = 0; history < kHistories; ++history) {
    std::mt19937 random(static_cast<unsigned>(history));
    const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
    const auto between = [&](double a, double b) {
      return a + (b - a) * static_cast<double>(random() % 10'001) / 10'000.0;
    };
    OwnerTable table(host);
    GpuEnergy energy(table);
    std::vector<OwnerId> owners;
    for (int i = 0; i < 3; ++i) owners.push_back(table.of_paths({fmt::format("/system.slice/o{}.service", i), ""}));
    std::int64_t now = 1'000'000'000;
    double counter = between(0, 1e9), owed = 0, before = 0;
    bool begun = false;
    const double idle_watts = between(10, 90), more_watts = between(50, 500);
    for (int cycle = 0; cycle < 40; ++cycle) {
      const bool calm = cycle < 24;
      const double seconds = calm ? 1 : between(0.2, 6);
      now += static_cast<std::int64_t>(seconds * 1e9);
      std::optional<std::vector<GpuEnergy::Used>> used = std::vector<GpuEnergy::Used>{};
      double busy = 0;
      for (const auto id : owners) {
        const double s = calm ? 0 : between(0, seconds / 3);
        used->push_back({id, s});
        busy += s;
      }
      const double hidden = !calm && chance(3) ? between(0, seconds / 3) : 0;
      counter += idle_watts * seconds + more_watts * (busy + hidden);
      if (!calm && chance(12)) counter = between(0.001, 5), ++resets;  // 0 is no reading
      if (chance(20)) used.reset();
      std::optional<double> read;
      if (!chance(8) || cycle == 39) {
        read = counter;
        if (begun && counter >= before) owed += counter - before;
        begun = true;
        before = counter;
      }
      energy.step(now, read, used, hidden);
      if (!calm && chance(10)) {  // everybody is forgotten: the table drops who nobody holds
        clock.advance_ns(3'600'000'000'000);
        table.cycle(clock.boot_ns());
        for (auto& id : owners) id = table.of_paths({fmt::format("/system.slice/n{}.service", random() % 9), ""});
        ++gone;
      }
    }
    BatchWriter out("test");
    out.begin(0);
    energy.emit(out, "0", "GPU-a", "sm_time");
    const auto text = exposition(*out.finish({}, 0, 0));
    double sum = 0;
    for (const auto* family : {"vitald_owner_gpu_energy_joules_total", "vitald_gone_owners_gpu_energy_joules_total",
                               "vitald_unattributed_gpu_energy_joules_total"}) {
      const auto lines = lines_with(text, family);
      for (std::size_t at = 0; at < lines.size();) {
        const auto end = std::min(lines.find('\n', at), lines.size());
        const double joules = std::stod(lines.substr(lines.rfind(' ', end - 1), end));
        sum += joules;
        at = end + 1;
        if (std::string_view(family).starts_with("vitald_unattributed")) nobodys += joules;
      }
    }
    ASSERT_NEAR(sum, owed, 0.001 * owed + 0.001) << "history " << history << "\n" << text;
    const auto counted = static_cast<double>(energy.split().counted(0)) / 1e6;
    ASSERT_NEAR(counted, owed, 1e-6 * owed + 0.001) << "history " << history;
    idle += static_cast<double>(energy.split().idle()) / 1e6;
    charged += counted;
  }
  fmt::print(
      "{} histories, {} counters begun anew, {} times that all owners went; {:.0f} MJ, {:.0f} idle, {:.0f} nobody's\n",
      kHistories, resets, gone, charged / 1e6, idle / 1e6, nobodys / 1e6);
  EXPECT_GT(charged - idle - nobodys, 1e6);
  EXPECT_GT(idle, 1e6);
  EXPECT_GT(resets, 1000U);
  EXPECT_GT(gone, 1000U);
}

}  // namespace
}  // namespace vitald
