// SPDX-License-Identifier: Apache-2.0
// /api/v1/receivers: who is told of alerts and how that goes; of commands what they said. That may be anything, so it
// is for those who may change something.
#include <fmt/format.h>

#include <utility>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "exporters/deliver/receiver_book.h"

namespace vitald {
namespace {

void append(Json& j, const CommandRun& run) {
  j.open('{');
  j.text("alert", run.alert);
  j.text("status", run.status);
  j.text("at", go_time(run.began_wall_ms));
  j.number("seconds", static_cast<double>(run.took_ns) / 1e9);
  j.text("result", to_string(run.result));
  j.text("end", run.end);
  if (run.exit_status >= 0) j.whole("exit_status", run.exit_status);
  j.text("output", run.output);
  j.close('}');
}

void append(Json& j, const ReceiverBook::Row& row) {
  const auto& q = row.queue;
  j.open('{');
  j.text("name", row.name);
  j.text("text", row.text);
  j.whole("waiting", static_cast<std::int64_t>(q.waiting + q.in_flight));
  if (q.oldest_wall_ms != 0) j.text("oldest_waiting", go_time(q.oldest_wall_ms));
  j.whole("delivered", static_cast<std::int64_t>(q.delivered));
  j.whole("dropped", static_cast<std::int64_t>(q.dropped.all()));
  if (q.dropped.all() > 0) {
    j.key("dropped_why");
    j.open('{');
    for (const auto& [why, items] :
         {std::pair("full", q.dropped.full), std::pair("refused", q.dropped.refused),
          std::pair("too_large", q.dropped.too_large), std::pair("failed", q.dropped.failed),
          std::pair("about_delivery", q.dropped.about_delivery), std::pair("lost", q.dropped.lost)})
      if (items > 0) j.whole(why, static_cast<std::int64_t>(items));
    j.close('}');
  }
  j.flag("failing", q.failing);
  if (!q.problem.empty()) j.text("problem", q.problem);
  j.key("runs");
  j.open('[');
  for (const auto& run : row.runs) append(j, run);
  j.close(']');
  j.close('}');
}

}  // namespace

Handler receivers_page(const AgentView&) {
  return [](const Request& request) -> Answer {
    std::string out;
    Json j(out);
    j.open('[');
    for (const auto& row : receiver_book().rows()) append(j, row);
    j.close(']');
    return packed(json_response(200, success(out)), accepts_gzip(request.list("Accept-Encoding")));
  };
}

}  // namespace vitald
