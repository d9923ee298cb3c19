// SPDX-License-Identifier: Apache-2.0
#include "sensors/power/ipmi_sdr.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace vitald::ipmi {
namespace {

constexpr std::size_t kNameAt = 47;

// Two's complement of so many bits.
int signed_bits(unsigned value, unsigned bits) {
  const auto sign = 1U << (bits - 1);
  return static_cast<int>(value & (sign - 1)) - static_cast<int>(value & sign);
}

// 8-bit characters, packed 6-bit ASCII or BCD plus (43.15); a name in Unicode is not decoded.
std::string name_of(std::span<const std::uint8_t> record) {
  const std::uint8_t about = record[kNameAt];
  const auto length = std::min<std::size_t>(about & 0x1f, record.size() - kNameAt - 1);
  const auto bytes = record.subspan(kNameAt + 1, length);
  std::string name;
  switch (about >> 6) {
    case 3:
      for (const auto c : bytes) {
        if (c == 0) break;
        if (c < 0x80) name += static_cast<char>(c);
        else name += {static_cast<char>(0xc0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3f))};  // Latin 1
      }
      break;
    case 2:
      for (std::size_t bit = 0; bit + 6 <= bytes.size() * 8; bit += 6) {
        const unsigned low = bytes[bit / 8], high = bit / 8 + 1 < bytes.size() ? bytes[bit / 8 + 1] : 0U;
        name += static_cast<char>(0x20 + (((high << 8 | low) >> (bit % 8)) & 0x3f));
      }
      break;
    case 1:
      for (const unsigned c : bytes)
        for (const unsigned digit : {c >> 4, c & 0xf}) name += "0123456789 -.:,_"[digit];
      break;
    default: break;
  }
  while (name.ends_with(' ')) name.pop_back();
  while (name.starts_with(' ')) name.erase(0, 1);
  return name;
}

Unit unit_of(std::uint8_t flags, std::uint8_t base, std::uint8_t modifier) {
  if ((flags & 1) != 0) return Unit::percent;
  if ((flags & 0x3e) != 0 || modifier != 0) return Unit::other;  // by time, or by another unit
  switch (base) {
    case 1: return Unit::celsius;
    case 4: return Unit::volts;
    case 5: return Unit::amperes;
    case 6: return Unit::watts;
    case 18: return Unit::rpm;
    default: return Unit::other;
  }
}

}  // namespace

std::optional<Sensor> parse_sensor(std::span<const std::uint8_t> record) {
  if (record.size() <= kNameAt || record[3] != 0x01) return std::nullopt;
  Sensor s;
  s.record = static_cast<std::uint16_t>(record[0] | record[1] << 8);
  s.owner = record[5];
  s.lun = record[6] & 3;
  s.number = record[7];
  s.type = record[12];
  s.thresholds = record[13] == 0x01;
  s.unit = unit_of(record[20], record[21], record[22]);
  s.format = record[20] >> 6;
  s.linear = record[23] & 0x7f;
  s.m = signed_bits(record[24] | (record[25] & 0xc0U) << 2, 10);
  s.b = signed_bits(record[26] | (record[27] & 0xc0U) << 2, 10);
  s.result_exponent = signed_bits(record[29] >> 4, 4);
  s.b_exponent = signed_bits(record[29] & 0xf, 4);
  s.name = name_of(record);
  return s;
}

std::optional<double> value_of(const Sensor& s, std::uint8_t raw) {
  double x = 0;
  switch (s.format) {
    case 0: x = raw; break;
    case 1: x = (raw & 0x80) != 0 ? -static_cast<double>(static_cast<std::uint8_t>(~raw)) : raw; break;
    case 2: x = static_cast<std::int8_t>(raw); break;
    default: return std::nullopt;
  }
  const double y = (s.m * x + s.b * std::pow(10, s.b_exponent)) * std::pow(10, s.result_exponent);
  double z = 0;
  switch (s.linear) {
    case 0: z = y; break;
    case 1: z = std::log(y); break;
    case 2: z = std::log10(y); break;
    case 3: z = std::log2(y); break;
    case 4: z = std::exp(y); break;
    case 5: z = std::pow(10, y); break;
    case 6: z = std::exp2(y); break;
    case 7: z = 1 / y; break;
    case 8: z = y * y; break;
    case 9: z = y * y * y; break;
    case 10: z = std::sqrt(y); break;
    case 11: z = std::cbrt(y); break;
    default: return std::nullopt;
  }
  return std::isfinite(z) ? std::optional(z) : std::nullopt;
}

State state_of(const Sensor& s, std::span<const std::uint8_t> answer) {
  State out;
  if (answer.size() < 2) return out;
  // Not scanned, or the reading is not there (a part that is off or not plugged in).
  if ((answer[1] & 0x40) == 0 || (answer[1] & 0x20) != 0) return out;
  out.value = value_of(s, answer[0]);
  if (!s.thresholds || answer.size() < 3) return out;
  const unsigned crossed = answer[2];
  constexpr unsigned kNonCritical = 0b001001;  // lower and upper; the others are critical and non-recoverable
  out.severity = (crossed & 0b110110) != 0 ? 2 : (crossed & kNonCritical) != 0 ? 1 : 0;
  return out;
}

std::string_view type_name(std::uint8_t type) {
  static constexpr std::array<std::string_view, 0x2d> kNames = {"Reserved",
                                                                "Temperature",
                                                                "Voltage",
                                                                "Current",
                                                                "Fan",
                                                                "Physical Security",
                                                                "Platform Security Violation Attempt",
                                                                "Processor",
                                                                "Power Supply",
                                                                "Power Unit",
                                                                "Cooling Device",
                                                                "Other Units Based Sensor",
                                                                "Memory",
                                                                "Drive Slot",
                                                                "POST Memory Resize",
                                                                "System Firmware Progress",
                                                                "Event Logging Disabled",
                                                                "Watchdog 1",
                                                                "System Event",
                                                                "Critical Interrupt",
                                                                "Button/Switch",
                                                                "Module/Board",
                                                                "Microcontroller/Coprocessor",
                                                                "Add In Card",
                                                                "Chassis",
                                                                "Chip Set",
                                                                "Other Fru",
                                                                "Cable/Interconnect",
                                                                "Terminator",
                                                                "System Boot Initiated",
                                                                "Boot Error",
                                                                "OS Boot",
                                                                "OS Critical Stop",
                                                                "Slot/Connector",
                                                                "System ACPI Power State",
                                                                "Watchdog 2",
                                                                "Platform Alert",
                                                                "Entity Presence",
                                                                "Monitor ASIC/IC",
                                                                "LAN",
                                                                "Management Subsystem Health",
                                                                "Battery",
                                                                "Session Audit",
                                                                "Version Change",
                                                                "FRU State"};
  return type < kNames.size() ? kNames[type] : std::string_view("OEM Reserved");
}

}  // namespace vitald::ipmi
