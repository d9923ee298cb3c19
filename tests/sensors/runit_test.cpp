// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

// TAI64N, pid 1234, not paused, wanted, no TERM sent, state
std::string status(char wanted, char state) {
  return std::string("\x40\0\0\0\x65\x53\xf1\x0a\0\0\0\0\xd2\x04\0\0\0", 17) + wanted + '\0' + state;
}

TEST(Runit, Cases) {
  struct Case {
    const char* name;
    Tree tree;
    std::string text;
    std::vector<std::string> problems = {};
  };
  const Case cases[] = {
      {"up, and down on purpose",
       {{"service/a/supervise/status", status('u', 1)},
        {"service/b/supervise/status", status('d', 0)},
        {"service/b/supervise/down", ""}},
       "node_service_state{service=\"a\",supervisor=\"runit\"} 1\n"
       "node_service_desired_state{service=\"a\",supervisor=\"runit\"} 1\n"
       "node_service_state_last_change_timestamp_seconds{service=\"a\",supervisor=\"runit\"} 1700000000\n"
       "node_service_normal_state{service=\"a\",supervisor=\"runit\"} 1\n"
       "node_service_state{service=\"b\",supervisor=\"runit\"} 0\n"
       "node_service_desired_state{service=\"b\",supervisor=\"runit\"} 0\n"
       "node_service_state_last_change_timestamp_seconds{service=\"b\",supervisor=\"runit\"} 1700000000\n"
       "node_service_normal_state{service=\"b\",supervisor=\"runit\"} 0\n"},
      {"a linked service; finish; neither up nor down wanted",
       {{"services/c/supervise/status", status('\0', 2)}, {"service/c", "->../services/c"}},
       "node_service_state{service=\"c\",supervisor=\"runit\"} 2\n"
       "node_service_desired_state{service=\"c\",supervisor=\"runit\"} 0\n"
       "node_service_state_last_change_timestamp_seconds{service=\"c\",supervisor=\"runit\"} 1700000000\n"
       "node_service_normal_state{service=\"c\",supervisor=\"runit\"} 1\n"},
      {"not supervised, and a file", {{"service/d/run", "#!/bin/sh\n"}, {"service/README", "text"}}, ""},
      {"cut",
       {{"service/e/supervise/status", status('u', 1).substr(0, 18)}},
       "",
       {"malformed: /service/e/supervise/status: 18 bytes, 20 expected"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const CollectorFixture tree("entropy", c.tree);
    CollectorFixture fixture("runit", {}, {{"collector.runit.servicedir", tree.root() + "/service"}});
    const auto got = fixture.run();
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, "");
    ASSERT_EQ(got.problems.size(), c.problems.size());
    for (std::size_t i = 0; i < c.problems.size(); ++i) {
      auto problem = got.problems[i];
      if (const auto at = problem.find(tree.root()); at != std::string::npos) problem.erase(at, tree.root().size());
      EXPECT_EQ(problem, c.problems[i]);
    }
  }
}

TEST(Runit, NoFolder) {
  CollectorFixture fixture("runit", {}, {{"collector.runit.servicedir", "/nowhere/service"}});
  EXPECT_EQ(fixture.run().error, "gone: /nowhere/service: No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace vitald
