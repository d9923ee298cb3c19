// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string>
#include <system_error>

#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

const FlagValues kPerCpu = {{"collector.cpuidle.per-cpu", "true"}};

std::string state_file(int cpu, int state, const char* file) {
  return fmt::format("sys/devices/system/cpu/cpu{}/cpuidle/state{}/{}", cpu, state, file);
}

const Tree kTwoCpus = {{state_file(0, 0, "name"), "POLL\n"},
                       {state_file(0, 0, "time"), "2500000\n"},
                       {state_file(0, 0, "usage"), "17\n"},
                       {state_file(0, 1, "name"), "C1_ACPI\n"},
                       {state_file(0, 1, "time"), "18446744073709\n"},
                       {state_file(0, 1, "usage"), "3\n"},
                       {state_file(1, 0, "name"), "POLL\n"},
                       {state_file(1, 0, "time"), "500000\n"},
                       {state_file(1, 0, "usage"), "4\n"},
                       {"sys/devices/system/cpu/cpu2/online", "1\n"},
                       {"sys/devices/system/cpu/cpuidle/current_driver", "intel_idle\n"}};

const Tree kTwoOfOneName = {{state_file(0, 1, "name"), "C1\n"},
                            {state_file(0, 1, "time"), "1000000\n"},
                            {state_file(0, 2, "name"), "C1\n"},
                            {state_file(0, 2, "time"), "2000000\n"}};

TEST(Cpuidle, Cases) {
  check_cases("cpuidle",
              {
                  {"all CPUs together, one without states", kTwoCpus,
                   "vitald_cpu_idle_state_seconds_total{state=\"C1_ACPI\"} 18446744.073709\n"
                   "vitald_cpu_idle_state_seconds_total{state=\"POLL\"} 3\n"
                   "vitald_cpu_idle_state_entries_total{state=\"C1_ACPI\"} 3\n"
                   "vitald_cpu_idle_state_entries_total{state=\"POLL\"} 21\n"},
                  {"each CPU", kTwoCpus,
                   "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"POLL\"} 2.5\n"
                   "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"C1_ACPI\"} 18446744.073709\n"
                   "vitald_cpu_idle_state_seconds_total{cpu=\"1\",state=\"POLL\"} 0.5\n"
                   "vitald_cpu_idle_state_entries_total{cpu=\"0\",state=\"POLL\"} 17\n"
                   "vitald_cpu_idle_state_entries_total{cpu=\"0\",state=\"C1_ACPI\"} 3\n"
                   "vitald_cpu_idle_state_entries_total{cpu=\"1\",state=\"POLL\"} 4\n",
                   "", kPerCpu},
                  {"two of one name", kTwoOfOneName,
                   "vitald_cpu_idle_state_seconds_total{state=\"C1\"} 1\n"
                   "vitald_cpu_idle_state_seconds_total{state=\"state2\"} 2\n"},
                  {"two of one name, of each CPU", kTwoOfOneName,
                   "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"C1\"} 1\n"
                   "vitald_cpu_idle_state_seconds_total{cpu=\"0\",state=\"state2\"} 2\n",
                   "", kPerCpu},
                  {"a state without a name is called by its folder",
                   {{state_file(0, 2, "name"), "\n"}, {state_file(0, 2, "time"), "1\n"}},
                   "vitald_cpu_idle_state_seconds_total{state=\"state2\"} 1e-06\n"},
                  {"not a number", {{state_file(0, 0, "name"), "POLL\n"}, {state_file(0, 0, "time"), "many\n"}}, ""},
                  {"no count is negative",
                   {{state_file(0, 0, "name"), "POLL\n"},
                    {state_file(0, 0, "time"), "1000000\n"},
                    {state_file(0, 0, "usage"), "-1\n"}},
                   "vitald_cpu_idle_state_seconds_total{state=\"POLL\"} 1\n"},
                  {"a machine without", {{"sys/devices/system/cpu/cpu0/online", "1\n"}}, ""},
                  {"no CPU folder", {}, ""},
              });
}

// As they stood when it was there; what is new of the others comes on top.
TEST(Cpuidle, ASumDoesNotFallWhenACpuIsTakenAway) {
  CollectorFixture fixture("cpuidle", kTwoCpus);
  fixture.run();
  for (const auto* file : {"name", "time", "usage"}) fixture.remove(state_file(1, 0, file));
  fixture.write(state_file(0, 0, "time"), "2600000\n");
  EXPECT_EQ(lines_with(fixture.run().text, "seconds_total{state=\"POLL\"}"),
            "vitald_cpu_idle_state_seconds_total{state=\"POLL\"} 3.1\n");
}

// 150 CPUs of two states are 600 files.
TEST(Cpuidle, ManyCpus) {
  Tree tree;
  for (int cpu = 0; cpu < 150; ++cpu)
    for (int state = 0; state < 2; ++state) {
      tree[state_file(cpu, state, "name")] = fmt::format("C{}\n", state);
      tree[state_file(cpu, state, "time")] = "1000000\n";
      tree[state_file(cpu, state, "usage")] = "2\n";
    }
  CollectorFixture fixture("cpuidle", tree);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(fixture.run().text,
              "vitald_cpu_idle_state_seconds_total{state=\"C0\"} 150\n"
              "vitald_cpu_idle_state_seconds_total{state=\"C1\"} 150\n"
              "vitald_cpu_idle_state_entries_total{state=\"C0\"} 300\n"
              "vitald_cpu_idle_state_entries_total{state=\"C1\"} 300\n");
  }
}

}  // namespace
}  // namespace vitald
