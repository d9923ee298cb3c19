// SPDX-License-Identifier: Apache-2.0
// /api/v1/alerts/{id}/evidence: what was written down when the alert fired. It has names of processes and the kernel's
// log, so it is for those who may change something.
#include "agent/pipeline/evidence.h"

#include <fmt/format.h>

#include "agent/api/alerts.h"
#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/rules.h"
#include "core/os/machine_id.h"
#include "core/text/scan.h"

namespace vitald {

namespace {

constexpr std::int64_t kPatienceNs = 5'000'000'000;  // for the disk

}  // namespace

Handler evidence_request(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    std::string id(part_of_path("/api/v1/alerts/{id}/evidence", request.path));
    if (!agent.evidence) return api_error(ApiError::not_found, "no evidence is kept");
    // The fingerprint of an alert that is there means this time, not one before it.
    static const auto kMachine = machine_uuid();
    const auto view = rules_view_of(agent);
    for (const auto& row : alert_rows(*view, *agent.silences, agent.clock->wall_ns() / 1'000'000, kMachine))
      if (fmt::format("{:016x}", row.alert->fingerprint) == id) {
        id = row.uuid;
        break;
      }
    auto work = [evidence = agent.evidence, id,
                 gzip = accepts_gzip(request.list("Accept-Encoding"))](const Jobs::GivenUp&) {
      auto found = evidence->of(id);
      if (found) return packed(json_response(200, success(trim(*found))), gzip);
      return api_error(found.error().kind == Errc::absent ? ApiError::not_found : ApiError::internal,
                       found.error().text);
    };
    if (auto pending = agent.changes->run(std::move(work), request.arrived_boot_ns + kPatienceNs)) return pending;
    return api_error(ApiError::unavailable, "too many changes wait already; try again later");
  };
}

}  // namespace vitald
