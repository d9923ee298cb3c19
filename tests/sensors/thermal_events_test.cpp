// SPDX-License-Identifier: Apache-2.0
// What the kernel announces of thermal zones, as bytes; a socket that gives them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/thermal.h>
#include <sys/socket.h>

#include <vector>

#include "sensors/sys/thermal_news.h"
#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

template <class T>
std::string bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string attribute(std::uint16_t type, std::uint32_t value) {
  return bytes(nlattr{NLA_HDRLEN + sizeof value, type}) + bytes(value);
}

std::string message(std::uint8_t command, const std::string& attributes) {
  return bytes(genlmsghdr{command, THERMAL_GENL_VERSION, 0}) + attributes;
}

std::string netlink(const std::string& payload) {
  return bytes(nlmsghdr{static_cast<std::uint32_t>(NLMSG_HDRLEN + payload.size()), 27, 0, 0, 0}) + payload;
}

// thermal_genl_event_tz_trip_up, drivers/thermal/thermal_netlink.c
std::string trip(std::uint8_t command, std::uint32_t zone, std::uint32_t number, std::int32_t millidegrees) {
  return message(command, attribute(THERMAL_GENL_ATTR_TZ_ID, zone) + attribute(THERMAL_GENL_ATTR_TZ_TRIP_ID, number) +
                              attribute(THERMAL_GENL_ATTR_TZ_TEMP, static_cast<std::uint32_t>(millidegrees)));
}

TEST(ThermalEvents, Cases) {
  check_cases("thermal_events",
              {{"the files of another machine", {}, "", "absent: thermal: the files are of another machine"}});
}

TEST(ThermalEvents, Messages) {
  struct Case {
    const char* name;
    std::string payload;
    std::optional<ThermalNews> want;
  };
  const Case cases[] = {
      {"up", trip(THERMAL_GENL_EVENT_TZ_TRIP_UP, 3, 1, 95'500), ThermalNews{"trip_up", 3, 1, 95.5}},
      {"down, below zero", trip(THERMAL_GENL_EVENT_TZ_TRIP_DOWN, 0, 0, -2'500), ThermalNews{"trip_down", 0, 0, -2.5}},
      {"disabled", message(THERMAL_GENL_EVENT_TZ_DISABLE, attribute(THERMAL_GENL_ATTR_TZ_ID, 7)),
       ThermalNews{"zone_disabled", 7, {}, {}}},
      {"enabled", message(THERMAL_GENL_EVENT_TZ_ENABLE, attribute(THERMAL_GENL_ATTR_TZ_ID, 7)),
       ThermalNews{"zone_enabled", 7, {}, {}}},
      {"before 5.18 without a temperature",
       message(THERMAL_GENL_EVENT_TZ_TRIP_UP,
               attribute(THERMAL_GENL_ATTR_TZ_ID, 2) + attribute(THERMAL_GENL_ATTR_TZ_TRIP_ID, 4)),
       ThermalNews{"trip_up", 2, 4, {}}},
      {"an attribute of a newer kernel",
       message(THERMAL_GENL_EVENT_TZ_TRIP_UP, attribute(99, 5) + attribute(THERMAL_GENL_ATTR_TZ_ID, 2)),
       ThermalNews{"trip_up", 2, {}, {}}},
      {"a cooling device", message(THERMAL_GENL_EVENT_CDEV_STATE_UPDATE, attribute(THERMAL_GENL_ATTR_CDEV_ID, 1)), {}},
      {"no zone", message(THERMAL_GENL_EVENT_TZ_TRIP_UP, ""), {}},
      {"cut in an attribute", trip(THERMAL_GENL_EVENT_TZ_TRIP_UP, 3, 1, 95'500).substr(0, 10), {}},
      {"cut in its head", "\x05", {}},
      {"empty", "", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(thermal_news_of(c.payload), c.want);
  }
}

TEST(ThermalEvents, Listener) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  ThermalListener listener{Fd(ends[0])};
  const Fd kernel(ends[1]);
  const auto say = [&](const std::string& text) {
    ASSERT_EQ(send(kernel.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  };
  say(netlink(trip(THERMAL_GENL_EVENT_TZ_TRIP_UP, 1, 0, 90'000)));
  say(netlink(trip(THERMAL_GENL_EVENT_TZ_TRIP_DOWN, 1, 0, 80'000)) +
      netlink(trip(THERMAL_GENL_EVENT_TZ_TRIP_UP, 2, 0, 70'000)));
  say("xx");                                                                            // too short for a head
  say(bytes(nlmsghdr{4000, 27, 0, 0, 0}) + "cut");                                      // says more than there is
  say(bytes(nlmsghdr{3, 27, 0, 0, 0}) + trip(THERMAL_GENL_EVENT_TZ_TRIP_UP, 9, 0, 0));  // less than its head
  std::vector<ThermalNews> news;
  EXPECT_FALSE(listener.take([&](const ThermalNews& n) { news.push_back(n); }));
  EXPECT_THAT(news, testing::ElementsAre(ThermalNews{"trip_up", 1, 0, 90}, ThermalNews{"trip_down", 1, 0, 80},
                                         ThermalNews{"trip_up", 2, 0, 70}));
  news.clear();
  EXPECT_FALSE(listener.take([&](const ThermalNews& n) { news.push_back(n); }));
  EXPECT_TRUE(news.empty());
}

TEST(ThermalEvents, OfThisKernel) {
  auto listener = ThermalListener::open();
  if (!listener) GTEST_SKIP() << listener.error().text;
  EXPECT_GE(listener->fd(), 0);
  EXPECT_FALSE(listener->take([](const ThermalNews&) {}));
}

}  // namespace
}  // namespace vitald
