// SPDX-License-Identifier: Apache-2.0
// The kernel's word that a thermal zone crossed a trip point or came or went, as it happens: multicast group "event" of
// the generic netlink family "thermal" (include/uapi/linux/thermal.h, since Linux 5.9).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

struct ThermalNews {
  std::string_view what;  // one of kThermalNews
  std::uint32_t zone = 0;
  std::optional<std::uint32_t> trip;
  std::optional<double> celsius;

  bool operator==(const ThermalNews&) const = default;
};
inline constexpr std::string_view kThermalNews[] = {"trip_up", "trip_down", "zone_disabled", "zone_enabled"};

// The payload of one netlink message (genlmsghdr and attributes). Nothing: another kind of message, or cut short.
std::optional<ThermalNews> thermal_news_of(std::string_view message);

// By one thread.
class ThermalListener {
 public:
  // Errors: absent (the kernel has no such family: CONFIG_THERMAL_NETLINK), denied, io.
  static Result<ThermalListener> open();
  // For tests: messages come from this socket.
  explicit ThermalListener(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  // All that is there, at most kMostAtOnce messages. Some were lost: true once.
  bool take(const std::function<void(const ThermalNews&)>& each);
  static constexpr int kMostAtOnce = 256;

 private:
  Fd socket_;
};

}  // namespace vitald
