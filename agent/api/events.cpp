// SPDX-License-Identifier: Apache-2.0
// GET /api/v1/events: what happened and is no number, the newest of it. Whoever follows asks for what came after the
// last sequence that he has.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "core/check.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::uint64_t kLimit = 100, kMostLimit = 1024;

Response refused(std::string_view name, std::string_view given, std::string_view expected) {
  return api_error(ApiError::bad_data, fmt::format("{}: '{}', expected {}", name, given, expected));
}

void append(std::string& out, std::string_view name, std::string_view value) {
  append_json_string(out, name);
  out += ':';
  append_json_string(out, value);
}

std::string events_json(const EventLog& log, const EventNumbers& numbers, std::optional<std::uint64_t> after,
                        std::size_t limit, const Clock& clock) {
  const auto newest = log.newest();
  // The newest ones where no start is given: the log has them in order.
  const auto from = after ? numbers.after(*after, newest) : newest - std::min<std::uint64_t>(newest, limit);
  std::string out = fmt::format(R"({{"status":"success","data":{{"newest":{},"events":[)", numbers.shown(newest));
  const auto wall_at_boot = clock.wall_ns() - clock.boot_ns();
  bool first = true;
  for (const auto& entry : log.since(from, limit)) {
    const auto& event = *entry.event;
    fmt::format_to(std::back_inserter(out), R"({}{{"sequence":{},"time":{:.3f},)", first ? "" : ",",
                   numbers.shown(entry.sequence), static_cast<double>(wall_at_boot + event.boot_ns) / 1e9);
    first = false;
    append(out, "type", event.type);
    out += ',';
    append(out, "collector", entry.collector);
    out += ',';
    append(out, "text", event.text);
    out += R"(,"fields":{)";
    for (std::size_t i = 0; i < event.fields.size(); ++i) {
      if (i != 0) out += ',';
      append(out, event.fields[i].first, event.fields[i].second);
    }
    out += "}}";
  }
  return out + "]}}\n";
}

}  // namespace

Handler events_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    std::optional<std::uint64_t> after;
    auto limit = kLimit;
    if (const auto given = request.all("after"); !given.empty()) {
      const auto number = parse_u64(given[0]);
      if (!number) return refused("after", given[0], "the sequence of an event");
      after = *number;
    }
    if (const auto given = request.all("limit"); !given.empty()) {
      const auto number = parse_u64(given[0]);
      if (!number || *number < 1 || *number > kMostLimit)
        return refused("limit", given[0], fmt::format("a number from 1 to {}", kMostLimit));
      limit = *number;
    }
    check(agent.events != nullptr, "an agent with events");
    return json_response(200, events_json(*agent.events, agent.event_numbers, after, limit, *agent.clock));
  };
}

}  // namespace vitald
