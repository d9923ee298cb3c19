// SPDX-License-Identifier: Apache-2.0
#include "agent/api/endpoints.h"

#include "agent/api/json.h"

namespace vitald {

std::vector<Route> endpoints(const AgentView& agent) {
  return {
#define ENDPOINT(file, function, path, methods, access, body_bytes, help) \
  {path, methods, Access::access, body_bytes, help, function(agent)},
#include "agent/api/endpoints.list"
#undef ENDPOINT
  };
}

Response no_room_for(const Request& request) {
  constexpr std::string_view kWhy = "too many large answers are on their way; read them, or try again later";
  if (request.path.starts_with("/api/v2/")) {
    std::string out;
    append_json_string(out, kWhy);
    return json_response(503, std::move(out));
  }
  if (request.path.starts_with("/api/")) return api_error(ApiError::unavailable, kWhy);
  return text_response(503, std::string(kWhy) + '\n');
}

}  // namespace vitald
