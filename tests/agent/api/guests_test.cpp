// SPDX-License-Identifier: Apache-2.0
// Which guest /api/telemetry/stats/{vm_id} means.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/endpoints.h"
#include "core/batch.h"

namespace vitald {
namespace {

constexpr MetricDesc kUp{"libvirt_up", MetricType::gauge, ""};
constexpr MetricDesc kId{"vitald_guest_id", MetricType::gauge, "", "domain,uuid"};

// A guest may be called what another one's number is; libvirt forbids only the same name twice.
TEST(ApiGuests, UuidThenNameThenNumber) {
  BatchWriter out("libvirt");
  out.begin(5'000'000'000);
  out.set(kUp, 1);
  out.set(kId, 2, "a", "u-a");
  out.set(kId, 3, "2", "u-2");
  out.set(kId, 4, "u-a", "u-x");
  const auto snapshot =
      std::make_shared<const Snapshot>(Snapshot{1, 5'000'000'000, 1'700'000'000'000'000'000, {out.finish({}, 0, 0)}});
  AgentView agent;
  agent.latest = [snapshot] { return snapshot; };
  const auto page = guest_page(agent);
  struct Case {
    const char *asked, *name;
  };
  for (const auto& c : {Case{"a", "a"}, {"2", "2"}, {"3", "2"}, {"4", "u-a"}, {"u-a", "a"}, {"u-x", "u-a"}}) {
    SCOPED_TRACE(c.asked);
    Request request;
    request.path = std::string("/api/telemetry/stats/") + c.asked;
    const auto answer = std::get<Response>(page(request));
    ASSERT_EQ(answer.status, 200);
    EXPECT_EQ(nlohmann::json::parse(*answer.body)["data"]["name"], c.name);
  }
  Request request;
  request.path = "/api/telemetry/stats/5";
  EXPECT_EQ(std::get<Response>(page(request)).status, 404);
}

}  // namespace
}  // namespace vitald
