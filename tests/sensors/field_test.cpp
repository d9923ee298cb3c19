// SPDX-License-Identifier: Apache-2.0
// What real hosts do to more than one collector: links below another root, devices that sleep, numbers that are words.
#include <gtest/gtest.h>

#include "core/os/root_path.h"
#include "core/text/names.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/power_state.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

TEST(MetricName, Cases) {
  struct Case {
    const char *text, *name;
  };
  for (const auto& c : {Case{"pgfault-huge", "pgfault_huge"},
                        {"a  b", "a_b"},
                        {"a_ -b", "a_b"},
                        {"a__b", "a__b"},
                        {"\xff\xfe", "_"},
                        {"", ""},
                        {"rx (bytes)", "rx_bytes_"}})
    EXPECT_EQ(metric_name(c.text), c.name);
}

TEST(RootPath, LinksStayBelowTheRoot) {
  CollectorFixture f("uname", {{"root/usr/lib/os-release", "x"},
                               {"root/etc/os-release", "->/usr/lib/os-release"},
                               {"root/etc/relative", "->../usr/lib/os-release"},
                               {"root/etc/out", "->../../../../../../usr/lib/os-release"},
                               {"root/etc/static", "->/nix/etc"},
                               {"root/nix/etc/os-release", "->/usr/./lib/os-release"},
                               {"root/etc/three", "->/etc/static/os-release"},
                               {"root/etc/loop", "->/etc/loop"}});
  const auto root = f.root() + "/root";
  for (const auto* path : {"/etc/os-release", "etc/relative", "/etc/out", "/etc/three"})
    EXPECT_EQ(path_below_root(root, path), root + "/usr/lib/os-release") << path;
  EXPECT_EQ(path_below_root(root, "/etc/loop"), root + "/etc/loop");
  EXPECT_EQ(path_below_root(root, "/not/there"), root + "/not/there");
  EXPECT_EQ(path_below_root("/", "/etc/out"), "/etc/out");
}

TEST(RootPath, OnlyWholeFoldersAreCutOff) {
  EXPECT_EQ(path_on_host("/host", "/host/home"), "/home");
  EXPECT_EQ(path_on_host("/host", "/host"), "/");
  EXPECT_EQ(path_on_host("/host", "/hostfoo"), "/hostfoo");
  EXPECT_EQ(path_on_host("/", "/home"), "/home");
}

TEST(NoReading, Words) {
  struct Case {
    Quantity quantity;
    double value, units;
    bool limit, none;
  };
  constexpr auto kC = Quantity::celsius, kFan = Quantity::rpm, kOther = Quantity::other;
  const Case cases[] = {
      {kC, -273.15, 1000, true, true},   // cros_ec: not set
      {kC, 65261.85, 1000, true, true},  // NVMe: 65535 K
      {kC, 3892313, 1000, false, true},  // a garbled register
      {kC, -0.001, 1000, true, true},    // -1
      {kC, 4294967.295, 1000, true, true},
      {kC, -263.2, 1000, false, true},   // a thermal zone of ACPI whose firmware says 10 K
      {kC, -199.9, 1000, false, false},  // as cold as a thermocouple goes
      {kC, -40, 1000, true, false},
      {kC, 1372, 1000, false, false},                    // a thermocouple of type K
      {kOther, 18446744073709.551615, 1e6, true, true},  // power1_max: 2^64-1
      {kOther, 9223372036854.775807, 1e6, false, true},  // power1_input: 2^63-1
      {kOther, -9223372036854.775808, 1e6, false, true},
      {kOther, 9223372036854775807.0, 1, false, true},
      {kOther, 4000000000000.0, 1e6, false, false},  // joules
      {kFan, 65535, 1, false, true},
      {kFan, 0, 1, false, false},
      {kOther, -0.001, 1000, false, false},  // a current of -1 mA
      {kOther, -0.001, 1000, true, true},
      {kOther, 12.1, 1000, false, false},
  };
  for (const auto& c : cases) EXPECT_EQ(is_no_reading(c.quantity, c.value, c.units, c.limit), c.none) << c.value;
}

// A card on a bus, as sysfs has it: its chip and its DRM node are linked to from class folders.
Tree card(const std::string& status) {
  const std::string device = "sys/devices/pci0000:00/0000:03:00.0/";
  return {{device + "power/runtime_status", status + "\n"},
          {device + "driver", "->../../../bus/pci/drivers/amdgpu"},
          {device + "uevent", "DRIVER=amdgpu\n"},
          {device + "gpu_busy_percent", "7\n"},
          {device + "hwmon/hwmon0/name", "amdgpu\n"},
          {device + "hwmon/hwmon0/temp1_input", "41000\n"},
          {device + "hwmon/hwmon0/device", "->../.."},
          {device + "drm/card0/device", "->../.."},
          {"sys/class/hwmon/hwmon0", "->../../devices/pci0000:00/0000:03:00.0/hwmon/hwmon0"},
          {"sys/class/drm/card0", "->../../devices/pci0000:00/0000:03:00.0/drm/card0"}};
}

TEST(Sleeping, IsNotRead) {
  EXPECT_EQ(lines_with(run_collector("hwmon", card("active")).text, "node_hwmon_temp_celsius"),
            "node_hwmon_temp_celsius{chip=\"pci0000:00_0000:03:00_0\",sensor=\"temp1\"} 41\n");
  EXPECT_EQ(lines_with(run_collector("hwmon", card("suspended")).text, "node_hwmon_temp_celsius"), "");
  EXPECT_EQ(lines_with(run_collector("drm", card("active")).text, "busy"),
            "node_drm_gpu_busy_percent{card=\"card0\"} 7\n");
  EXPECT_EQ(lines_with(run_collector("drm", card("suspended")).text, "busy"), "");
  EXPECT_EQ(lines_with(run_collector("drm", card("unsupported")).text, "busy"),
            "node_drm_gpu_busy_percent{card=\"card0\"} 7\n");
}

TEST(Sleeping, ItsPartsGoByTheDevice) {
  CollectorFixture f("uname", {{"sys/devices/pci/0000:01/power/runtime_status", "suspended\n"},
                               {"sys/devices/pci/0000:01/driver", "->../nvme"},
                               {"sys/devices/pci/0000:01/nvme/nvme0/power/runtime_status", "unsupported\n"},
                               {"sys/devices/i2c/power/runtime_status", "suspended\n"},
                               {"sys/devices/i2c/0-0048/driver", "->../lm75"},
                               {"sys/devices/i2c/0-0048/power/runtime_status", "unsupported\n"}});
  EXPECT_TRUE(PowerState(f.root() + "/sys/devices/pci/0000:01/nvme/nvme0").asleep());
  EXPECT_FALSE(PowerState(f.root() + "/sys/devices/i2c/0-0048").asleep()) << "its bus sleeps between two questions";
  EXPECT_FALSE(PowerState(f.root() + "/sys/devices/none").asleep());
}

}  // namespace
}  // namespace vitald
