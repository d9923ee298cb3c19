// SPDX-License-Identifier: Apache-2.0
// /api/v1/events: what happened and is no number, the newest of it. Whoever follows asks for what came after the last
// sequence that he has; programs of this host post what they have seen.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/pipeline/callbacks.h"
#include "core/check.h"
#include "core/log.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/self/posted_events.h"

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

// ---- posted ones

constexpr std::size_t kMostName = 64, kMostText = 1024, kMostFields = 32;

std::optional<std::string> text_of(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

// {"type": "deploy", "text": "...", "value": 3, "labels": {...}, "metadata": {...}, "timestamp": "..."}; `type` must be
// there. A time that is to come is now.
Result<Event> posted_event(std::string_view body, const Clock& clock) {
  const auto wrong = [](std::string_view key, std::string_view expected) {
    return fail(Errc::malformed, fmt::format("{}: expected {}", key, expected));
  };
  const auto parsed = nlohmann::json::parse(body, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object())
    return fail(Errc::malformed, "the body is no JSON object, expected {\"type\": \"deploy\", \"text\": \"...\"}");
  Event event;
  event.boot_ns = clock.boot_ns();
  for (const auto& [key, value] : parsed.items()) {
    if (value.is_null()) continue;
    if (key == "type") {
      event.type = value.is_string() ? value.get<std::string>() : std::string();
      if (const auto problem = posted_type_problem(event.type); !problem.empty())
        return fail(Errc::malformed, "type: " + problem);
    } else if (key == "text") {
      if (!value.is_string() || value.get<std::string>().size() > kMostText)
        return wrong(key, fmt::format("text of {} bytes at most", kMostText));
      event.text = fit_text(value.get<std::string>());
    } else if (key == "value") {
      if (!value.is_number()) return wrong(key, "a number");
      event.fields.emplace_back("value", value.dump());
    } else if (key == "timestamp") {
      const auto written = text_of(value);
      const auto at_ms = written ? parse_api_time(*written) : std::nullopt;
      // Before 1970 are the years 1 of those who have no time, and what no clock of ours can say.
      if (!at_ms || *at_ms < 0)
        return wrong(key, "a time since 1970, e.g. 2026-01-31T12:00:00Z or seconds since the epoch");
      const auto now_ns = clock.wall_ns();
      if (*at_ms < now_ns / 1'000'000) event.boot_ns -= now_ns - *at_ms * 1'000'000;
    } else if (key == "labels" || key == "metadata") {
      if (!value.is_object()) return wrong(key, "an object");
      for (const auto& [name, inner] : value.items()) {
        auto text = text_of(inner);
        if (!text || text->size() > kMostText || name.empty() || name.size() > kMostName)
          return wrong(fmt::format("{}.{}", key, log::one_line(name.substr(0, kMostName))),
                       "a short name with a text or number");
        event.fields.emplace_back(fit_text(name), fit_text(*text));
      }
      if (event.fields.size() > kMostFields) return wrong(key, fmt::format("{} fields at most", kMostFields));
    } else {
      return wrong(log::one_line(key.substr(0, kMostName)),
                   "none of that name: type, text, value, labels, metadata and timestamp are known");
    }
  }
  if (event.type.empty()) return wrong("type", "a word, e.g. deploy");
  return event;
}

Response post(const AgentView& agent, const Request& request) {
  check(agent.posted != nullptr, "an agent that takes events");
  auto event = posted_event(request.body, *agent.clock);
  if (!event) {
    agent.posted->count_malformed();
    return api_error(ApiError::bad_data, event.error().text);
  }
  if (agent.posted->add(std::move(*event), agent.clock->boot_ns())) return json_response(202, success("{}"));
  auto full = api_error(ApiError::unavailable, "too many events wait already; try again later");
  full.headers.emplace_back("Retry-After", "1");
  return full;
}

}  // namespace

Handler events_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    if (request.method == "POST") return post(agent, request);
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
