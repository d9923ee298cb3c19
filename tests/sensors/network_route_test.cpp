// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/text/scan.h"
#include "tests/sensors/run_collector.h"

namespace vitald {

// Whatever routes this machine has: each is of a device, and each device's are counted.
TEST(NetworkRoute, AsksTheKernel) {
  const auto got = run_collector("network_route", {});
  EXPECT_EQ(got.error, "");
  EXPECT_TRUE(got.problems.empty());
  std::size_t routes = 0;
  double counted = 0;
  for (std::string_view rest = got.text; !rest.empty();) {
    const auto line = take_line(rest);
    if (line.starts_with("node_network_route_info{dest=\"")) ++routes;
    if (line.starts_with("node_network_routes{device=\"")) counted += *parse_double(line.substr(line.rfind(' ') + 1));
  }
  EXPECT_EQ(static_cast<double>(routes), counted) << got.text;
}

}  // namespace vitald
