// SPDX-License-Identifier: Apache-2.0
#include "sensors/power/energy_meters.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sensors/power/energy_counter.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

constexpr std::int64_t kS = 1'000'000'000;

TEST(EnergyCounter, Cases) {
  struct Read {
    std::uint64_t raw;
    double at_s;
    EnergyStep step;
    double joules;
  };
  struct Case {
    const char* name;
    std::uint64_t range;
    std::vector<Read> reads;
  };
  using enum EnergyStep;
  // In microjoules; the range of a usual package.
  constexpr std::uint64_t kRange = 262'143'328'850;
  const Case cases[] = {
      {"grows", kRange, {{5'000'000, 1, first, 0}, {105'000'000, 2, grown, 100}, {105'000'000, 3, grown, 0}}},
      {"wraps", kRange, {{kRange - 30'000'000, 1, first, 0}, {70'000'000, 2, grown, 100}}},
      {"wraps to the very 0", kRange, {{kRange, 1, first, 0}, {0, 2, grown, 0}}},
      {"begins anew: 162 kJ in a second are no wrap",
       kRange,
       {{100'000'000'000, 1, first, 0}, {5, 2, reset, 0}, {1'000'005, 3, grown, 1}}},
      {"begins anew, and it never wraps", 0, {{100, 1, first, 0}, {5, 2, reset, 0}}},
      {"is above the range that it has", 1000, {{2000, 1, first, 0}, {5, 2, reset, 0}}},
      {"is set forward", kRange, {{0, 1, first, 0}, {50'000'000'000, 2, reset, 0}}},
      {"read twice within a millisecond", kRange, {{0, 1, first, 0}, {300'000, 1.0001, grown, 0.3}}},
      {"a suspended minute", kRange, {{0, 1, first, 0}, {60'000'000, 61, grown, 60}}},
      {"400 W, and not read for a quarter of an hour: a wrap may be missing",
       kRange,
       {{0, 1, first, 0}, {400'000'000, 2, grown, 400}, {97'856'671'150, 902, too_late, 97456.67115}}},
      {"and has come round: at least what it shows",
       kRange,
       {{200'000'000'000, 1, first, 0}, {200'400'000'000, 2, grown, 400}, {35'000'000, 902, too_late, 35}}},
      {"a wrap goes on about as fast as before; what would be four times faster began anew",
       kRange,
       {{kRange - 20'000'000'000, 1, first, 0},
        {kRange - 19'700'000'000, 11, grown, 300},
        {100'000'000, 71, reset, 0},
        {200'000'000, 81, grown, 100}}},
      {"the clock stands still", kRange, {{0, 1, first, 0}, {1'000'000, 1, grown, 1}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EnergyCounter counter(1e-6);
    for (const auto& r : c.reads) {
      const auto got = counter.feed(r.raw, c.range, static_cast<std::int64_t>(r.at_s * 1e9));
      EXPECT_EQ(static_cast<int>(got.step), static_cast<int>(r.step)) << r.raw;
      EXPECT_NEAR(got.joules, r.joules, 1e-6) << r.raw;
    }
  }
}

using Zones = std::map<std::string, std::string>;  // below sys/class/powercap

Tree powercap(const Zones& zones) {
  Tree tree;
  for (const auto& [path, text] : zones) tree["sys/class/powercap/" + path] = text;
  return tree;
}

// The energy lines alone.
std::string energy(CollectorFixture& f, double seconds) {
  f.clock.advance_ns(static_cast<std::int64_t>(seconds * 1e9));
  return lines_with(f.run().text, "vitald_energy_joules_total");
}

TEST(EnergyMeters, TwoPackagesWithMemoryAndTheirTwins) {
  CollectorFixture f("energy_meters", powercap({
                                          {"intel-rapl/enabled", "1"},
                                          {"intel-rapl:0/name", "package-0\n"},
                                          {"intel-rapl:0/energy_uj", "1000000\n"},
                                          {"intel-rapl:0/max_energy_range_uj", "262143328850\n"},
                                          {"intel-rapl:0:0/name", "dram\n"},
                                          {"intel-rapl:0:0/energy_uj", "0\n"},
                                          {"intel-rapl:0:0/max_energy_range_uj", "65712999613\n"},
                                          {"intel-rapl:0:1/name", "core\n"},
                                          {"intel-rapl:0:1/energy_uj", "0\n"},
                                          {"intel-rapl:1/name", "package-1\n"},
                                          {"intel-rapl:1/energy_uj", "262143328849\n"},
                                          {"intel-rapl:1/max_energy_range_uj", "262143328850\n"},
                                          {"intel-rapl:2/name", "psys\n"},
                                          {"intel-rapl:2/energy_uj", "7\n"},
                                          {"intel-rapl-mmio:0/name", "package-0\n"},
                                          {"intel-rapl-mmio:0/energy_uj", "1000000\n"},
                                          {"dtpm/name", "cpu\n"},
                                          {"dtpm:0/name", "long_term\n"},
                                      }));
  EXPECT_EQ(energy(f, 0),
            "vitald_energy_joules_total{domain=\"core\",package=\"0\",source=\"powercap\"} 0\n"
            "vitald_energy_joules_total{domain=\"dram\",package=\"0\",source=\"powercap\"} 0\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} 0\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"1\",source=\"powercap\"} 0\n"
            "vitald_energy_joules_total{domain=\"psys\",package=\"0\",source=\"powercap\"} 0\n");
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "101000000\n");
  f.write("sys/class/powercap/intel-rapl:0:0/energy_uj", "5000000\n");
  f.write("sys/class/powercap/intel-rapl:1/energy_uj", "49999999\n");  // wrapped
  f.write("sys/class/powercap/intel-rapl:2/energy_uj", "200000007\n");
  EXPECT_EQ(energy(f, 1),
            "vitald_energy_joules_total{domain=\"core\",package=\"0\",source=\"powercap\"} 0\n"
            "vitald_energy_joules_total{domain=\"dram\",package=\"0\",source=\"powercap\"} 5\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} 100\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"1\",source=\"powercap\"} 50\n"
            "vitald_energy_joules_total{domain=\"psys\",package=\"0\",source=\"powercap\"} 200\n");
  // A suspend that set it back: told, and no spike.
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "3\n");
  f.clock.advance_ns(kS);
  const auto got = f.run().text;
  EXPECT_THAT(got, testing::HasSubstr(
                       "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} 100\n"));
  EXPECT_THAT(
      got, testing::HasSubstr("vitald_energy_meter_breaks_total{domain=\"package\",kind=\"reset\",package=\"0\"} 1\n"));
  EXPECT_THAT(
      got, testing::HasSubstr("vitald_energy_meter_breaks_total{domain=\"package\",kind=\"reset\",package=\"1\"} 0\n"));
}

TEST(EnergyMeters, APlatformThatNobodyFeedsIsNotThere) {
  CollectorFixture f("energy_meters", powercap({{"intel-rapl:0/name", "psys"}, {"intel-rapl:0/energy_uj", "0"}}));
  EXPECT_EQ(energy(f, 0), "");
  EXPECT_EQ(energy(f, 1), "");
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "2000000");
  EXPECT_EQ(energy(f, 1), "vitald_energy_joules_total{domain=\"psys\",package=\"0\",source=\"powercap\"} 2\n");
}

Tree cpuinfo_of(const char* vendor) {
  return {{"proc/cpuinfo", std::string("processor\t: 0\nvendor_id\t: ") + vendor + "\ncpu family\t: 6\n\n"}};
}

// Each die of a Xeon that is two in one socket has a register of its own. All CCDs of an EPYC read their package's,
// and its zone "core" is the register of one core: Linux 6.9 and 6.10 name zones by them.
TEST(EnergyMeters, DiesOfAPackageAreAddedUp) {
  struct Case {
    const char* vendor;
    const char* package;
    const char* core;
  };
  for (const auto& c : {Case{"GenuineIntel", "5", "7"}, Case{"AuthenticAMD", "2", nullptr},
                        Case{"HygonGenuine", "2", nullptr}, Case{"CentaurHauls", "2", "3"}}) {
    SCOPED_TRACE(c.vendor);
    auto tree = powercap({{"intel-rapl:0/name", "package-0-die-0"},
                          {"intel-rapl:0/energy_uj", "0"},
                          {"intel-rapl:0:0/name", "core"},
                          {"intel-rapl:0:0/energy_uj", "0"},
                          {"intel-rapl:1/name", "package-0-die-1"},
                          {"intel-rapl:1/energy_uj", "0"},
                          {"intel-rapl:1:0/name", "core"},
                          {"intel-rapl:1:0/energy_uj", "0"}});
    tree.merge(cpuinfo_of(c.vendor));
    CollectorFixture f("energy_meters", tree);
    energy(f, 0);
    f.write("sys/class/powercap/intel-rapl:0/energy_uj", "2000000");
    f.write("sys/class/powercap/intel-rapl:1/energy_uj", "3000000");
    f.write("sys/class/powercap/intel-rapl:0:0/energy_uj", "3000000");
    f.write("sys/class/powercap/intel-rapl:1:0/energy_uj", "4000000");
    std::string expected;
    if (c.core)
      expected =
          std::string("vitald_energy_joules_total{domain=\"core\",package=\"0\",source=\"powercap\"} ") + c.core + "\n";
    expected += std::string("vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} ") +
                c.package + "\n";
    EXPECT_EQ(energy(f, 1), expected);
  }
}

TEST(EnergyMeters, AZoneThatCannotBeReadCostsOnlyItself) {
  CollectorFixture f("energy_meters", powercap({{"intel-rapl:0/name", "package-0"},
                                                {"intel-rapl:0/energy_uj", "no"},
                                                {"intel-rapl:1/name", "package-1"},
                                                {"intel-rapl:1/energy_uj", "0"}}));
  const auto got = f.run();
  EXPECT_EQ(lines_with(got.text, "joules"),
            "vitald_energy_joules_total{domain=\"package\",package=\"1\",source=\"powercap\"} 0\n");
  ASSERT_EQ(got.problems.size(), 1U);
  EXPECT_THAT(got.problems[0], testing::HasSubstr("intel-rapl:0/energy_uj: 'no': a number of microjoules expected"));
}

// The twin counts where the zone that has the better access cannot be read, and that is told.
TEST(EnergyMeters, TheTwinStandsIn) {
  CollectorFixture f("energy_meters", powercap({{"intel-rapl:0/name", "package-0"},
                                                {"intel-rapl:0/energy_uj", "1000000"},
                                                {"intel-rapl-mmio:0/name", "package-0"},
                                                {"intel-rapl-mmio:0/energy_uj", "1000000"}}));
  energy(f, 0);
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "3000000");
  f.write("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "3000000");
  EXPECT_EQ(energy(f, 1), "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} 2\n");
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "broken");
  // What was counted stays, and that it is silent is told.
  for (int i = 0; i < 2; ++i) {
    f.clock.advance_ns(kS);
    const auto silent = f.run().text;
    EXPECT_EQ(lines_with(silent, "vitald_energy_joules_total"),
              "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} 2\n");
    EXPECT_EQ(lines_with(silent, "meter_up"), "vitald_energy_meter_up{domain=\"package\",package=\"0\"} 0\n");
  }
  f.clock.advance_ns(kS);
  const auto by_twin = f.run().text;
  EXPECT_EQ(lines_with(by_twin, "vitald_energy_joules_total"),
            "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap-mmio\"} 2\n");
  EXPECT_EQ(lines_with(by_twin, "meter_up"), "vitald_energy_meter_up{domain=\"package\",package=\"0\"} 1\n");
  f.write("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "4000000");
  f.clock.advance_ns(kS);
  const auto got = f.run().text;
  EXPECT_THAT(got, testing::HasSubstr("source=\"powercap-mmio\"} 3\n"));
  EXPECT_THAT(got, testing::HasSubstr("kind=\"source\",package=\"0\"} 1\n"));
}

TEST(EnergyMeters, NothingThatCounts) {
  EXPECT_EQ(run_collector("energy_meters", {}).error,
            "absent: /sys/class/powercap and the PMU power: this machine counts no energy");
  EXPECT_EQ(run_collector("energy_meters", powercap({{"dtpm:0/name", "cpu"}})).error,
            "absent: /sys/class/powercap and the PMU power: this machine counts no energy");
}

// A PMU as the kernel shows it, and pipes that say what its counters count.
class Pmu {
 public:
  explicit Pmu(const Tree& more = {}) {
    char name[] = "/tmp/vitald-test-XXXXXX";
    root_ = mkdtemp(name);
    const std::string power = "sys/bus/event_source/devices/power/";
    write(power + "type", "21\n");
    write(power + "cpumask", "0,2\n");
    write(power + "events/energy-pkg", "event=0x02\n");
    write(power + "events/energy-pkg.scale", "2.3283064365386962890625e-10\n");
    write(power + "events/energy-pkg.unit", "Joules\n");
    write(power + "events/energy-ram", "event=0x03\n");
    write(power + "events/energy-ram.scale", "2.3283064365386962890625e-10\n");
    write(power + "events/energy-ram.unit", "Joules\n");
    for (int cpu = 0; cpu < 4; ++cpu)
      write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/physical_package_id",
            cpu < 2 ? "0\n" : "1\n");
    for (const auto& [path, text] : more) write(path, text);
    host_ = std::make_unique<Host>(Host::Roots{root_ + "/proc", root_ + "/sys", root_, root_ + "/udev"}, &clock);
  }
  ~Pmu() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  void write(const std::string& path, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  void make() {
    auto made = make_energy_meters(*host_, [this](std::uint32_t type, std::uint64_t config, int cpu) -> Result<Fd> {
      EXPECT_EQ(type, 21U);
      if (denied) return fail(from_errno("perf_event_open of the PMU power (CAP_PERFMON is needed)", EACCES));
      int ends[2];
      EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
      counts_[{config, cpu}] = Fd(ends[1]);
      const auto at = first.find({config, cpu});
      say(config, cpu, at == first.end() ? 0 : at->second);
      return Fd(ends[0]);
    });
    ASSERT_TRUE(made) << made.error().text;
    collector = std::move(*made);
  }
  void say(std::uint64_t config, int cpu, double joules) {
    const auto count = static_cast<std::uint64_t>(joules * 4294967296.0);
    EXPECT_EQ(::write(counts_.at({config, cpu}).get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
  }
  void off(std::uint64_t config, int cpu) { counts_.at({config, cpu}).reset(); }
  std::string run(double seconds = 1) {
    clock.advance_ns(static_cast<std::int64_t>(seconds * 1e9));
    writer_.begin(clock.boot_ns());
    const auto outcome = collector->collect(writer_);
    EXPECT_TRUE(outcome);
    const auto batch = writer_.finish(outcome, 0, 0);
    problems.clear();
    for (const auto& p : batch->health.problems) problems.push_back(p.text);
    return exposition(*batch);
  }

  FakeClock clock;
  std::unique_ptr<Collector> collector;
  std::vector<std::string> problems;
  bool denied = false;
  std::map<std::pair<std::uint64_t, int>, double> first;

 private:
  std::string root_;
  std::unique_ptr<Host> host_;
  std::map<std::pair<std::uint64_t, int>, Fd> counts_;
  BatchWriter writer_{"energy_meters"};
};

TEST(EnergyMeters, StatusNamesAPlatformThatNobodyFeeds) {
  Pmu pmu(powercap({{"intel-rapl:0/name", "psys"}, {"intel-rapl:0/energy_uj", "0"}}));
  pmu.denied = true;
  pmu.make();
  pmu.run();
  EXPECT_THAT(pmu.collector->status(), testing::HasSubstr("psys 0: 0 so far"));
  pmu.write("sys/class/powercap/intel-rapl:0/energy_uj", "2000000");
  pmu.run();
  EXPECT_THAT(pmu.collector->status(), testing::HasSubstr("psys 0: powercap"));
}

TEST(EnergyMeters, PerfCountsBeforePowercap) {
  Pmu pmu(powercap({{"intel-rapl:0/name", "package-0"},
                    {"intel-rapl:0/energy_uj", "1000000"},
                    {"intel-rapl:0:0/name", "core"},
                    {"intel-rapl:0:0/energy_uj", "1000000"}}));
  pmu.make();
  pmu.run();
  pmu.say(2, 0, 100), pmu.say(2, 2, 50), pmu.say(3, 0, 4), pmu.say(3, 2, 5);
  EXPECT_EQ(lines_with(pmu.run(), "joules"),
            "vitald_energy_joules_total{domain=\"core\",package=\"0\",source=\"powercap\"} 0\n"
            "vitald_energy_joules_total{domain=\"dram\",package=\"0\",source=\"perf\"} 4\n"
            "vitald_energy_joules_total{domain=\"dram\",package=\"1\",source=\"perf\"} 5\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"perf\"} 100\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"1\",source=\"perf\"} 50\n");
  EXPECT_THAT(pmu.problems, testing::IsEmpty());
  EXPECT_EQ(pmu.collector->status(), "core 0: powercap, dram 0: perf, dram 1: perf, package 0: perf, package 1: perf");
}

TEST(EnergyMeters, WithoutTheRightToPerfPowercapCounts) {
  Pmu pmu(powercap({{"intel-rapl:0/name", "package-0"}, {"intel-rapl:0/energy_uj", "1000000"}}));
  pmu.denied = true;
  pmu.make();
  EXPECT_EQ(lines_with(pmu.run(), "joules"),
            "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"powercap\"} 0\n");
  // Nobody else counts these, and each says what it wants.
  EXPECT_THAT(pmu.problems, testing::SizeIs(3));
  EXPECT_THAT(pmu.problems, testing::Each(testing::HasSubstr("CAP_PERFMON is needed")));
}

// Linux 6.9 to 6.11 name a CPU of each die in `cpumask`: of Intel's each has a register of its own, AMD's is the
// package's.
TEST(EnergyMeters, PerfCountsEachDie) {
  for (const bool amd : {false, true}) {
    Pmu pmu(cpuinfo_of(amd ? "AuthenticAMD" : "GenuineIntel"));
    pmu.write("sys/bus/event_source/devices/power/cpumask", "0-2\n");
    pmu.make();
    pmu.run();
    const std::vector<int> asked = amd ? std::vector{0, 2} : std::vector{0, 1, 2};
    for (const auto cpu : asked) pmu.say(2, cpu, 100), pmu.say(3, cpu, 4);
    EXPECT_EQ(lines_with(pmu.run(), "domain=\"package\",package=\"0\",source"),
              "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"perf\"} " +
                  std::string(amd ? "100" : "200") + "\n");
    EXPECT_THAT(pmu.problems, testing::IsEmpty());
  }
}

// A counter whose CPU went is opened again, and its 0 is no wrap.
TEST(EnergyMeters, ACounterThatBeginsAgain) {
  Pmu pmu;
  pmu.make();
  pmu.run();
  const auto others = [&] { pmu.say(2, 2, 0), pmu.say(3, 0, 0), pmu.say(3, 2, 0); };
  pmu.say(2, 0, 100), others();
  EXPECT_THAT(pmu.run(), testing::HasSubstr("{domain=\"package\",package=\"0\",source=\"perf\"} 100\n"));
  pmu.off(2, 0), others();
  const auto silent = pmu.run();
  EXPECT_THAT(silent, testing::HasSubstr("{domain=\"package\",package=\"0\",source=\"perf\"} 100\n"));
  EXPECT_THAT(silent, testing::HasSubstr("vitald_energy_meter_up{domain=\"package\",package=\"0\"} 0\n"));
  EXPECT_THAT(pmu.problems, testing::ElementsAre(testing::HasSubstr("package on CPU 0 counts no more")));
  others();
  EXPECT_THAT(pmu.run(), testing::HasSubstr("{domain=\"package\",package=\"0\",source=\"perf\"} 100\n"));
  pmu.say(2, 0, 7), others();
  const auto got = pmu.run();
  EXPECT_THAT(got, testing::HasSubstr("{domain=\"package\",package=\"0\",source=\"perf\"} 107\n"));
  EXPECT_THAT(got, testing::HasSubstr("breaks_total{domain=\"package\",kind=\"reset\",package=\"0\"} 1\n"));
  EXPECT_THAT(got, testing::HasSubstr("breaks_total{domain=\"package\",kind=\"reset\",package=\"1\"} 0\n"));
}

// A counter that the kernel moves to another CPU begins anew, and that is told; those that stay lose nothing.
TEST(EnergyMeters, ACounterThatMovesCostsOnlyItself) {
  Pmu pmu;
  pmu.make();
  pmu.run();
  pmu.say(2, 0, 100), pmu.say(2, 2, 100), pmu.say(3, 0, 0), pmu.say(3, 2, 0);
  pmu.run();
  pmu.write("sys/bus/event_source/devices/power/cpumask", "1,2\n");
  pmu.say(2, 2, 150), pmu.say(3, 2, 0);
  auto got = pmu.run(61);
  EXPECT_THAT(got, testing::HasSubstr("{domain=\"package\",package=\"1\",source=\"perf\"} 150\n"));
  EXPECT_THAT(got, testing::HasSubstr("breaks_total{domain=\"package\",kind=\"reset\",package=\"0\"} 1\n"));
  EXPECT_THAT(got, testing::HasSubstr("breaks_total{domain=\"package\",kind=\"reset\",package=\"1\"} 0\n"));
  pmu.say(2, 1, 7), pmu.say(3, 1, 0), pmu.say(2, 2, 150), pmu.say(3, 2, 0);
  got = pmu.run();
  EXPECT_THAT(got, testing::HasSubstr("{domain=\"package\",package=\"0\",source=\"perf\"} 107\n"));
}

// A zone that comes or goes costs the others nothing; one that comes again has lost what was between, and tells.
TEST(EnergyMeters, ZonesThatComeAndGo) {
  CollectorFixture f("energy_meters", powercap({{"intel-rapl:0/name", "package-0"},
                                                {"intel-rapl:0/energy_uj", "0"},
                                                {"intel-rapl:1/name", "package-1"},
                                                {"intel-rapl:1/energy_uj", "0"}}));
  energy(f, 0);
  const auto package = [](const char* which, int joules) {
    return "vitald_energy_joules_total{domain=\"package\",package=\"" + std::string(which) +
           "\",source=\"powercap\"} " + std::to_string(joules) + "\n";
  };
  f.remove("sys/class/powercap/intel-rapl:1");
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "30000000");
  f.clock.advance_ns(61 * kS);
  const auto gone = f.run().text;
  EXPECT_EQ(lines_with(gone, "vitald_energy_joules_total"), package("0", 30) + package("1", 0));
  EXPECT_THAT(gone, testing::HasSubstr("vitald_energy_meter_up{domain=\"package\",package=\"1\"} 0\n"));
  f.write("sys/class/powercap/intel-rapl:1/name", "package-1");
  f.write("sys/class/powercap/intel-rapl:1/energy_uj", "9000000");
  f.write("sys/class/powercap/intel-rapl:0/energy_uj", "50000000");
  EXPECT_EQ(energy(f, 61), package("0", 50) + package("1", 0));
  f.write("sys/class/powercap/intel-rapl:1/energy_uj", "10000000");
  f.clock.advance_ns(kS);
  const auto got = f.run().text;
  EXPECT_EQ(lines_with(got, "vitald_energy_joules_total"), package("0", 50) + package("1", 1));
  EXPECT_THAT(got, testing::HasSubstr("breaks_total{domain=\"package\",kind=\"reset\",package=\"0\"} 0\n"));
  EXPECT_THAT(got, testing::HasSubstr("breaks_total{domain=\"package\",kind=\"reset\",package=\"1\"} 1\n"));
}

TEST(EnergyMeters, APmuThatIsNotUnderstood) {
  Pmu pmu(Tree{{"sys/bus/event_source/devices/power/events/energy-ram.unit", "Watts\n"}});
  pmu.make();
  EXPECT_EQ(lines_with(pmu.run(), "joules"),
            "vitald_energy_joules_total{domain=\"package\",package=\"0\",source=\"perf\"} 0\n"
            "vitald_energy_joules_total{domain=\"package\",package=\"1\",source=\"perf\"} 0\n");
  EXPECT_THAT(pmu.problems, testing::ElementsAre(testing::HasSubstr("energy-ram: 'event=0x03 2.32")));
}

}  // namespace
}  // namespace vitald
