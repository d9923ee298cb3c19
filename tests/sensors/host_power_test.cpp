// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/sensors/deriver_cases.h"

namespace vitald {
namespace {

std::string host(double watts, double joules, const std::string& source, int changes = 0) {
  const auto text = [](double v) { return fmt::format("{}", v); };
  return "vitald_host_power_watts{source=\"" + source + "\"} " + text(watts) +
         "\nvitald_host_energy_joules_total{source=\"" + source + "\"} " + text(joules) +
         "\nvitald_host_power_source_changes_total " + text(changes) + "\n";
}
std::string changes(int n) { return fmt::format("vitald_host_power_source_changes_total {}\n", n); }

std::string meter(double watts, const char* chip = "acpi_0", const char* name = "power_meter") {
  return fmt::format(
      "node_hwmon_chip_names{{chip=\"{0}\",chip_name=\"{1}\"}} 1\n"
      "node_hwmon_power_average_watt{{chip=\"{0}\",sensor=\"power1\"}} {2}\n",
      chip, name, watts);
}
std::string rapl(const char* domain, const char* package, double joules, const char* source = "perf") {
  return fmt::format("vitald_energy_joules_total{{domain=\"{}\",package=\"{}\",source=\"{}\"}} {}\n", domain, package,
                     source, joules);
}
std::string up(const char* package, int is) {
  return fmt::format("vitald_energy_meter_up{{domain=\"package\",package=\"{}\"}} {}\n", package, is);
}
std::string battery(const char* status, const char* more) {
  return fmt::format("node_power_supply_info{{power_supply=\"BAT0\",type=\"Battery\",status=\"{}\"}} 1\n{}", status,
                     more);
}

// A text file of the rack's meter, when it was written.
std::string written(double at_s) {
  return fmt::format("rack_watts 310\nvitald_textfile_power_mtime_seconds {}\n", at_s);
}
// One for each of two feeds.
std::string feeds(double a_at_s, double b_at_s) {
  return fmt::format(
      "rack_watts{{feed=\"a\"}} 200\nrack_watts{{feed=\"b\"}} 150\n"
      "vitald_textfile_power_mtime_seconds{{feed=\"a\"}} {}\n"
      "vitald_textfile_power_mtime_seconds{{feed=\"b\"}} {}\n",
      a_at_s, b_at_s);
}

// What is told of a series that does not count.
constexpr auto *kOld = "its text file was not written for more than 900s: who writes it has died",
               *kOldMinute = "its text file was not written for more than 60s: who writes it has died";
std::string silent(std::string_view labels, std::string_view why) {
  return fmt::format("problem: rack_watts{} is silent: {}\n", labels, why);
}

std::string away(int outlet) { return silent(fmt::format("{{outlet={}}}", outlet), "no longer there, or no power"); }

TEST(HostPower, Cases) {
  check_deriver(
      "host_power",
      {
          {"no meter, no number", {{1, "node_load1 3\n", ""}, {2, "node_load1 3\n", ""}}},
          {"the platform's meter: power over time is energy",
           {{10, meter(300), host(300, 0, "acpi_power_meter")},
            {20, meter(400), host(400, 3500, "acpi_power_meter")},
            {30, meter(400), host(400, 7500, "acpi_power_meter")}}},
          {"a meter whose name stands with its device",
           {{1,
             "vitald_hwmon_device_name{chip=\"lnxsybus:00_acpi000d:00\",chip_name=\"power_meter\"} 1\n"
             "node_hwmon_power_average_watt{chip=\"lnxsybus:00_acpi000d:00\",sensor=\"power1\"} 215\n",
             host(215, 0, "acpi_power_meter")}}},
          {"two feeds are added up", {{1, meter(300) + meter(200, "acpi_1"), host(500, 0, "acpi_power_meter")}}},
          {"one of two feeds that cannot be read is no half, until it has been away for a minute",
           {{1, meter(150) + meter(150, "acpi_1"), host(300, 0, "acpi_power_meter")},
            {2, meter(150), changes(0)},
            {3, meter(150) + meter(150, "acpi_1"), host(300, 600, "acpi_power_meter")},
            {4, meter(200), changes(0)},
            {62, meter(200), changes(0)},
            {63, meter(200), host(200, 15600, "acpi_power_meter")},
            {64, meter(200), host(200, 15800, "acpi_power_meter")}}},
          {"a feed that stands by is there",
           {{1, meter(300) + meter(0, "acpi_1"), host(300, 0, "acpi_power_meter")},
            {2, meter(150) + meter(150, "acpi_1"), host(300, 300, "acpi_power_meter")}}},
          {"one that falls to 0 is missing, for a minute; then it stands by",
           {{1, meter(150) + meter(150, "acpi_1"), host(300, 0, "acpi_power_meter")},
            {2, meter(150) + meter(0, "acpi_1"), changes(0)},
            {60, meter(300) + meter(0, "acpi_1"), changes(0)},
            {61, meter(300) + meter(0, "acpi_1"), host(300, 18000, "acpi_power_meter")}}},
          {"nor an outlet that the operator's textfile has not got for once",
           {{1, "rack_watts{outlet=\"1\"} 150\nrack_watts{outlet=\"2\"} 160\n", host(310, 0, "external")},
            {2, "rack_watts{outlet=\"1\"} 150\n", changes(0) + away(2)},
            {3, "rack_watts{outlet=\"1\"} NaN\nrack_watts{outlet=\"2\"} 160\n", changes(0) + away(1)},
            {4, "rack_watts{outlet=\"1\"} 150\nrack_watts{outlet=\"2\"} 160\n", host(310, 930, "external")}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"nor is one that says infinity for once, whose energy could not go on",
           {{1, "rack_watts{outlet=\"1\"} 150\nrack_watts{outlet=\"2\"} 160\n", host(310, 0, "external")},
            {2, "rack_watts{outlet=\"1\"} +Inf\nrack_watts{outlet=\"2\"} 160\n", changes(0) + away(1)},
            {3, "rack_watts{outlet=\"1\"} 150\nrack_watts{outlet=\"2\"} 160\n", host(310, 620, "external")}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"nor a sum beyond all numbers",
           {{1, "rack_watts{outlet=\"1\"} 1.5e308\nrack_watts{outlet=\"2\"} 1.5e308\n", ""}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"modules have the other meters in them",
           {{1,
             meter(700) + meter(300, "acpi_1") +
                 "vitald_hwmon_oem_info{chip=\"acpi_0\",sensor=\"power1\",text=\"Module Power Socket 0\"} 1\n"
                 "vitald_hwmon_oem_info{chip=\"acpi_1\",sensor=\"power1\",text=\"Grace Power Socket 0\"} 1\n",
             host(700, 0, "acpi_power_meter")}}},
          {"the average before what it is now",
           {{1, meter(300) + "node_hwmon_power_watt{chip=\"acpi_0\",sensor=\"power1\"} 290\n",
             host(300, 0, "acpi_power_meter")}}},
          {"firmware that says 0 does not know", {{1, meter(0), ""}}},
          {"a chip that measures something else", {{1, meter(30, "i2c_1", "ina219"), ""}}},
          {"what the operator names goes first",
           {{1, meter(300) + "rack_watts{outlet=\"1\"} 150\nrack_watts{outlet=\"2\"} 160\n", host(310, 0, "external")}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"from a text file, too",
           {{1, meter(300), host(310, 0, "external"), "rack_watts{outlet=\"1\"} 150\nrack_watts{outlet=\"2\"} 160\n"}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"a text file that nobody writes any more is silent after a quarter of an hour, and gives way a minute later",
           {{700, meter(300), host(310, 0, "external"), written(90)},
            {760, meter(300), host(310, 18600, "external"), written(90)},
            {880, meter(300), host(310, 55800, "external"), written(90)},
            {990, meter(300), host(310, 89900, "external"), written(90)},
            {991, meter(300), changes(0) + silent("", kOld), written(90)},
            {1049, meter(300), changes(0) + silent("", kOld), written(90)},
            {1050, meter(300), host(300, 105000, "acpi_power_meter", 1) + silent("", kOld), written(90)},
            {1051, meter(300), host(310, 108810, "external", 2), written(1050)}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"of two feeds the file of one: no half for a minute, then the other is the host",
           {{100, "", host(350, 0, "external"), feeds(100, 41)},
            {102, "", changes(0) + silent("{feed=b}", kOldMinute), feeds(102, 41)},
            {159, "", changes(0) + silent("{feed=b}", kOldMinute), feeds(159, 41)},
            {160, "", host(200, 16500, "external") + silent("{feed=b}", kOldMinute), feeds(160, 41)},
            {161, "", host(350, 16775, "external"), feeds(161, 161)}},
           "",
           {{"collector.host_power.external", "rack_watts"}, {"collector.host_power.external-max-age", "60s"}}},
          {"a file's date that is more than a minute ahead tells no age",
           {{100, "", host(310, 0, "external"), written(160)},
            {101, "",
             changes(0) +
                 silent("", "dated more than a minute ahead: the clock of its writer, or this host's, is wrong"),
             written(162)},
            {102, "", host(310, 620, "external"), written(102)}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"or after what is set",
           {{100, "", host(310, 0, "external"), written(40)},
            {101, "", changes(0) + silent("", kOldMinute), written(40)}},
           "",
           {{"collector.host_power.external", "rack_watts"}, {"collector.host_power.external-max-age", "60s"}}},
          {"0: however old",
           {{100000, "", host(310, 0, "external"), written(40)}, {100001, "", host(310, 310, "external"), written(40)}},
           "",
           {{"collector.host_power.external", "rack_watts"}, {"collector.host_power.external-max-age", "0s"}}},
          {"a feed that is no longer in its file is told for as long as it may come back, and that nothing is there",
           {{100, "", host(350, 0, "external"), feeds(100, 100)},
            {101, "", changes(0) + silent("{feed=b}", "no longer there, or no power"), "rack_watts{feed=\"a\"} 200\n"},
            {160, "", host(200, 16500, "external"), "rack_watts{feed=\"a\"} 200\n"}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"a collector's own goes before a text file's of the same name",
           {{1, "rack_watts 150\n", host(150, 0, "external"), "rack_watts 160\n"}},
           "",
           {{"collector.host_power.external", "rack_watts"}}},
          {"a text file is no meter of the platform", {{1, "", "", meter(300)}}},
          {"nobody knows what was drawn in a hole of more than two minutes",
           {{10, meter(300), host(300, 0, "acpi_power_meter")},
            {200, meter(300), host(300, 0, "acpi_power_meter")},
            {210, meter(300), host(300, 3000, "acpi_power_meter")}}},
          {"the platform by RAPL, from the third reading: whether it moves, how fast",
           {{1, rapl("psys", "0", 0), ""},
            {2, rapl("psys", "0", 50), ""},
            {3, rapl("psys", "0", 130), host(80, 80, "psys")},
            {3.5, rapl("psys", "0", 170), host(80, 120, "psys")},
            {5, rapl("psys", "0", 230), host(50, 180, "psys")}}},
          {"the mean of more than five minutes is no power of now; the energy was used all the same",
           {{1, rapl("package", "0", 0), ""},
            {301, rapl("package", "0", 18000), host(60, 18000, "rapl_packages")},
            {602, rapl("package", "0", 48100),
             "vitald_host_energy_joules_total{source=\"rapl_packages\"} 48100\n" + changes(0)},
            {603, rapl("package", "0", 48200), host(100, 48200, "rapl_packages")}}},
          {"and what time it is the mean of, for who asks",
           {{1, rapl("package", "0", 0), "", {}, true},
            {166,
             rapl("package", "0", 9900),
             "vitald_host_power_watts{source=\"rapl_packages\"} 60\n"
             "vitald_host_energy_joules_total{source=\"rapl_packages\"} 9900\n"
             "vitald_host_power_over_seconds{source=\"rapl_packages\"} 165\n" +
                 changes(0),
             {},
             true}}},
          {"platform counters of two processors: one that stands still is none",
           {{1, rapl("psys", "0", 0) + rapl("psys", "1", 5), ""},
            {2, rapl("psys", "0", 50) + rapl("psys", "1", 5), ""},
            {3, rapl("psys", "0", 130) + rapl("psys", "1", 5), host(80, 80, "psys")}}},
          {"and two that move are not understood",
           {{1, rapl("psys", "0", 0) + rapl("psys", "1", 0), ""},
            {2, rapl("psys", "0", 50) + rapl("psys", "1", 50), ""},
            {3, rapl("psys", "0", 130) + rapl("psys", "1", 130), ""}}},
          {"processors and memory, where there is nothing better; a part of one is not added",
           {{1, rapl("package", "0", 0) + rapl("package", "1", 0) + rapl("dram", "0", 0) + rapl("core", "0", 0), ""},
            {2, rapl("package", "0", 60) + rapl("package", "1", 50) + rapl("dram", "0", 10) + rapl("core", "0", 55),
             host(120, 120, "rapl_packages")}}},
          {"memory alone is not the host", {{1, rapl("dram", "0", 0), ""}, {2, rapl("dram", "0", 9), ""}}},
          {"a package that is away for a while is no jump",
           {{1, rapl("package", "0", 0) + rapl("package", "1", 0), ""},
            {2, rapl("package", "0", 60) + rapl("package", "1", 50), host(110, 110, "rapl_packages")},
            {3, rapl("package", "0", 120), changes(0)},
            {4, rapl("package", "0", 180) + rapl("package", "1", 150), host(110, 330, "rapl_packages")},
            {5, rapl("package", "0", 240) + rapl("package", "1", 200), host(110, 440, "rapl_packages")}}},
          {"nor is one that cannot be read and shows what it had counted",
           {{1, rapl("package", "0", 0) + rapl("package", "1", 0) + up("1", 1), ""},
            {2, rapl("package", "0", 60) + rapl("package", "1", 50) + up("1", 1), host(110, 110, "rapl_packages")},
            {3, rapl("package", "0", 120) + rapl("package", "1", 50) + up("1", 0), changes(0)},
            {4, rapl("package", "0", 180) + rapl("package", "1", 150) + up("1", 1), host(110, 330, "rapl_packages")}}},
          {"one that stays away leaves the others after a minute",
           {{1, rapl("package", "0", 0) + rapl("package", "1", 0), ""},
            {2, rapl("package", "0", 60) + rapl("package", "1", 50), host(110, 110, "rapl_packages")},
            {3, rapl("package", "0", 120), changes(0)},
            {61, rapl("package", "0", 3600), changes(0)},
            {62, rapl("package", "0", 3660), changes(0)},
            {63, rapl("package", "0", 3720), host(60, 3770, "rapl_packages")}}},
          {"counters that stand still, as in many virtual machines, know nothing; nor do they when they stop",
           {{1, rapl("package", "0", 0), ""},
            {9, rapl("package", "0", 0), ""},
            {17, rapl("package", "0", 0), ""},
            {18, rapl("package", "0", 60), host(60, 60, "rapl_packages")},
            {19, rapl("package", "0", 60), changes(0)},
            {20, rapl("package", "0", 130), host(70, 130, "rapl_packages")}}},
          {"and the model stands in for them",
           {{1, rapl("package", "0", 0) + "vitald_utilization_ratio{resource=\"cpu\"} 0.25\n", host(150, 0, "model")},
            {2, rapl("package", "0", 0) + "vitald_utilization_ratio{resource=\"cpu\"} 0.25\n", host(150, 150, "model")},
            {3, rapl("package", "0", 0) + "vitald_utilization_ratio{resource=\"cpu\"} 0.25\n",
             host(150, 300, "model")}},
           "",
           {{"collector.host_power.model-idle-watts", "100"}, {"collector.host_power.model-busy-watts", "300"}}},
          {"a counter that another source goes on with is the same",
           {{1, rapl("package", "0", 0) + rapl("package", "1", 0), ""},
            {2, rapl("package", "0", 60) + rapl("package", "1", 50), host(110, 110, "rapl_packages")},
            {3, "", changes(0)},
            {5, rapl("package", "0", 120, "powercap") + rapl("package", "1", 100, "powercap"),
             host(110.0 / 3, 220, "rapl_packages")},
            {6, rapl("package", "0", 180, "powercap") + rapl("package", "1", 150, "powercap"),
             host(110, 330, "rapl_packages")}}},
          {"the platform's, too",
           {{1, rapl("psys", "0", 0), ""},
            {2, rapl("psys", "0", 50), ""},
            {3, rapl("psys", "0", 130), host(80, 80, "psys")},
            {4, rapl("psys", "0", 210, "powercap"), host(80, 160, "psys")}}},
          {"a platform counter that went for good makes room for another after a minute",
           {{1, rapl("psys", "0", 0) + rapl("psys", "1", 5), ""},
            {2, rapl("psys", "0", 50) + rapl("psys", "1", 5), ""},
            {3, rapl("psys", "0", 130) + rapl("psys", "1", 5), host(80, 80, "psys")},
            {4, rapl("psys", "1", 10), changes(0)},
            {5, rapl("psys", "1", 40), changes(0)},
            {63, rapl("psys", "1", 100), changes(0)},
            {64, rapl("psys", "1", 170), host(70, 150, "psys")}}},
          {"one of two that move is no platform while the other is away",
           {{1, rapl("psys", "0", 0) + rapl("psys", "1", 0), ""},
            {2, rapl("psys", "0", 50) + rapl("psys", "1", 50), ""},
            {3, rapl("psys", "0", 130), ""},
            {4, rapl("psys", "0", 210), ""}}},
          {"a battery by volts and amperes, whatever the sign; while something feeds it says nothing",
           {{1,
             battery("Discharging",
                     "node_power_supply_voltage_volt{power_supply=\"BAT0\"} 12\n"
                     "node_power_supply_current_ampere{power_supply=\"BAT0\"} -2\n"
                     "node_power_supply_online{power_supply=\"AC\"} 0\n"),
             host(24, 0, "battery")},
            {2,
             battery("Discharging",
                     "node_power_supply_power_watt{power_supply=\"BAT0\"} 30\n"
                     "node_power_supply_online{power_supply=\"AC\"} 1\n"),
             changes(0)}}},
          {"a battery that does not say how much", {{1, battery("Discharging", ""), ""}}},
          {"a mouse's battery",
           {{1,
             "node_power_supply_info{power_supply=\"BAT0\",type=\"Battery\",status=\"Discharging\",scope=\"Device\"} "
             "1\n"
             "node_power_supply_power_watt{power_supply=\"BAT0\"} 1\n",
             ""}}},
          {"the model only with the operator's numbers, and after every meter",
           {{1, "vitald_utilization_ratio{resource=\"cpu\"} 0.25\n", host(150, 0, "model")},
            {2, "vitald_utilization_ratio{resource=\"cpu\"} 0.5\n", host(200, 175, "model")},
            {3, "vitald_utilization_ratio{resource=\"cpu\"} 0.5\n" + meter(260), host(260, 0, "acpi_power_meter", 1)}},
           "",
           {{"collector.host_power.model-idle-watts", "100"}, {"collector.host_power.model-busy-watts", "300"}}},
          {"no coefficients, no estimate", {{1, "vitald_utilization_ratio{resource=\"cpu\"} 0.25\n", ""}}},
          {"a better meter is taken at once, a worse one after a minute of silence",
           {{1, rapl("package", "0", 0), ""},
            {2, rapl("package", "0", 60), host(60, 60, "rapl_packages")},
            {3, rapl("package", "0", 120) + meter(200), host(200, 0, "acpi_power_meter", 1)},
            {4, rapl("package", "0", 180), changes(1)},
            {5, rapl("package", "0", 240) + meter(210), host(210, 410, "acpi_power_meter", 1)},
            {60, rapl("package", "0", 540), changes(1)},
            {70, rapl("package", "0", 1140), host(60, 1140, "rapl_packages", 2)}}},
          {"a reading that is shown again is no new one",
           {{10, meter(300), host(300, 0, "acpi_power_meter")}, {10, meter(300), host(300, 0, "acpi_power_meter")}}},
      });
}

}  // namespace
}  // namespace vitald
