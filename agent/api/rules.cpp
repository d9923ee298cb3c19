// SPDX-License-Identifier: Apache-2.0
#include "agent/api/rules.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <ctime>

#include "agent/api/endpoints.h"
#include "core/text/json.h"

namespace vitald {

namespace {

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
  // JSON has no NaN and no infinity; none of our durations is one.
  void number(std::string_view name, double v) { key(name), raw(fmt::format("{}", std::isfinite(v) ? v : 0)); }
  void map(std::string_view name, const LabelMap& labels) {
    key(name);
    open('{');
    for (const auto& [k, v] : labels) text(k, v);
    close('}');
  }

 private:
  void separate() {
    if (!first_) out_ += ',';
    first_ = false;
  }
  std::string& out_;
  bool first_ = true;
};

// RFC 3339 as Go writes it; its zero time where nothing has happened yet.
std::string rfc3339(std::int64_t epoch_ms) {
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

// Go's strconv.FormatFloat(v, 'e', -1, 64): "1e+00".
std::string exponent(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  char buf[40];
  const auto [end, ec] = std::to_chars(buf, buf + sizeof buf, v, std::chars_format::scientific);
  return {buf, end};
}

void alert(Json& j, const Alert& a) {
  j.open('{');
  j.map("labels", a.labels);
  j.map("annotations", a.annotations);
  j.text("state", to_string(a.state));
  j.text("activeAt", rfc3339(a.active_at_ms));
  j.text("value", exponent(a.value));
  j.close('}');
}

void rule(Json& j, const RuleView& r) {
  j.open('{');
  if (r.alerting) j.text("state", to_string(r.state));
  j.text("name", r.name);
  j.text("query", r.query);
  if (r.alerting) {
    j.number("duration", r.duration_s);
    j.number("keepFiringFor", r.keep_firing_for_s);
  }
  if (r.alerting || !r.labels.empty()) j.map("labels", r.labels);
  if (r.alerting) {
    j.map("annotations", r.annotations);
    j.key("alerts");
    j.open('[');
    for (const auto& a : r.alerts) alert(j, a);
    j.close(']');
  }
  j.text("health", r.health);
  if (!r.last_error.empty()) j.text("lastError", r.last_error);
  if (!r.warning.empty()) j.text("warning", r.warning);
  j.number("evaluationTime", r.evaluation_s);
  j.text("lastEvaluation", rfc3339(r.last_evaluation_ms));
  j.text("type", r.alerting ? "alerting" : "recording");
  j.close('}');
}

// {"status":"success","data":{KEY:[what `items` writes]}}
template <class Items>
std::string answer(std::string_view key, Items&& items) {
  std::string out;
  Json j(out);
  j.open('{');
  j.text("status", "success");
  j.key("data");
  j.open('{');
  j.key(key);
  j.open('[');
  items(j);
  j.close(']');
  j.close('}');
  j.close('}');
  return out;
}

}  // namespace

std::string rules_json(const RulesView& view, RuleFilter filter) {
  return answer("groups", [&](Json& j) {
    for (const auto& g : view.groups) {
      j.open('{');
      j.text("name", g.name);
      j.text("file", g.file);
      j.key("rules");
      j.open('[');
      for (const auto& r : g.rules)
        if (filter == RuleFilter::all || r.alerting == (filter == RuleFilter::alert)) rule(j, r);
      j.close(']');
      j.number("interval", g.interval_s);
      j.number("limit", static_cast<double>(g.limit));
      j.number("evaluationTime", g.evaluation_s);
      j.text("lastEvaluation", rfc3339(g.last_evaluation_ms));
      j.close('}');
    }
  });
}

std::string alerts_json(const RulesView& view) {
  return answer("alerts", [&](Json& j) {
    for (const auto& g : view.groups)
      for (const auto& r : g.rules)
        for (const auto& a : r.alerts) alert(j, a);
  });
}

namespace {

Response json_response(int status, std::string body) {
  return {status, "application/json", std::make_shared<const std::string>(std::move(body)), {}};
}

Response rules_response(const Request& request, const RulesView& rules) {
  const auto type = request.all("type");
  if (type.empty() || type[0].empty()) return json_response(200, rules_json(rules));
  if (type[0] == "alert") return json_response(200, rules_json(rules, RuleFilter::alert));
  if (type[0] == "record") return json_response(200, rules_json(rules, RuleFilter::record));
  std::string problem = R"({"status":"error","errorType":"bad_data","error":)";
  append_json_string(problem, fmt::format("type: '{}', expected alert or record", type[0]));
  return json_response(400, problem + "}\n");
}

std::shared_ptr<const RulesView> view_of(const AgentView& agent) {
  static const auto kNone = std::make_shared<const RulesView>();
  auto view = agent.rules();
  return view ? view : kNone;
}

}  // namespace

Handler rules_page(const AgentView& agent) {
  return [agent](const Request& request) { return rules_response(request, *view_of(agent)); };
}

Handler alerts_page(const AgentView& agent) {
  return [agent](const Request&) { return json_response(200, alerts_json(*view_of(agent))); };
}

}  // namespace vitald
