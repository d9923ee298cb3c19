// SPDX-License-Identifier: Apache-2.0
// How fast CPUs ran, by counters that a test feeds, of CPUs that go off and come.
#include "sensors/power/cpu_speed.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

constexpr std::uint32_t kMsr = 9;
constexpr std::uint64_t kAperf = 1, kMperf = 2;
using Event = std::tuple<std::uint32_t, std::uint64_t, int>;  // type, config, CPU

// Counters are pipes that get a count for each read; one that is off has its end closed.
class Counters {
 public:
  OpenPerfEvent opener() {
    return [this](std::uint32_t type, std::uint64_t config, int cpu) -> Result<Fd> {
      if (!types_.contains(type) || off_.contains(cpu)) return fail(Errc::absent, "no such event");
      int ends[2];
      if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail(from_errno("pipe", errno));
      write_[{type, config, cpu}] = Fd(ends[1]);
      return Fd(ends[0]);
    };
  }
  void has(std::uint32_t type) { types_.insert(type); }
  void off(int cpu) {
    off_.insert(cpu);
    std::erase_if(write_, [cpu](const auto& w) { return std::get<2>(w.first) == cpu; });
  }
  void on(int cpu) { off_.erase(cpu); }
  void count(std::uint32_t type, std::uint64_t config, int cpu, std::uint64_t value) {
    const auto at = write_.find({type, config, cpu});
    ASSERT_NE(at, write_.end());
    ASSERT_EQ(::write(at->second.get(), &value, sizeof value), static_cast<ssize_t>(sizeof value));
  }

 private:
  std::set<std::uint32_t> types_;
  std::set<int> off_;
  std::map<Event, Fd> write_;
};

const Tree kMeter{{"sys/class/powercap/intel-rapl:0/name", "package-0\n"}};
Tree registers() {
  Tree tree;
  tree["sys/bus/event_source/devices/msr/type"] = "9\n";
  tree["sys/bus/event_source/devices/msr/events/aperf"] = "event=0x01\n";
  tree["sys/bus/event_source/devices/msr/events/mperf"] = "event=0x02\n";
  return tree;
}
Tree with_msr() {
  auto tree = registers();
  tree.insert(kMeter.begin(), kMeter.end());
  return tree;
}

std::unique_ptr<CpuSpeed> made(const CollectorFixture& tree, std::size_t cpus, const OpenPerfEvent& open) {
  const Host host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""});
  return CpuSpeed::make(host, cpus, open);
}

TEST(CpuSpeed, ByWhat) {
  struct Case {
    const char* name;
    Tree tree;
    std::vector<std::uint32_t> types;
    std::string weight;  // empty: none
  };
  for (const auto& c : {Case{"the PMU, whose counters are shared", kMeter, {PERF_TYPE_HARDWARE}, ""},
                        Case{"both: the registers", with_msr(), {PERF_TYPE_HARDWARE, kMsr}, "aperf"},
                        Case{"the registers", with_msr(), {kMsr}, "aperf"},
                        Case{"registers that may not be opened", with_msr(), {}, ""}, Case{"neither", kMeter, {}, ""},
                        Case{"nothing counts energy", registers(), {kMsr}, ""}}) {
    SCOPED_TRACE(c.name);
    Counters counters;
    for (const auto type : c.types) counters.has(type);
    const auto speed = made(CollectorFixture("loadavg", c.tree), 2, counters.opener());
    EXPECT_EQ(speed ? std::string(speed->weight()) : "", c.weight);
  }
  EXPECT_EQ(made(CollectorFixture("loadavg", with_msr()), 2, nullptr), nullptr) << "another machine's files";
}

TEST(CpuSpeed, Cases) {
  Counters counters;
  counters.has(kMsr);
  const auto speed = made(CollectorFixture("loadavg", with_msr()), 2, counters.opener());
  ASSERT_TRUE(speed);
  EXPECT_EQ(speed->of(0), 1);
  struct Step {
    const char* name;
    std::uint64_t ran[2], nominal[2];
    double want[2];
  };
  for (const auto& step : std::initializer_list<Step>{
           {"nothing is known yet", {5, 5}, {5, 5}, {1, 1}},
           {"one is fast, one is slow", {3005, 505}, {2005, 1005}, {1.5, 0.5}},
           {"one was halted all the time", {3005, 1505}, {2005, 2005}, {1, 1}},
           {"not counted alike", {103'005, 1506}, {2006, 3005}, {1, 1}},
           {"began anew", {5, 3506}, {5, 5005}, {1, 1}},
           {"and goes on", {2005, 5506}, {1005, 7005}, {2, 1}},
       }) {
    SCOPED_TRACE(step.name);
    for (int cpu = 0; cpu < 2; ++cpu) {
      counters.count(kMsr, kAperf, cpu, step.ran[cpu]);
      counters.count(kMsr, kMperf, cpu, step.nominal[cpu]);
    }
    speed->read();
    for (std::size_t cpu = 0; cpu < 2; ++cpu) EXPECT_DOUBLE_EQ(speed->of(cpu), step.want[cpu]) << cpu;
  }
  EXPECT_EQ(speed->of(7), 1);
}

TEST(CpuSpeed, ACpuThatGoesOffAndComes) {
  Counters counters;
  counters.has(kMsr);
  const auto speed = made(CollectorFixture("loadavg", with_msr()), 2, counters.opener());
  ASSERT_TRUE(speed);
  const auto count = [&](int cpu, std::uint64_t ran, std::uint64_t nominal) {
    counters.count(kMsr, kAperf, cpu, ran);
    counters.count(kMsr, kMperf, cpu, nominal);
  };
  count(0, 1, 1), count(1, 1, 1);
  speed->read();
  counters.off(1);
  count(0, 201, 101);
  speed->read();
  EXPECT_DOUBLE_EQ(speed->of(0), 2);
  EXPECT_DOUBLE_EQ(speed->of(1), 1);
  count(0, 401, 201);
  speed->read();  // off still
  counters.on(1);
  count(0, 701, 301);
  speed->read();  // opened, and it has not counted yet
  EXPECT_DOUBLE_EQ(speed->of(0), 3);
  EXPECT_DOUBLE_EQ(speed->of(1), 1);
}

TEST(PacedTime, EachPartAtTheSpeedOfThen) {
  PacedTime time;
  struct Step {
    const char* name;
    std::size_t place;
    std::uint64_t ns;
    double speed;
    std::uint64_t want;
  };
  for (const auto& step : std::initializer_list<Step>{{"begins", 3, 1000, 1, 1000},
                                                      {"at twice the clock", 3, 1500, 2, 2000},
                                                      {"stands still, whatever the clock", 3, 1500, 3, 2000},
                                                      {"at half", 3, 2500, 0.5, 2500},
                                                      {"another place begins at 0", 0, 100, 1.5, 150},
                                                      {"began anew", 3, 10, 1, 2510}})
    EXPECT_EQ(time.of(step.place, step.ns, step.speed), step.want) << step.name;
}

}  // namespace
}  // namespace vitald
