// SPDX-License-Identifier: Apache-2.0
// GET /api/v1/agent: which agent this is, every collector and probe with its state and why, and which endpoints there
// are.
#include "agent/api/collector_state.h"
#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "core/os/host_name.h"

namespace vitald {
namespace {

std::vector<std::string> paths(const AgentView& agent) {
  return {
#define ENDPOINT(file, function, path, ...) std::string(path),
#include "agent/api/endpoints.list"
#undef ENDPOINT
  };
}

std::string inventory(const AgentView& agent) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("version", VITALD_VERSION);
  j.text("host", host_name());
  j.text("metrics_path", agent.metrics_path);
  if (agent.clock) j.number("time", static_cast<double>(agent.clock->wall_ns()) / 1e9);
  j.number("interval_seconds", static_cast<double>(agent.interval_ns()) / 1e9);
  if (const auto latest = agent.latest()) j.whole("series", static_cast<std::int64_t>(latest->series_count()));
  j.key("collectors");
  j.open('[');
  if (const auto rows = agent.collectors())
    for (const auto& row : *rows) {
      j.open('{');
      j.text("name", row.name);
      j.flag("probe", row.probe());
      j.text("state", word(row.state));
      j.text("text", row.text);
      j.list("left_out", row.left_out);
      j.close('}');
    }
  j.close(']');
  j.list("endpoints", paths(agent));
  j.close('}');
  return success(out);
}

}  // namespace

Handler inventory_page(const AgentView& agent) {
  return [agent](const Request& request) {
    return packed(json_response(200, inventory(agent)), accepts_gzip(request.list("Accept-Encoding")));
  };
}

}  // namespace vitald
