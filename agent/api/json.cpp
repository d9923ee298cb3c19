// SPDX-License-Identifier: Apache-2.0
#include "agent/api/json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <ctime>
#include <utility>

#include "core/log.h"
#include "exporters/encode/gzip.h"

namespace vitald {

void Json::number(std::string_view name, double v) { key(name), raw(fmt::format("{}", std::isfinite(v) ? v : 0)); }
void Json::whole(std::string_view name, std::int64_t v) { key(name), raw(fmt::format("{}", v)); }
void Json::map(std::string_view name, const LabelMap& labels) {
  key(name);
  open('{');
  for (const auto& [k, v] : labels) text(k, v);
  close('}');
}
void Json::list(std::string_view name, const std::vector<std::string>& texts) {
  key(name);
  open('[');
  for (const auto& t : texts) text(t);
  close(']');
}

std::string go_time(std::int64_t epoch_ms) {
  if (epoch_ms <= 0) return "0001-01-01T00:00:00Z";
  const std::time_t seconds = epoch_ms / 1000;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  auto text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                          tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (const auto ms = epoch_ms % 1000; ms != 0) {
    text += fmt::format(".{:03}", ms);
    while (text.back() == '0') text.pop_back();
  }
  return text + 'Z';
}

namespace {

// False: it is a number.
bool append_special(std::string& out, double v) {
  if (std::isnan(v)) out += "NaN";
  else if (std::isinf(v)) out += v > 0 ? "+Inf" : "-Inf";
  else return false;
  return true;
}

void append_number(std::string& out, double v, std::chars_format format) {
  char buf[400];  // 1e-6 to 1e21 without an exponent are 40 at most
  const auto [end, ec] = std::to_chars(buf, buf + sizeof buf, v, format);
  out.append(buf, end);
}

}  // namespace

std::string exponent_text(double v) {
  std::string out;
  if (!append_special(out, v)) append_number(out, v, std::chars_format::scientific);
  return out;
}

void append_sample_value(std::string& out, double v) {
  if (append_special(out, v)) return;
  const auto size = std::abs(v);
  const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
  append_number(out, v, exponent ? std::chars_format::scientific : std::chars_format::fixed);
}
std::string sample_value(double v) {
  std::string out;
  append_sample_value(out, v);
  return out;
}

void append_sample_time(std::string& out, std::int64_t epoch_ms) {
  if (epoch_ms < 0) out += '-', epoch_ms = -epoch_ms;
  fmt::format_to(std::back_inserter(out), "{}", epoch_ms / 1000);
  if (const auto ms = epoch_ms % 1000; ms != 0) fmt::format_to(std::back_inserter(out), ".{:03}", ms);
}

Response json_response(int status, std::string body) {
  return {status, "application/json", std::make_shared<const std::string>(std::move(body)), {}, false};
}

Response api_error(ApiError type, std::string_view text) {
  static constexpr std::pair<std::string_view, int> kTypes[] = {
      {"bad_data", 400},    {"execution", 422}, {"timeout", 503},  {"canceled", 503},
      {"unavailable", 503}, {"not_found", 404}, {"internal", 500},
  };
  const auto [name, status] = kTypes[static_cast<std::size_t>(type)];
  std::string out;
  Json j(out);
  j.open('{');
  j.text("status", "error");
  j.text("errorType", name);
  j.text("error", text);
  j.close('}');
  return json_response(status, std::move(out));
}

std::string success(std::string_view data, const Notes& notes) {
  std::string out = R"({"status":"success","data":)";
  out += data;
  for (const bool warnings : {true, false}) {
    const auto& list = warnings ? notes.warnings : notes.infos;
    if (list.empty()) continue;
    std::string texts;
    Json j(texts);
    j.list(warnings ? "warnings" : "infos", list);
    out += ',' + texts;
  }
  return out += '}';
}

Response packed(Response response, bool gzip) {
  constexpr std::size_t kWorthIt = 1400;  // what is in one packet anyway
  response.headers.emplace_back("Vary", "Accept-Encoding");
  if (!gzip || !response.body || response.body->size() < kWorthIt) return response;
  auto smaller = std::make_shared<std::string>();
  if (const auto done = Gzip().compress(*response.body, *smaller); !done) {
    log::error("gzip", {{"err", done.error().text}});
    return response;
  }
  response.body = std::move(smaller);
  response.headers.emplace_back("Content-Encoding", "gzip");
  return response;
}

}  // namespace vitald
