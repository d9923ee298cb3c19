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
  bool temperature = false;
  bool electric = false;  // volts or amperes
};

// `before` is what it was at the last reading. nullopt: there is nothing to judge by.
//
// Chips that nobody has set up hold limits like min = max = 0, and raise alarms against them. Such a limit does not
// count, and neither does its alarm: of two the upper one not above the lower one; 0 alone; an upper 0 whose lower one
// is as cold as the chip can tell. Of temperatures an upper one below 0 does not count either, unless its lower
// one is a freezer's; where it does not, both were made by chance (it87: low -89, high -20).
// Of volts and amperes, which chips start with from 0 to the end of their scale and call a channel that is at an end of
// it out of range (it8792), a pair from 0 does not count where the value is one of its ends, and the sensor's own alarm
// only where the value is beyond the limits. Nor does a hysteresis of 0. The alarm of a limit that the chip does not
// show counts, and the sensor's own where it shows none.
constexpr std::optional<SensorState> judge_sensor(const SensorLimits& s, SensorState before) {
  // Of chips and drivers: -40, -55, -64, -127, -128 degrees. A freezer's limit is above.
  constexpr double kColdest = -40;
  const auto known = [](double v) { return v == v; };
  const auto set = [](double v) { return v == v && v != 0; };
  const auto ends_of_scale = [&](double lower, double upper) {
    return s.electric && lower == 0 && (s.value == lower || s.value == upper);
  };
  const auto pair_counts = [&](double lower, double upper, bool plain) {
    return !known(lower) || !known(upper) || (lower < upper && !(plain && ends_of_scale(lower, upper)));
  };
  const auto upper_counts = [&](double upper, double lower, bool plain = false) {
    const bool plausible = s.temperature ? upper > 0 : upper != 0;
    return known(upper) && pair_counts(lower, upper, plain) && (plausible || (known(lower) && lower > kColdest));
  };
  const auto lower_counts = [&](double lower, double upper, bool plain = false) {
    if (s.temperature && known(upper) && upper <= 0 && !upper_counts(upper, lower, plain)) return false;
    return known(lower) && pair_counts(lower, upper, plain) && (lower != 0 || upper_counts(upper, lower, plain));
  };
  const bool max = upper_counts(s.max, s.min, true), min = lower_counts(s.min, s.max, true);
  const bool crit = upper_counts(s.crit, s.lcrit), lcrit = lower_counts(s.lcrit, s.crit);
  const bool emergency = upper_counts(s.emergency, s.lcrit) && (s.emergency != 0 || !crit || s.crit <= s.emergency);

  const auto over = [&](bool counts, double limit, double hyst, SensorState state) {
    if (!counts || !known(s.value)) return false;
    // The plain maximum of volts and amperes is the last good value: a supply that gives all it may is at it.
    const bool at_is_over = s.temperature || state != SensorState::warning;
    return s.value > limit || (at_is_over && s.value == limit) ||
           (before >= state && set(hyst) && hyst < limit && s.value > hyst);
  };
  const auto under = [&](bool counts, double limit, double hyst, SensorState state) {
    if (!counts || !known(s.value)) return false;
    return s.value < limit || (before >= state && set(hyst) && hyst > limit && s.value < hyst);
  };
  const auto raised = [&](double of, double limit, bool counts) { return set(of) && (counts || !known(limit)); };
  // It is of the plain limits, where there are such.
  const bool has_plain = known(s.min) || known(s.max);
  const bool has_hard = known(s.lcrit) || known(s.crit) || known(s.emergency);
  // Of volts and amperes it counts by their value where both limits are shown.
  const bool alarm_tells = !s.electric || !known(s.min) || !known(s.max);
  const bool plain_alarm =
      alarm_tells && set(s.alarm) && (has_plain ? min || max : !has_hard || lcrit || crit || emergency);

  if (set(s.fault)) return SensorState::fault;
  if (over(emergency, s.emergency, s.emergency_hyst, SensorState::emergency) ||
      raised(s.emergency_alarm, s.emergency, emergency))
    return SensorState::emergency;
  if (over(crit, s.crit, s.crit_hyst, SensorState::critical) ||
      under(lcrit, s.lcrit, s.lcrit_hyst, SensorState::critical) || raised(s.crit_alarm, s.crit, crit) ||
      raised(s.lcrit_alarm, s.lcrit, lcrit))
    return SensorState::critical;
  if (over(max, s.max, s.max_hyst, SensorState::warning) || under(min, s.min, s.min_hyst, SensorState::warning) ||
      raised(s.max_alarm, s.max, max) || raised(s.min_alarm, s.min, min) || set(s.cap_alarm) || plain_alarm)
    return SensorState::warning;

  // Limits alone say nothing of a value that cannot be read.
  for (const double v : {alarm_tells ? s.alarm : SensorLimits::kNone, s.min_alarm, s.max_alarm, s.lcrit_alarm,
                         s.crit_alarm, s.emergency_alarm, s.cap_alarm, s.fault})
    if (known(v)) return SensorState::ok;
  for (const double v : {s.min, s.max, s.lcrit, s.crit, s.emergency})
    if (known(v) && known(s.value)) return SensorState::ok;
  return std::nullopt;
}

}  // namespace vitald
