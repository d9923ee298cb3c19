// SPDX-License-Identifier: Apache-2.0
// Everything but /metrics: the landing page, health, reload and the API. Pure functions of what they show.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/http/message.h"
#include "agent/pipeline/collectors.h"
#include "core/snapshot.h"
#include "rules/engine.h"

namespace vitald {

struct SiteSource {
  std::function<SnapshotPtr()> latest;
  std::function<CollectorStatuses()> collectors;
  std::function<std::shared_ptr<const RulesView>()> rules;
  // Must not block: calls back from any thread, with problems or none.
  std::function<void(std::function<void(const std::vector<std::string>&)>)> reload;
  std::string metrics_path = "/metrics";
};

// 404 for what is not there, 405 for a wrong method.
Response handle(const Request& request, const SiteSource& source);
// To read the configuration again, which takes a while: not for handle(), see SiteSource::reload.
bool is_reload(const Request& request);
Response reloaded(const std::vector<std::string>& problems);
// 405 with Allow when a GET or HEAD is wanted and it is something else.
bool is_read(const Request& request);
Response method_not_allowed(std::string_view allowed);

}  // namespace vitald
