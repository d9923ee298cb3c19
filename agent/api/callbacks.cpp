// SPDX-License-Identifier: Apache-2.0
// /api/v1/callbacks: programs register URLs that are posted events as they come.
#include "agent/pipeline/callbacks.h"

#include <fmt/format.h>

#include "agent/api/body.h"
#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "exporters/deliver/http.h"

namespace vitald {
namespace {

constexpr std::int64_t kPatienceNs = 5'000'000'000;  // for the disk

void append(Json& j, const Callback& c) {
  j.text("id", c.id);
  j.text("event_type", c.event_type);
  j.text("url", url_for_display(c.url));
  j.text("created_at", go_time(c.created_ms));
}

Response refused(const Error& error) {
  return api_error(error.kind == Errc::malformed ? ApiError::bad_data
                   : error.kind == Errc::absent  ? ApiError::not_found
                                                 : ApiError::internal,
                   error.text);
}

Answer change(const AgentView& agent, const Request& request, Jobs::Work work) {
  if (auto pending = agent.changes->run(std::move(work), request.arrived_boot_ns + kPatienceNs)) return pending;
  return api_error(ApiError::unavailable, "too many changes wait already; try again later");
}

Response list(const Callbacks& callbacks) {
  std::string out;
  Json j(out);
  j.open('[');
  for (const auto& row : callbacks.rows()) {
    j.open('{');
    append(j, row.callback);
    j.whole("waiting", static_cast<std::int64_t>(row.stats.waiting + row.stats.in_flight));
    j.whole("delivered", static_cast<std::int64_t>(row.stats.delivered));
    j.whole("dropped", static_cast<std::int64_t>(row.stats.dropped.all()));
    j.close('}');
  }
  j.close(']');
  return json_response(200, success(out));
}

}  // namespace

Handler callbacks_request(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    if (request.method != "POST") return list(*agent.callbacks);
    const auto body = body_of(request);
    if (!body) return refused(body.error());
    return change(agent, request,
                  [callbacks = agent.callbacks, type = std::string(first(*body, "event_type")),
                   url = std::string(first(*body, "url")), now_ms = agent.clock->wall_ns() / 1'000'000,
                   newest = agent.events ? agent.events->newest() : 0](const Jobs::GivenUp&) {
                    const auto made = callbacks->add(type, url, now_ms, newest);
                    if (!made) return refused(made.error());
                    std::string out;
                    Json j(out);
                    j.open('{');
                    append(j, *made);
                    j.close('}');
                    return json_response(200, success(out));
                  });
  };
}

Handler callback_request(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    return change(agent, request,
                  [callbacks = agent.callbacks,
                   id = std::string(part_of_path("/api/v1/callbacks/{id}", request.path))](const Jobs::GivenUp&) {
                    const auto done = callbacks->remove(id);
                    return done ? json_response(200, success("{}")) : refused(done.error());
                  });
  };
}

}  // namespace vitald
