// SPDX-License-Identifier: Apache-2.0
#include "agent/api/body.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "agent/api/prom_params.h"
#include "core/text/scan.h"

namespace vitald {

namespace {

using nlohmann::json;

Result<json> object_of(std::string_view text) {
  auto parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) return fail(Errc::malformed, "the body is no JSON object");
  return parsed;
}

// Text of a scalar; nothing: it is none.
std::optional<std::string> text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return {};
}

}  // namespace

Result<Parameters> body_of(const Request& request) {
  const auto trimmed = trim(request.body);
  auto type = request.header("Content-Type");
  type = trim(take_until(type, ';'));
  if (type.starts_with("multipart/"))
    return fail(Errc::malformed, fmt::format("the body is {}, expected a JSON object or a form "
                                             "(application/x-www-form-urlencoded)",
                                             type));
  const bool is_json = type == "application/json" || trimmed.starts_with('{') || trimmed.starts_with('[');
  if (!is_json || trimmed.empty()) return parameters_of(request);
  const auto parsed = object_of(trimmed);
  if (!parsed) return fail(parsed.error());
  Parameters out;
  for (const auto& [key, value] : parsed->items()) {
    if (value.is_null()) continue;
    auto text = text_of(value);
    if (!text) return fail(Errc::malformed, fmt::format("{}: expected a text or a number", key));
    out.emplace_back(key, std::move(*text));
  }
  out.insert(out.end(), request.query.begin(), request.query.end());
  return out;
}

Result<Silence> parse_silence(std::string_view text, std::int64_t now_ms) {
  const auto parsed = object_of(text);
  if (!parsed) return fail(parsed.error());
  Silence out;
  out.starts_ms = now_ms;
  const auto bad = [](std::string_view key, std::string_view expected) {
    return fail(Errc::malformed, fmt::format("{}: expected {}", key, expected));
  };
  auto budget = Silences::budget();
  bool has_end = false;
  for (const auto& [key, value] : parsed->items()) {
    if (value.is_null()) continue;
    if (key == "id" || key == "createdBy" || key == "comment") {
      if (!value.is_string()) return bad(key, "text");
      (key == "id" ? out.id : key == "comment" ? out.comment : out.created_by) = value.get<std::string>();
    } else if (key == "startsAt" || key == "endsAt") {
      const auto written = text_of(value);
      const auto time = written ? parse_api_time(*written) : std::nullopt;
      if (!time) return bad(key, "a time, e.g. 2026-01-31T12:00:00Z");
      (key == "endsAt" ? out.ends_ms : out.starts_ms) = *time;
      has_end = has_end || key == "endsAt";
    } else if (key == "matchers") {
      if (!value.is_array()) return bad(key, "a list");
      for (const auto& m : value) {
        const auto member = [&m](const char* name) -> const json* {
          const auto at = m.find(name);
          return at == m.end() ? nullptr : &*at;
        };
        const auto *name = m.is_object() ? member("name") : nullptr,
                   *wanted = m.is_object() ? member("value") : nullptr;
        if (!name || !wanted || !name->is_string() || !wanted->is_string())
          return bad(key, "objects with 'name' and 'value'");
        const auto flag = [&](const char* what, bool fallback) {
          const auto* v = member(what);
          return v && v->is_boolean() ? v->get<bool>() : fallback;
        };
        for (const auto* what : {"isRegex", "isEqual"})
          if (const auto* v = member(what); v && !v->is_boolean() && !v->is_null())
            return bad(key, fmt::format("true or false as '{}', found {}", what, v->type_name()));
        auto matcher = alert_matcher(name->get<std::string>(), wanted->get<std::string>(), flag("isRegex", false),
                                     flag("isEqual", true), &budget);
        if (!matcher) return fail(matcher.error());
        out.matchers.push_back(std::move(*matcher));
      }
    }  // what else clients send (status, updatedAt) is ours to say
  }
  if (!has_end) return bad("endsAt", "a time: when it ends");
  if (out.created_by.empty()) return bad("createdBy", "who makes it");
  return out;
}

}  // namespace vitald
