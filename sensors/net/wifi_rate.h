// SPDX-License-Identifier: Apache-2.0
// What nl80211 says of a station's rate.
#pragma once

#include <linux/nl80211.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "sensors/read/netlink.h"

namespace vitald {

// Bits per second, of the attributes within NL80211_STA_INFO_{RX,TX}_BITRATE, which count 100 kbit/s. None where the
// driver knows none: the nest is empty then, or has only what belongs to a rate (nl80211_put_sta_rate,
// net/wireless/nl80211.c).
inline std::optional<double> wifi_rate(std::string_view nested) {
  constexpr double kBitsPerUnit = 100'000;
  std::optional<std::uint64_t> few, all;  // of 16 bits, and what these cannot hold
  while (auto a = take_attribute(nested)) {
    if (a->type == NL80211_RATE_INFO_BITRATE) few = a->number();
    if (a->type == NL80211_RATE_INFO_BITRATE32) all = a->number();
  }
  if (!all) all = few;
  if (!all) return std::nullopt;
  return static_cast<double>(*all) * kBitsPerUnit;
}

}  // namespace vitald
