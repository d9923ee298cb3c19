// SPDX-License-Identifier: Apache-2.0
// All endpoints, made from endpoints.list. docs/adding-an-endpoint.md says how to add one.
#pragma once

#include <vector>

#include "agent/api/agent_view.h"
#include "agent/http/routes.h"

namespace vitald {

std::vector<Route> endpoints(const AgentView& agent);
// In place of an answer for which there is no room, as clients of that path understand it.
Response no_room_for(const Request& request);

#define ENDPOINT(file, function, ...) Handler function(const AgentView& agent);  // agent/api/<file>.cpp
#include "agent/api/endpoints.list"
#undef ENDPOINT

}  // namespace vitald
