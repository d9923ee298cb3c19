// SPDX-License-Identifier: Apache-2.0
#include "sensors/gpu/amd_metrics.h"

#include <cstddef>
#include <cstring>

namespace vitald {
namespace {

constexpr double kJoulesPerUnit = 1.0 / 65536;  // "15.259uJ (2^-16) units"
constexpr std::uint64_t kWrap = std::uint64_t{1} << 32;
// No board whose firmware counts in 32 bits takes as much on average.
constexpr double kMostWatts = 600;
// metrics_table_header: u16 structure_size, u8 format_revision, u8 content_revision; behind it both versions have 20
// bytes before the accumulator.
constexpr std::size_t kHeader = 4, kEnergyAt = 24;
constexpr std::size_t kThrottleAt = 112;  // of v1_3, its last member

template <class T>
std::optional<T> number_at(std::string_view bytes, std::size_t at) {
  T value;
  if (bytes.size() < at + sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  if (value == static_cast<T>(-1)) return std::nullopt;  // the driver's word for what this GPU does not tell
  return value;
}

}  // namespace

AmdMetrics parse_amd_metrics(std::string_view bytes) {
  AmdMetrics out;
  if (bytes.size() < kHeader) return out;
  const auto size = number_at<std::uint16_t>(bytes, 0);
  const int format = static_cast<unsigned char>(bytes[2]), content = static_cast<unsigned char>(bytes[3]);
  if (!size || *size > bytes.size() || format != 1 || (content != 3 && content != 4)) return out;
  bytes = bytes.substr(0, *size);
  // Many boards do not feed it: 0, or all ones of 32 bits (smu_v13_0_7_ppt.c, smu_v14_0_2_ppt.c). One that is fed is
  // past 0 before anybody looks.
  if (const auto units = number_at<std::uint64_t>(bytes, kEnergyAt); units && *units != 0 && *units != kWrap - 1)
    out.energy = units;
  if (content == 3) out.throttle = number_at<std::uint64_t>(bytes, kThrottleAt);
  return out;
}

double AmdEnergy::joules(std::uint64_t energy, std::optional<double> elapsed_s) {
  if (last_ && energy < *last_) {
    const double taken = static_cast<double>(kWrap - *last_ % kWrap + energy) * kJoulesPerUnit;
    if (*last_ < kWrap && elapsed_s && taken <= kMostWatts * *elapsed_s) wrapped_ += kWrap;
    else wrapped_ = 0;
  }
  last_ = energy;
  return static_cast<double>(wrapped_ + energy) * kJoulesPerUnit;
}

}  // namespace vitald
