// SPDX-License-Identifier: Apache-2.0
// The example of docs/adding-an-endpoint.md, as it stands there: its row in the table, its file, and what it answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/endpoints.h"
#include "core/clock.h"

namespace vitald {

#define ENDPOINT(file, function, ...) Handler function(const AgentView& agent);
#include "walk/endpoint.list"
#undef ENDPOINT

TEST(Walk, Endpoint) {
  FakeClock clock;
  clock.boot = 90'500'000'000;
  AgentView agent;
  agent.clock = &clock;
  const Routes routes({
#define ENDPOINT(file, function, path, methods, access, body_bytes, help) \
  {path, methods, Access::access, body_bytes, help, function(agent)},
#include "walk/endpoint.list"
#undef ENDPOINT
  });
  struct Case {
    const char *name, *method, *since;
    int status;
    const char* body;
  };
  for (const auto& c :
       {Case{"since boot", "GET", nullptr, 200, "90.5\n"}, Case{"since then", "GET", "60", 200, "30.5\n"},
        Case{"no number", "GET", "x", 400, "since: 'x', expected a number of seconds\n"},
        Case{"method", "POST", nullptr, 405, "only GET, HEAD, OPTIONS here\n"}}) {
    SCOPED_TRACE(c.name);
    Request request;
    request.method = c.method;
    request.path = "/api/v1/uptime";
    if (c.since) request.query.emplace_back("since", c.since);
    const auto answer = routes.answer(request);
    ASSERT_TRUE(std::holds_alternative<Response>(answer));
    EXPECT_EQ(std::get<Response>(answer).status, c.status);
    EXPECT_EQ(*std::get<Response>(answer).body, c.body);
  }
  EXPECT_THAT(
      routes_markdown(routes.rows()),
      testing::HasSubstr("| `/api/v1/uptime` | GET, HEAD | all | none | Seconds since boot, or after `since`. |"));
}

}  // namespace vitald
