// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Cpufreq, Cases) {
  check_cases("cpufreq",
              {
                  {"two CPUs",
                   {{"sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_cur_freq", "1236258\n"},
                    {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"},
                    {"sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors", "performance powersave\n"},
                    {"sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq", "4100000\n"},
                    {"sys/devices/system/cpu/cpufreq/x", ""}},
                   "node_cpu_frequency_hertz{cpu=\"0\"} 1236258000\n"
                   "node_cpu_scaling_governor{cpu=\"0\",governor=\"performance\"} 0\n"
                   "node_cpu_scaling_governor{cpu=\"0\",governor=\"powersave\"} 1\n"
                   "node_cpu_scaling_frequency_max_hertz{cpu=\"1\"} 4100000000\n",
                   ""},
                  {"not a number", {{"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "<unknown>\n"}}, "", ""},
                  {"no CPU folder", {}, "", ""},
              });
}

TEST(Cpufreq, LimitsAreReadNowAndThen) {
  const std::string folder = "sys/devices/system/cpu/cpu0/cpufreq/";
  CollectorFixture fixture("cpufreq", {{folder + "cpuinfo_max_freq", "3900000\n"},
                                       {folder + "scaling_max_freq", "3900000\n"},
                                       {folder + "scaling_available_governors", "a b\n"},
                                       {folder + "scaling_governor", "a\n"}});
  fixture.run();
  fixture.write(folder + "cpuinfo_max_freq", "2600000\n");
  fixture.write(folder + "scaling_max_freq", "2600000\n");
  fixture.write(folder + "scaling_governor", "b\n");
  fixture.clock.advance_ns(59 * std::int64_t{1'000'000'000});
  EXPECT_EQ(fixture.run().text,
            "node_cpu_frequency_max_hertz{cpu=\"0\"} 3900000000\n"
            "node_cpu_scaling_frequency_max_hertz{cpu=\"0\"} 2600000000\n"
            "node_cpu_scaling_governor{cpu=\"0\",governor=\"a\"} 0\n"
            "node_cpu_scaling_governor{cpu=\"0\",governor=\"b\"} 1\n");
  fixture.clock.advance_ns(2 * std::int64_t{1'000'000'000});
  EXPECT_EQ(lines_with(fixture.run().text, "frequency_max"),
            "node_cpu_frequency_max_hertz{cpu=\"0\"} 2600000000\n"
            "node_cpu_scaling_frequency_max_hertz{cpu=\"0\"} 2600000000\n");
}

}  // namespace vitald
