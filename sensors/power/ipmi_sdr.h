// SPDX-License-Identifier: Apache-2.0
// What a sensor data record of a BMC says: the sensor's number, name and unit, and how its raw byte becomes a value
// (IPMI 2.0, section 43.1). Pure functions of bytes that firmware made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vitald::ipmi {

enum class Unit : std::uint8_t { celsius, volts, amperes, watts, rpm, percent, other };

struct Sensor {
  std::uint16_t record = 0;
  std::uint8_t owner = 0, lun = 0, number = 0, type = 0;
  Unit unit = Unit::other;
  std::string name;
  bool thresholds = false;  // its state is told by them
  // value = linear((m * raw + b * 10^b_exponent) * 10^result_exponent)
  std::uint8_t format = 0;  // of the raw byte: 0 unsigned, 1 ones' complement, 2 two's complement, 3 no number
  std::uint8_t linear = 0;
  int m = 0, b = 0, b_exponent = 0, result_exponent = 0;
};

// Of a full record (type 1). nullopt: another type of record, or one too short to be one.
std::optional<Sensor> parse_sensor(std::span<const std::uint8_t> record);

// nullopt: it is no number, or not by a function that is known here.
std::optional<double> value_of(const Sensor& sensor, std::uint8_t raw);

// What the answer to Get Sensor Reading says, without its completion code.
struct State {
  std::optional<double> value;
  std::optional<int> severity;  // 0 nominal, 1 warning, 2 critical; only of sensors with thresholds
};
State state_of(const Sensor& sensor, std::span<const std::uint8_t> answer);

// "Temperature", as ipmi_exporter has them from FreeIPMI.
std::string_view type_name(std::uint8_t type);

}  // namespace vitald::ipmi
