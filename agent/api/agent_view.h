// SPDX-License-Identifier: Apache-2.0
// What endpoints may ask of the agent. An endpoint's function gets one and keeps what it needs.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/event_numbers.h"
#include "agent/api/metrics.h"
#include "agent/api/queries.h"
#include "agent/api/verdicts.h"
#include "agent/http/pending.h"
#include "agent/pipeline/callbacks.h"
#include "agent/pipeline/collectors.h"
#include "agent/pipeline/evidence.h"
#include "core/clock.h"
#include "core/event.h"
#include "core/snapshot.h"
#include "rules/engine.h"
#include "rules/history/exemplars.h"
#include "rules/silences.h"

namespace vitald {

class PostedEvents;

// Functions are called on the server's loop and must not block.
struct AgentView {
  std::function<SnapshotPtr()> latest;
  std::function<CollectorStatuses()> collectors;
  std::function<std::shared_ptr<const RulesView>()> rules;
  // Calls back from any thread, with problems or none.
  std::function<void(std::function<void(const std::vector<std::string>&)>)> reload;
  std::shared_ptr<MetricsHandler> metrics;
  std::shared_ptr<Queries> queries;
  std::shared_ptr<Verdicts> verdicts;
  std::shared_ptr<Silences> silences;
  std::shared_ptr<Callbacks> callbacks;
  std::shared_ptr<Evidence> evidence;         // null: none is gathered
  std::shared_ptr<Jobs> changes;              // what waits for the disk, one after the other
  std::function<std::int64_t()> interval_ns;  // of the pipeline
  std::string external_url;                   // where others reach this server
  std::shared_ptr<const Freshness> freshness;
  const EventLog* events = nullptr;                                   // thread-safe
  const ExemplarLog* exemplars = nullptr;                             // thread-safe; null: none are kept
  std::function<std::map<std::string, std::string>()> series_labels;  // that every series has in history
  PostedEvents* posted = nullptr;                                     // thread-safe; null: none are taken
  EventNumbers event_numbers;
  const Clock* clock = nullptr;
  std::shared_ptr<const Wake> wake;
  std::string metrics_path = "/metrics";
};

}  // namespace vitald
