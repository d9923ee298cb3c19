// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "core/text/scan.h"
#include "tests/sensors/run_collector.h"

namespace vitald {

// Whatever routes this machine has: each is of a device, and each device's are counted. Routes of several tables that
// are alike have one line.
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
  EXPECT_LE(static_cast<double>(routes), counted) << got.text;
  EXPECT_EQ(routes == 0, counted == 0) << got.text;
}

// In a network namespace of its own (a child, so that the other tests keep theirs) there are only the test's routes.
TEST(NetworkRoute, OfSeveralTables) {
  constexpr auto* kSetUp =
      "(ip link add va type veth peer name vb && ip link set va up && ip link set vb up"
      " && ip -6 addr add fd00::1/64 dev va nodad && ip route add 10.1.0.0/16 dev va"
      " && ip route add 10.1.0.0/16 dev va table 100 && ip route add 10.1.0.0/16 dev va table 101"
      " && ip route add 10.2.0.0/16 via inet6 fd00::2 dev va"
      " && ip route add 10.3.0.0/16 nexthop via inet6 fd00::3 dev va weight 2"
      " nexthop via inet6 fd00::4 dev va weight 3) >/dev/null 2>&1";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0 || std::system(kSetUp) != 0) _exit(77);
    const auto got = run_collector("network_route", {});
    const auto line = [](const char* to, const char* gateway, const char* weight) {
      return fmt::format(
          "node_network_route_info{{dest=\"{}\",device=\"va\",gw=\"{}\",priority=\"0\",proto=\"boot\",src=\"\",weight="
          "\"{}\"}} 1\n",
          to, gateway, weight);
    };
    const auto routes = lines_with(got.text, "dest=\"10.");
    const auto wanted = line("10.1.0.0/16", "", "") + line("10.2.0.0/16", "fd00::2", "") +
                        line("10.3.0.0/16", "fd00::3", "2") + line("10.3.0.0/16", "fd00::4", "3");
    const bool good = got.error.empty() && got.problems.empty() && routes == wanted;
    if (!good) std::fprintf(stderr, "%s%swanted:\n%s", got.error.c_str(), got.text.c_str(), wanted.c_str());
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    GTEST_SKIP() << "needs root, ip (iproute2) and veth for a network namespace of its own";
  EXPECT_EQ(status, 0);
}

}  // namespace vitald
