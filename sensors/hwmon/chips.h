// SPDX-License-Identifier: Apache-2.0
// Which hwmon chips there are and what they are called. The names are node_exporter's, and the one place
// where they are made: `chip` and `sensor` join node_hwmon_* with vitald_sensor_*.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

struct HwmonChip {
  std::string directory;  // /sys/class/hwmon/hwmon3
  std::string target;     // where that link points: another one is another chip
  std::string chip;       // the label: platform_coretemp_0
  std::string chip_name;  // the cleaned name file: coretemp; empty when there is none

  bool operator==(const HwmonChip&) const = default;
};

// Every chip below `class_directory` (/sys/class/hwmon), in the order of its listing.
Result<std::vector<HwmonChip>> list_hwmon_chips(const std::string& class_directory);

// Lower case, '_' for every character but letters, digits, ':' and '_', none of them at the ends.
std::string clean_metric_name(std::string_view name);

// temp1_crit_alarm -> temp, 1, crit_alarm. Without a number it is 0: the file temp of a thermal zone.
struct SensorFile {
  std::string_view type, property;
  int number = 0;
  bool valid = false;
};
SensorFile split_sensor_file(std::string_view name);

}  // namespace vitald
