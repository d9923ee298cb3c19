// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "sensors/hwmon/chips.h"
#include "sensors/read/paced_read.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

// What stands below one hwmonN, without the time that reading took.
std::string of(const CollectorRun& run) {
  std::string out;
  for (std::size_t at = 0; at < run.text.size();) {
    const auto end = run.text.find('\n', at) + 1;
    const auto line = run.text.substr(at, end - at);
    if (!line.starts_with("vitald_")) out += line;
    at = end;
  }
  return out;
}

// {"temp1_input", "42000\n"} as sys/class/hwmon/hwmon0/temp1_input.
Tree chip(const Tree& files) {
  Tree tree;
  for (const auto& [name, content] : files) tree["sys/class/hwmon/hwmon0/" + name] = content;
  return tree;
}

TEST(Hwmon, Rules) {
  struct Case {
    const char* name;
    Tree files;
    const char *text, *types;
  };
  const Case cases[] = {
      {"a temperature with its limits; a compound alarm gets the unit of its limit",
       {{"name", "coretemp\n"},
        {"temp1_input", "55000\n"},
        {"temp1_max", "84000\n"},
        {"temp1_crit_alarm", "1\n"},
        {"temp1_alarm", "1\n"},
        {"temp1_fault", "0\n"},
        {"temp1_label", "Core 0\n"},
        {"temp1_type", "4\n"}},
       "node_hwmon_chip_names{chip=\"coretemp\",chip_name=\"coretemp\"} 1\n"
       "node_hwmon_sensor_label{chip=\"coretemp\",label=\"Core 0\",sensor=\"temp1\"} 1\n"
       "node_hwmon_temp_alarm{chip=\"coretemp\",sensor=\"temp1\"} 1\n"
       "node_hwmon_temp_crit_alarm_celsius{chip=\"coretemp\",sensor=\"temp1\"} 0.001\n"
       "node_hwmon_temp_fault{chip=\"coretemp\",sensor=\"temp1\"} 0\n"
       "node_hwmon_temp_celsius{chip=\"coretemp\",sensor=\"temp1\"} 55\n"
       "node_hwmon_temp_max_celsius{chip=\"coretemp\",sensor=\"temp1\"} 84\n"
       "node_hwmon_temp_type{chip=\"coretemp\",sensor=\"temp1\"} 4\n",
       "node_hwmon_temp_celsius gauge Hardware monitor for temperature (input)\n"},
      {"volts, amperes, the cpu's vid",
       {{"in0_input", "844\n"}, {"cpu0_vid", "1100\n"}, {"curr1_input", "1500\n"}},
       "node_hwmon_cpu_vid_volts{chip=\"hwmon0\",sensor=\"cpu0\"} 1.1\n"
       "node_hwmon_curr_amps{chip=\"hwmon0\",sensor=\"curr1\"} 1.5\n"
       "node_hwmon_in_volts{chip=\"hwmon0\",sensor=\"in0\"} 0.844\n",
       "node_hwmon_cpu_vid_volts gauge Hardware monitor for voltage (vid)\n"},
      {"power and energy",
       {{"energy1_input", "123456789\n"},
        {"power1_average", "250000000\n"},
        {"power1_average_interval", "1000\n"},
        {"power1_accuracy", "87000000\n"},
        {"power1_cap_alarm", "1\n"}},
       "node_hwmon_energy_joule_total{chip=\"hwmon0\",sensor=\"energy1\"} 123.456789\n"
       "node_hwmon_power_accuracy{chip=\"hwmon0\",sensor=\"power1\"} 87\n"
       "node_hwmon_power_average_watt{chip=\"hwmon0\",sensor=\"power1\"} 250\n"
       "node_hwmon_power_average_interval_seconds{chip=\"hwmon0\",sensor=\"power1\"} 1\n"
       "node_hwmon_power_cap_alarm_watt{chip=\"hwmon0\",sensor=\"power1\"} 1e-06\n",
       "node_hwmon_energy_joule_total counter Hardware monitor for joules used so far (input)\n"},
      {"a power meter with words, of which one is for the deriver host_power",
       {{"power1_average", "700000000\n"},
        {"power1_model_number", "\n"},
        {"power1_oem_info", "Module Power Socket 0\n"},
        {"power1_serial_number", "12a\n"}},
       "node_hwmon_power_average_watt{chip=\"hwmon0\",sensor=\"power1\"} 700\n",
       "node_hwmon_power_average_watt gauge Hardware monitor for power usage in watts (average)\n"},
      {"humidity is ten times too small, as there",
       {{"humidity1_input", "45000\n"}},
       "node_hwmon_humidity{chip=\"hwmon0\",sensor=\"humidity1\"} 0.045\n",
       "node_hwmon_humidity gauge Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity "
       "as a percentage) (input)\n"},
      {"fans and pwm; an input beside a bare file keeps its name",
       {{"fan1_input", "1200\n"},
        {"fan1_pulses", "2\n"},
        {"fan1_beep", "0\n"},
        {"pwm1", "128\n"},
        {"pwm1_enable", "2\n"},
        {"pwm1_input", "3\n"}},
       "node_hwmon_fan_beep_enabled{chip=\"hwmon0\",sensor=\"fan1\"} 0\n"
       "node_hwmon_fan_rpm{chip=\"hwmon0\",sensor=\"fan1\"} 1200\n"
       "node_hwmon_fan_pulses{chip=\"hwmon0\",sensor=\"fan1\"} 2\n"
       "node_hwmon_pwm{chip=\"hwmon0\",sensor=\"pwm1\"} 128\n"
       "node_hwmon_pwm_enable{chip=\"hwmon0\",sensor=\"pwm1\"} 2\n"
       "node_hwmon_pwm_input{chip=\"hwmon0\",sensor=\"pwm1\"} 3\n",
       "node_hwmon_fan_pulses gauge Hardware monitor fan element pulses\n"},
      {"files of the chip itself",
       {{"beep_enable", "1\n"}, {"vrm", "9.1\n"}, {"update_interval", "2000\n"}},
       "node_hwmon_beep_enabled{chip=\"hwmon0\",sensor=\"beep_enable0\"} 1\n"
       "node_hwmon_update_interval_seconds{chip=\"hwmon0\",sensor=\"update_interval0\"} 2\n"
       "node_hwmon_voltage_regulator_version{chip=\"hwmon0\",sensor=\"vrm0\"} 9.1\n",
       "node_hwmon_beep_enabled gauge Hardware beep enabled\n"},
      {"a frequency is named by its label, or not at all",
       {{"freq1_input", "371000000\n"}, {"freq1_label", "SCLK 1\n"}, {"freq2_input", "640000000\n"}},
       "node_hwmon_sensor_label{chip=\"hwmon0\",label=\"SCLK 1\",sensor=\"freq1\"} 1\n"
       "node_hwmon_freq_freq_mhz{chip=\"hwmon0\",sensor=\"sclk_1\"} 371\n",
       "node_hwmon_freq_freq_mhz gauge Hardware monitor for GPU frequency in MHz\n"},
      {"no numbers, other files, numbers that are too big",
       {{"temp1_input", "N/A\n"},
        {"temp2_input", ""},
        {"uevent", "x\n"},
        {"bogus1_input", "1\n"},
        {"temp3_input", "1e999\n"},
        {"temp99999999999_input", "1\n"},
        {"fan1_input", "0x10\n"},
        {"in1_input", "\xff\xfe"}},
       "",
       ""},
      {"a bare temp, as thermal zones have it",
       {{"temp", "30000\n"}},
       "node_hwmon_temp_celsius{chip=\"hwmon0\",sensor=\"temp0\"} 30\n",
       "node_hwmon_temp_celsius gauge Hardware monitor for temperature (input)\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("hwmon", chip(c.files));
    EXPECT_EQ(of(got), c.text);
    EXPECT_EQ(got.error, "");
    EXPECT_THAT(got.types, HasSubstr(c.types));
  }
}

TEST(Hwmon, ChipNames) {
  struct Case {
    const char* name;
    Tree tree;  // below sys
    std::vector<std::string> chips;
  };
  const Case cases[] = {
      {"by the device's path",
       {{"devices/platform/coretemp.0/hwmon/hwmon0/name", "coretemp\n"},
        {"devices/platform/coretemp.0/hwmon/hwmon0/device", "->../../../coretemp.0"},
        {"class/hwmon/hwmon0", "->../../devices/platform/coretemp.0/hwmon/hwmon0"}},
       {"platform_coretemp_0"}},
      {"by the name file", {{"class/hwmon/hwmon0/name", "NCT-6779\n"}}, {"nct_6779"}},
      {"by neither", {{"class/hwmon/hwmon12/temp1_input", "1\n"}}, {"hwmon12"}},
      {"two of one device, told apart by name",
       {{"devices/platform/asus/hwmon/hwmon0/name", "fans\n"},
        {"devices/platform/asus/hwmon/hwmon0/device", "->../../../asus"},
        {"devices/platform/asus/hwmon/hwmon1/name", "wmi-sensors\n"},
        {"devices/platform/asus/hwmon/hwmon1/device", "->../../../asus"},
        {"class/hwmon/hwmon0", "->../../devices/platform/asus/hwmon/hwmon0"},
        {"class/hwmon/hwmon1", "->../../devices/platform/asus/hwmon/hwmon1"}},
       {"platform_asus_fans", "platform_asus_wmi_sensors"}},
      {"two with one name, told apart by hwmonN",
       {{"class/hwmon/hwmon0/name", "drivetemp\n"},
        {"class/hwmon/hwmon1/name", "drivetemp\n"},
        {"class/hwmon/hwmon2/name", "nvme\n"}},
       {"drivetemp_hwmon0", "drivetemp_hwmon1", "nvme"}},
      {"a file is no chip", {{"class/hwmon/hwmon0/name", "a\n"}, {"class/hwmon/readme", "x"}}, {"a"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Tree tree;
    for (const auto& [path, content] : c.tree) tree["sys/" + path] = content;
    const CollectorFixture f("hwmon", tree);
    const auto found = list_hwmon_chips(f.root() + "/sys/class/hwmon");
    ASSERT_TRUE(found);
    std::vector<std::string> chips;
    for (const auto& chip : *found) chips.push_back(chip.chip);
    EXPECT_EQ(chips, c.chips);
  }
}

TEST(Hwmon, FileNames) {
  struct Case {
    const char *name, *type;
    int number;
    const char* property;
    bool valid;
  };
  const Case cases[] = {{"temp1_input", "temp", 1, "input", true},
                        {"temp10_crit_alarm", "temp", 10, "crit_alarm", true},
                        {"pwm1", "pwm", 1, "", true},
                        {"pwm1_auto_point2_temp", "pwm", 1, "auto_point2_temp", true},
                        {"temp", "temp", 0, "", true},
                        {"update_interval", "update_interval", 0, "", true},
                        {"in_5v", "in", 0, "5v", true},
                        {"temp1_", "", 0, "", false},
                        {"temp1x", "", 0, "", false},
                        {"1temp", "", 0, "", false},
                        {"temp99999999999_input", "", 0, "", false},
                        {"", "", 0, "", false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = split_sensor_file(c.name);
    EXPECT_EQ(got.valid, c.valid);
    EXPECT_EQ(got.type, c.type);
    EXPECT_EQ(got.number, c.number);
    EXPECT_EQ(got.property, c.property);
  }
  EXPECT_EQ(clean_metric_name("__NCT-6779\xc3\xa4\xc3\xa4.1_\n"), "nct_6779___1");
}

TEST(Hwmon, FilesOfTheDeviceCountToo) {
  const Tree tree = {{"sys/devices/platform/aem.0/hwmon/hwmon0/temp1_input", "1000\n"},
                     {"sys/devices/platform/aem.0/hwmon/hwmon0/device", "->../../../aem.0"},
                     {"sys/devices/platform/aem.0/power/control", "auto\n"},
                     {"sys/devices/platform/aem.0/power1_input", "4000000\n"},
                     {"sys/devices/platform/aem.0/temp1_input", "2000\n"},
                     {"sys/devices/platform/aem.0/power1_average", "3000000\n"},
                     {"sys/class/hwmon/hwmon0", "->../../devices/platform/aem.0/hwmon/hwmon0"}};
  EXPECT_EQ(of(run_collector("hwmon", tree)),
            "node_hwmon_power_average_watt{chip=\"platform_aem_0\",sensor=\"power1\"} 3\n"
            "node_hwmon_power_watt{chip=\"platform_aem_0\",sensor=\"power1\"} 4\n"
            "node_hwmon_temp_celsius{chip=\"platform_aem_0\",sensor=\"temp1\"} 2\n");
}

TEST(Hwmon, TheFolderPowerIsNoAttribute) {
  const auto got = run_collector(
      "hwmon", {{"sys/class/hwmon/hwmon0/power/control", "auto"}, {"sys/class/hwmon/hwmon0/power1_input", "4000000"}});
  EXPECT_THAT(got.types, HasSubstr("node_hwmon_power_watt gauge Hardware monitor for power usage in watts (input)\n"));
}

TEST(Hwmon, Filters) {
  const Tree tree = {{"sys/class/hwmon/hwmon0/name", "a"},
                     {"sys/class/hwmon/hwmon0/temp1_input", "1000"},
                     {"sys/class/hwmon/hwmon0/temp2_input", "2000"},
                     {"sys/class/hwmon/hwmon1/name", "b"},
                     {"sys/class/hwmon/hwmon1/temp1_input", "3000"}};
  struct Case {
    FlagValues flags;
    std::vector<const char*> has, lacks;
  };
  const Case cases[] = {
      {{{"collector.hwmon.chip-include", "^a$"}}, {"chip=\"a\""}, {"chip=\"b\""}},
      {{{"collector.hwmon.chip-exclude", "a"}}, {"chip=\"b\""}, {"chip=\"a\""}},
      {{{"collector.hwmon.sensor-exclude", "^a;temp2$"}},
       {"chip=\"a\",sensor=\"temp1\"", "chip=\"b\",sensor=\"temp1\""},
       {"temp2"}},
      {{{"collector.hwmon.sensor-include", "temp2"}}, {"chip=\"a\",sensor=\"temp2\""}, {"temp1"}},
  };
  for (const auto& c : cases) {
    const auto text = run_collector("hwmon", tree, c.flags).text;
    for (const auto* part : c.has) EXPECT_THAT(text, HasSubstr(part));
    for (const auto* part : c.lacks) EXPECT_THAT(text, Not(HasSubstr(part)));
  }
}

TEST(Hwmon, FollowsTheMachine) {
  CollectorFixture f("hwmon", {{"sys/class/hwmon/hwmon0/name", "a"}, {"sys/class/hwmon/hwmon0/temp1_input", "1000"}});
  EXPECT_THAT(f.run().text, HasSubstr("node_hwmon_temp_celsius{chip=\"a\",sensor=\"temp1\"} 1\n"));
  f.write("sys/class/hwmon/hwmon0/temp1_input", "2000");
  EXPECT_THAT(f.run().text, HasSubstr("node_hwmon_temp_celsius{chip=\"a\",sensor=\"temp1\"} 2\n"));
  // A second chip of that name renames the first.
  f.write("sys/class/hwmon/hwmon1/temp1_input", "3000");
  f.write("sys/class/hwmon/hwmon1/name", "a");
  auto text = f.run().text;
  EXPECT_THAT(text, HasSubstr("{chip=\"a_hwmon0\",sensor=\"temp1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("{chip=\"a_hwmon1\",sensor=\"temp1\"} 3\n"));
  // A file that appears is found within a minute.
  f.remove("sys/class/hwmon/hwmon1");
  f.run();
  f.write("sys/class/hwmon/hwmon0/fan1_input", "900");
  EXPECT_THAT(f.run().text, Not(HasSubstr("fan")));
  f.clock.advance_ns(60'000'000'000);
  EXPECT_THAT(f.run().text, HasSubstr("node_hwmon_fan_rpm{chip=\"a\",sensor=\"fan1\"} 900\n"));
  f.remove("sys/class/hwmon/hwmon0");
  EXPECT_EQ(f.run().text, "");
}

TEST(Hwmon, NothingThere) {
  EXPECT_THAT(run_collector("hwmon", {}).error, HasSubstr("absent: /sys/class/hwmon: No such file"));
  EXPECT_EQ(run_collector("hwmon", {{"sys/class/hwmon/x", "->gone"}}).text, "");
}

// A device on a clock of its own.
std::int64_t device_ns = 0;

TEST(PacedRead, SlowOnesAreReadRarely) {
  struct Step {
    std::int64_t at_s, cost_ms;
    int value;  // what values() has then: the number of the read
  };
  // Quick: every time. 60 ms: again after 10 s. 2 s: again after 60 s.
  const Step steps[] = {{0, 1, 1},     {1, 1, 2},  {2, 60, 3}, {5, 1, 3}, {11, 1, 3},
                        {12, 2000, 4}, {60, 1, 4}, {72, 1, 5}, {73, 1, 6}};
  HelperPool helpers(1);
  int reads = 0;
  std::int64_t cost = 0;
  PacedRead<int> device([&](int& out) { out = ++reads, device_ns += cost; }, [] { return device_ns; });
  for (const auto& step : steps) {
    SCOPED_TRACE(step.at_s);
    cost = step.cost_ms * kMillisecond;
    PacedRound round(helpers, step.at_s * kSecond);
    round.start(device);
    round.wait();
    device.settle(step.at_s * kSecond);
    ASSERT_NE(device.values(step.at_s * kSecond), nullptr);
    EXPECT_EQ(*device.values(step.at_s * kSecond), step.value);
  }
  EXPECT_EQ(reads, 6);
  EXPECT_EQ(device.read_ns(), kMillisecond);
}

TEST(PacedRead, ASlowAttributeIsPacedAlone) {
  struct Values {
    int quick = 0, slow = 0;
    std::int64_t paced_ns = 0;
  };
  HelperPool helpers(1);
  int quick_reads = 0, slow_reads = 0;
  std::int64_t due_ns = 0;
  const auto now = [] { return device_ns; };
  PacedRead<Values> device(
      [&](Values& out) {
        out.paced_ns = 0;
        out.quick = ++quick_reads;
        out.slow = slow_reads;
        if (device_ns < due_ns) return;
        device_ns += 2 * kSecond;
        out.slow = ++slow_reads;
        out.paced_ns = 2 * kSecond;
        due_ns = device_ns + pause_after_ns(out.paced_ns);
      },
      now);
  for (int at_s = 0; at_s <= 120; ++at_s) {
    device_ns = at_s * kSecond;
    PacedRound round(helpers, at_s * kSecond);
    round.start(device);
    round.wait();
    device.settle(at_s * kSecond);
    ASSERT_NE(device.values(at_s * kSecond), nullptr);
    EXPECT_EQ(device.values(at_s * kSecond)->quick, at_s + 1);
    EXPECT_EQ(device.values(at_s * kSecond)->slow, at_s < 62 ? 1 : 2) << at_s;
  }
}

TEST(PacedRead, OneThatHangsHoldsNobodyUp) {
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  HelperPool helpers(1);
  int begun = 0;
  PacedRead<int> hanging([&begun, fd = gate[0]](int& out) {
    ++begun;
    char c;
    out = static_cast<int>(read(fd, &c, 1));
  });
  PacedRead<int> good([](int& out) { out = 7; });
  helpers.wait({}, 0);
  for (int i = 0; i < 3; ++i) {
    hanging.start(helpers, i);
    good.start(helpers, i);
    if (good.pending()) helpers.wait(std::span(&good.pending(), 1), kSecond);
    good.settle(i);
    EXPECT_EQ(hanging.values(i), nullptr);
    ASSERT_NE(good.values(i), nullptr);
    EXPECT_EQ(*good.values(i), 7);
  }
  EXPECT_EQ(hanging.waiting_ns(2), 2);
  ASSERT_EQ(write(gate[1], "x", 1), 1);
  helpers.wait(std::span(&hanging.pending(), 1), 10 * kSecond);
  hanging.settle(3);
  EXPECT_EQ(*hanging.values(3), 1);
  EXPECT_EQ(begun, 1);
  close(gate[0]), close(gate[1]);
}

TEST(PacedRead, OneThatHangsHasNoValuesAfterAMinute) {
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  HelperPool helpers(1);
  int reads = 0;
  // 60 ms, so a helper does it from the second read on, which does not return.
  PacedRead<int> device(
      [&reads, fd = gate[0]](int& out) {
        out = ++reads;
        device_ns += 60 * kMillisecond;
        char c;
        if (reads == 2) out = 10 * static_cast<int>(read(fd, &c, 1));
      },
      [] { return device_ns; });
  device.start(helpers, 0);
  helpers.wait(std::span(&device.pending(), 1), 10 * kSecond);
  device.settle(0);
  device.start(helpers, 10 * kSecond);
  ASSERT_NE(device.pending(), nullptr);
  device.settle(70 * kSecond);
  ASSERT_NE(device.values(70 * kSecond), nullptr);
  EXPECT_EQ(*device.values(70 * kSecond), 1);
  EXPECT_EQ(device.values(70 * kSecond + 1), nullptr);
  ASSERT_EQ(write(gate[1], "x", 1), 1);
  helpers.wait(std::span(&device.pending(), 1), 10 * kSecond);
  device.settle(80 * kSecond);
  ASSERT_NE(device.values(80 * kSecond), nullptr);
  EXPECT_EQ(*device.values(80 * kSecond), 10);
  close(gate[0]), close(gate[1]);
}

// A process' memory cannot be read at 0 (EIO), as a chip that does not answer on its bus.
TEST(Hwmon, AnInputThatCannotBeReadIsTold) {
  const auto got = run_collector("hwmon", {{"sys/class/hwmon/hwmon0/name", "lm75\n"},
                                           {"sys/class/hwmon/hwmon0/temp1_input", "30000\n"},
                                           {"sys/class/hwmon/hwmon0/temp2_input", "->/proc/self/mem"}});
  EXPECT_EQ(lines_with(got.text, "temp_celsius"), "node_hwmon_temp_celsius{chip=\"lm75\",sensor=\"temp1\"} 30\n");
  ASSERT_EQ(got.problems.size(), 1U);
  EXPECT_THAT(got.problems[0], HasSubstr("temp2_input: Input/output error"));
}

TEST(Hwmon, WhatFirmwareCallsAMeter) {
  const auto got = run_collector("hwmon", {{"sys/class/hwmon/hwmon0/name", "power_meter\n"},
                                           {"sys/class/hwmon/hwmon0/power1_average", "700000000\n"},
                                           {"sys/class/hwmon/hwmon0/power1_oem_info", "Module Power Socket 0\n"},
                                           {"sys/class/hwmon/hwmon0/power1_accuracy", "98.0%\n"},
                                           {"sys/class/hwmon/hwmon0/power1_serial_number", "12a\n"}});
  EXPECT_EQ(lines_with(got.text, "oem_info"),
            "vitald_hwmon_oem_info{chip=\"power_meter\",sensor=\"power1\",text=\"Module Power Socket 0\"} 1\n");
  EXPECT_TRUE(got.problems.empty()) << got.problems[0];
}

// ACPI's power meter, as Linux 6.1 has it.
TEST(Hwmon, AChipWhoseNameStandsWithItsDevice) {
  const auto got =
      run_collector("hwmon", {{"sys/devices/LNXSYBUS:00/ACPI000D:00/name", "power_meter\n"},
                              {"sys/devices/LNXSYBUS:00/ACPI000D:00/power1_average", "215000000\n"},
                              {"sys/devices/LNXSYBUS:00/ACPI000D:00/hwmon/hwmon1/device", "->../.."},
                              {"sys/class/hwmon/hwmon1", "->../../devices/LNXSYBUS:00/ACPI000D:00/hwmon/hwmon1"}});
  EXPECT_EQ(lines_with(got.text, "name"),
            "vitald_hwmon_device_name{chip=\"lnxsybus:00_acpi000d:00\",chip_name=\"power_meter\"} 1\n");
  EXPECT_EQ(lines_with(got.text, "watt"),
            "node_hwmon_power_average_watt{chip=\"lnxsybus:00_acpi000d:00\",sensor=\"power1\"} 215\n");
}

TEST(Hwmon, Aliases) {
  const Tree tree = {{"sys/class/hwmon/hwmon0/name", "coretemp\n"},
                     {"sys/class/hwmon/hwmon0/temp1_input", "55000\n"},
                     {"sys/class/hwmon/hwmon0/temp2_input", "50000\n"}};
  struct Case {
    const char* name;
    FlagValues flags;
    const char *text, *error;
  };
  const Case cases[] = {
      {"a sensor that there is, and one that there is not",
       {{"collector.hwmon.alias", "coretemp;temp1=cpu=package"}, {"collector.hwmon.alias", "nvme;temp1=disk"}},
       "vitald_sensor_alias{alias=\"cpu=package\",chip=\"coretemp\",sensor=\"temp1\"} 1\n",
       ""},
      {"no sensor",
       {{"collector.hwmon.alias", "coretemp=x"}},
       "",
       "malformed: collector.hwmon.alias: 'coretemp=x': CHIP;SENSOR=NAME expected"},
      {"no name",
       {{"collector.hwmon.alias", "coretemp;temp1="}},
       "",
       "malformed: collector.hwmon.alias: 'coretemp;temp1=': CHIP;SENSOR=NAME expected"},
      {"two names",
       {{"collector.hwmon.alias", "coretemp;temp1=a"}, {"collector.hwmon.alias", "coretemp;temp1=b"}},
       "",
       "malformed: collector.hwmon.alias: 'coretemp;temp1=b': one name for each sensor expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("hwmon", tree, c.flags);
    EXPECT_EQ(lines_with(got.text, "alias"), c.text);
    EXPECT_EQ(got.error, c.error);
  }
}

}  // namespace
}  // namespace vitald
