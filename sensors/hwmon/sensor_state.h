// SPDX-License-Identifier: Apache-2.0
// Is a sensor's reading good? Judged from its limits with their hysteresis and from the chip's own alarms.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace vitald {

enum class SensorState : std::uint8_t { ok, warning, critical, emergency, fault };
inline constexpr std::string_view kSensorStates[] = {"ok", "warning", "critical", "emergency", "fault"};

// NaN is what the chip does not have or cannot tell.
struct SensorLimits {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double value = kNone;
  double min = kNone, max = kNone, lcrit = kNone, crit = kNone, emergency = kNone;
  // Where a state ends that began at the limit.
  double min_hyst = kNone, max_hyst = kNone, lcrit_hyst = kNone, crit_hyst = kNone, emergency_hyst = kNone;
  double alarm = kNone, min_alarm = kNone, max_alarm = kNone, lcrit_alarm = kNone, crit_alarm = kNone,
         emergency_alarm = kNone, cap_alarm = kNone, fault = kNone;
};

// `before` is what it was at the last reading. nullopt: there is nothing to judge by.
//
// Chips that nobody has set up hold limits like min = max = 0, and raise alarms against them. Such a limit
// (an upper one not above its lower one, or 0 alone) does not count, and neither do its alarms.
constexpr std::optional<SensorState> judge_sensor(const SensorLimits& s, SensorState before) {
  const auto known = [](double v) { return v == v; };
  const auto set = [](double v) { return v == v && v != 0; };
  const auto pair_counts = [&](double lower, double upper) { return !known(lower) || !known(upper) || lower < upper; };
  const bool plain = pair_counts(s.min, s.max), hard = pair_counts(s.lcrit, s.crit);
  const auto usable = [&](double upper, double lower) { return known(upper) && (known(lower) || upper != 0); };

  const auto over = [&](double limit, double lower, double hyst, SensorState state) {
    if (!usable(limit, lower) || !known(s.value)) return false;
    return s.value >= limit || (before >= state && known(hyst) && hyst < limit && s.value > hyst);
  };
  const auto under = [&](double limit, double hyst, SensorState state) {
    if (!known(limit) || !known(s.value)) return false;
    return s.value < limit || (before >= state && known(hyst) && hyst > limit && s.value < hyst);
  };

  if (set(s.fault)) return SensorState::fault;
  if (over(s.emergency, s.lcrit, s.emergency_hyst, SensorState::emergency) || set(s.emergency_alarm))
    return SensorState::emergency;
  if (hard && (over(s.crit, s.lcrit, s.crit_hyst, SensorState::critical) ||
               under(s.lcrit, s.lcrit_hyst, SensorState::critical) || set(s.crit_alarm) || set(s.lcrit_alarm)))
    return SensorState::critical;
  if (plain && (over(s.max, s.min, s.max_hyst, SensorState::warning) ||
                under(s.min, s.min_hyst, SensorState::warning) || set(s.max_alarm) || set(s.min_alarm)))
    return SensorState::warning;
  if (set(s.cap_alarm) || (set(s.alarm) && plain)) return SensorState::warning;

  for (const double v : {s.min, s.max, s.lcrit, s.crit, s.emergency, s.alarm, s.min_alarm, s.max_alarm, s.lcrit_alarm,
                         s.crit_alarm, s.emergency_alarm, s.cap_alarm, s.fault})
    if (known(v)) return SensorState::ok;
  return std::nullopt;
}

}  // namespace vitald
