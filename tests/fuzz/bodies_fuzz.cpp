// SPDX-License-Identifier: Apache-2.0
// What is posted to the API, through the very handlers: forms and JSON of every path that takes a body. Nothing is
// changed: what would wait for the disk is refused, as where too many wait already.
#include <poll.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "agent/api/endpoints.h"
#include "agent/api/jobs.h"
#include "core/batch.h"
#include "rules/history/store.h"
#include "sensors/self/posted_events.h"
#include "tests/fuzz/input.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;

struct Server {
  Server() {
    static constexpr MetricDesc kDesc{.name = "m", .type = MetricType::gauge, .help = "", .labels = "a"};
    BatchWriter writer("test");
    for (int i = 0; i < 20; ++i) {
      Snapshot s;
      s.boot_ns = (1000 + i * 5) * 1'000 * kMs;
      s.wall_ns = clock.wall_ns() - (20 - i) * 5'000 * kMs;
      writer.begin(s.boot_ns);
      for (const auto* a : {"x", "y"}) writer.set(kDesc, i, a);
      s.batches.push_back(writer.finish({}, 0, 0));
      history->begin(s);
      history->end();
      newest = std::make_shared<const Snapshot>(s);
    }
    Queries::Settings limits;
    limits.timeout_ns = 50 * kMs;
    limits.max_samples = 1000;
    agent.queries = std::make_shared<Queries>(
        limits, [this] { return history; }, wake, clock);
    agent.changes = std::make_shared<Jobs>(Jobs::Settings{.thread = "change", .waiting = 0}, wake, clock);
    agent.silences = std::make_shared<Silences>();
    agent.callbacks = std::make_shared<Callbacks>(nullptr);
    agent.rules = [] { return std::make_shared<const RulesView>(); };
    agent.latest = [this] { return newest; };
    agent.collectors = [] { return CollectorStatuses(); };
    agent.interval_ns = [] { return 5'000 * kMs; };
    agent.series_labels = [] { return std::map<std::string, std::string>{{"job", "node"}}; };
    agent.events = &events;
    agent.posted = &posted;
    agent.clock = &clock;
    agent.wake = wake;
    routes = Routes(endpoints(agent));
    for (const auto& row : routes.rows())
      if (row.body_bytes > 0) bodies.push_back(&row);
  }

  SystemClock clock;
  std::shared_ptr<const Wake> wake = std::make_shared<const Wake>();
  std::shared_ptr<History> history = std::make_shared<History>(History::Settings{{{"job", "node"}}});
  SnapshotPtr newest;
  EventLog events;
  PostedEvents posted;
  AgentView agent;
  Routes routes;
  std::vector<const Route*> bodies;
};

Response answer_of(Server& server, const Request& request) {
  auto answer = server.routes.answer(request);
  if (auto* response = std::get_if<Response>(&answer)) return std::move(*response);
  auto& pending = *std::get<1>(answer);
  for (;;) {
    if (auto response = pending.poll(server.clock.boot_ns())) return std::move(*response);
    pollfd woken{server.wake->fd(), POLLIN, 0};
    ::poll(&woken, 1, 10);
    server.wake->clear();
  }
}

}  // namespace
}  // namespace vitald

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  static auto& server = *new Server;
  Input in(data, size);
  const auto& route = *server.bodies[in.byte() % server.bodies.size()];
  Request request;
  request.method = "POST";
  request.path = route.path.substr(0, route.path.find('{'));
  if (route.path.find('{') != std::string::npos) request.path += "x" + route.path.substr(route.path.find('}') + 1);
  static constexpr const char* kTypes[] = {"application/json", "application/x-www-form-urlencoded", "", "text/plain"};
  request.headers = {{"Content-Type", kTypes[in.byte() % 4]}};
  request.arrived_boot_ns = server.clock.boot_ns();
  request.peer = "127.0.0.1";
  request.loopback = true;
  request.body = in.rest().substr(0, route.body_bytes);
  const auto response = answer_of(server, request);
  if (response.status < 200 || response.status > 599 || !response.body) __builtin_trap();
  if (response.content_type.starts_with("application/json") && !response.body->empty() &&
      nlohmann::json::parse(*response.body, nullptr, false).is_discarded())
    __builtin_trap();
  return 0;
}
