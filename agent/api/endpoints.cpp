// SPDX-License-Identifier: Apache-2.0
#include "agent/api/endpoints.h"

namespace vitald {

std::vector<Route> endpoints(const AgentView& agent) {
  return {
#define ENDPOINT(file, function, path, methods, access, body_bytes, help) \
  {path, methods, Access::access, body_bytes, help, function(agent)},
#include "agent/api/endpoints.list"
#undef ENDPOINT
  };
}

}  // namespace vitald
