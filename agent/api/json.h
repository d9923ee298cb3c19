// SPDX-License-Identifier: Apache-2.0
// JSON as Prometheus' HTTP API writes it: numbers of samples are texts, times seconds with three digits, and each
// answer is in an envelope that says how it went.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/http/message.h"
#include "core/alert.h"
#include "core/text/json.h"

namespace vitald {

// Commas between members are the only state.
class Json {
 public:
  explicit Json(std::string& out) : out_(out) {}
  void open(char c) { separate(), out_ += c, first_ = true; }
  void close(char c) { out_ += c, first_ = false; }
  void key(std::string_view name) {
    separate();
    append_json_string(out_, name);
    out_ += ':';
    first_ = true;
  }
  void text(std::string_view v) { separate(), append_json_string(out_, v); }
  void raw(std::string_view v) { separate(), out_ += v; }
  void text(std::string_view name, std::string_view v) { key(name), text(v); }
  void flag(std::string_view name, bool v) { key(name), raw(v ? "true" : "false"); }
  // JSON has no NaN and no infinity; what is not finite becomes 0.
  void number(std::string_view name, double v);
  void whole(std::string_view name, std::int64_t v);
  void map(std::string_view name, const LabelMap& labels);
  void list(std::string_view name, const std::vector<std::string>& texts);

 private:
  void separate() {
    if (!first_) out_ += ',';
    first_ = false;
  }
  std::string& out_;
  bool first_ = true;
};

// RFC 3339 as Go writes it; its zero time for 0 and what is before.
std::string go_time(std::int64_t epoch_ms);
// Go's strconv.FormatFloat(v, 'e', -1, 64): "1e+00".
std::string exponent_text(double v);
// A sample's value: as short as can be, with an exponent only below 1e-6 and from 1e21 on.
void append_sample_value(std::string& out, double v);
std::string sample_value(double v);
// Seconds with milliseconds: 1435781451.781, 1435781451.
void append_sample_time(std::string& out, std::int64_t epoch_ms);

// Prometheus' types of errors, with the HTTP status that belongs to each.
enum class ApiError : std::uint8_t { bad_data, execution, timeout, canceled, unavailable, not_found, internal };
Response api_error(ApiError type, std::string_view text);
Response json_response(int status, std::string body);
// What an answer says beside its data, where there is something to say.
struct Notes {
  std::vector<std::string> warnings, infos;
};
// Prometheus' warning where a `limit` left something out.
inline constexpr const char* kTruncated = "results truncated due to limit";
// {"status":"success","data":DATA}, and the notes.
std::string success(std::string_view data, const Notes& notes = {});
// The same body packed where the client takes it (`gzip`) and it is worth it.
Response packed(Response response, bool gzip);

}  // namespace vitald
