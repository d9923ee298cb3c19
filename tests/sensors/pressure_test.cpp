// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

namespace {
constexpr const char* kSome = "some avg10=0.07 avg60=0.12 avg300=0.05 total=178413062\n";
constexpr const char* kFull = "full avg10=0.07 avg60=0.12 avg300=0.05 total=110706457\n";
const std::string kBoth = std::string(kSome) + kFull;
}  // namespace

TEST(Pressure, Cases) {
  struct Case {
    const char* name;
    Tree tree;
    const char *text, *error;
  };
  const Case cases[] = {
      {"all four",
       {{"proc/pressure/cpu", kBoth},
        {"proc/pressure/io", kBoth},
        {"proc/pressure/memory", kBoth},
        {"proc/pressure/irq", kFull}},
       "node_pressure_cpu_waiting_seconds_total 178.413062\nnode_pressure_io_waiting_seconds_total 178.413062\n"
       "node_pressure_io_stalled_seconds_total 110.706457\nnode_pressure_memory_waiting_seconds_total 178.413062\n"
       "node_pressure_memory_stalled_seconds_total 110.706457\nnode_pressure_irq_stalled_seconds_total 110.706457\n",
       ""},
      {"before 5.13 cpu has no full line, before 6.1 there is no irq",
       {{"proc/pressure/cpu", kSome}, {"proc/pressure/io", kBoth}, {"proc/pressure/memory", kBoth}},
       "node_pressure_cpu_waiting_seconds_total 178.413062\nnode_pressure_io_waiting_seconds_total 178.413062\n"
       "node_pressure_io_stalled_seconds_total 110.706457\nnode_pressure_memory_waiting_seconds_total 178.413062\n"
       "node_pressure_memory_stalled_seconds_total 110.706457\n",
       ""},
      {"one file is torn, the others count",
       {{"proc/pressure/cpu", kSome},
        {"proc/pressure/io", std::string(kSome) + "full avg10=0.1"},
        {"proc/pressure/memory", kBoth}},
       "node_pressure_cpu_waiting_seconds_total 178.413062\nnode_pressure_io_waiting_seconds_total 178.413062\n"
       "node_pressure_memory_waiting_seconds_total 178.413062\nnode_pressure_memory_stalled_seconds_total 110.706457\n",
       "malformed: /proc/pressure/io: 'some avg10=0.07 avg60=0.12 avg300=0.05 total=178413062\nfull avg10=0.1': "
       "a line 'full ... total=number' expected"},
      {"lines of a newer kernel",
       {{"proc/pressure/cpu", "most total=5\nsome avg5=1 total=2000000 max=9\n"}},
       "node_pressure_cpu_waiting_seconds_total 2\n",
       ""},
      {"not a number",
       {{"proc/pressure/irq", "full total=-1\n"}},
       "",
       "malformed: /proc/pressure/irq: 'full total=-1': a line 'full ... total=number' expected"},
      {"no PSI", {}, "", "absent: /proc/pressure/cpu: not there; needs Linux 4.20 with CONFIG_PSI"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("pressure", c.tree);
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
  }
}

}  // namespace vitald
