// SPDX-License-Identifier: Apache-2.0
// /api/v1/verdict: what is wrong with this host, an owner or a guest, since when, by which numbers and which rule.
#include <fmt/format.h>

#include <algorithm>

#include "agent/api/endpoints.h"
#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/api/verdicts.h"
#include "core/os/kernel_file.h"
#include "rules/promql/labels.h"

namespace vitald {

namespace {
constexpr std::size_t kFileBytes = 1 << 20;
}  // namespace

Verdicts::TablePtr Verdicts::load(const Options& options, std::vector<std::string>& problems) {
  auto table = std::make_shared<Table>();
  table->file = options.text("verdict.file");
  promql::Language language;
  language.experimental = options.flag("rules.promql.experimental");
  std::string text(built_in_verdicts());
  if (!table->file.empty()) {
    auto read = read_text_file(table->file, kFileBytes);
    if (!read) {
      problems.push_back(fmt::format("--verdict.file: {}", read.error().text));
      return {};
    }
    text = std::move(*read);
  }
  const auto before = problems.size();
  table->rules = load_verdicts(text, table->file.empty() ? "verdict.yaml" : table->file, problems, language);
  if (problems.size() != before) return {};
  return table;
}

namespace {

constexpr std::int64_t kUsualWindowMs = 60'000, kShortestWindowMs = 2'000, kLongestWindowMs = 3'600'000;
constexpr std::int64_t kLeastIntervals = 4;  // of the pipeline, for a rate to have samples

// What is asked for; empty: all.
struct Wanted {
  std::string verdict, scope, owner, guest;
  std::int64_t window_ms = 0;  // 0: the usual one
  [[nodiscard]] bool all_objects() const { return scope.empty() && owner.empty() && guest.empty(); }
  [[nodiscard]] bool fits(const promql::Labels& object) const {
    if (!scope.empty() && scope_of(object) != scope) return false;
    if (!owner.empty() && object.get("owner") != owner) return false;
    return guest.empty() || object.get("guest") == guest || object.get("domain") == guest;
  }
};

std::int64_t window_of(std::string_view text, std::string& problem) {
  const auto ms = parse_api_duration(text);
  if (!ms || *ms < kShortestWindowMs || *ms > kLongestWindowMs)
    problem = fmt::format("window: '{}', expected a duration from 2s to 1h", text);
  return ms.value_or(0);
}

std::optional<Wanted> wanted_of(const Parameters& p, const Verdicts::Table& table, std::string& problem) {
  Wanted w;
  for (const auto& [name, value] : p) {
    if (name == "verdict") w.verdict = value;
    else if (name == "scope") w.scope = value;
    else if (name == "owner") w.owner = value;
    else if (name == "guest") w.guest = value;
    else if (name == "window") w.window_ms = window_of(value, problem);
    else if (name != "timeout")
      problem = fmt::format("there is no '{}', expected verdict, scope, owner, guest or window", name);
  }
  if (!w.scope.empty() && w.scope != "host" && w.scope != "owner" && w.scope != "guest")
    problem = fmt::format("scope: '{}', expected host, owner or guest", w.scope);
  if (!w.verdict.empty() && std::ranges::find(table.rules, w.verdict, &VerdictRule::verdict) == table.rules.end())
    problem = fmt::format("verdict: there is no '{}'", w.verdict);
  if (!problem.empty()) return {};
  return w;
}

void append_object(Json& j, std::string& out, const promql::Labels& labels) {
  j.text("scope", scope_of(labels));
  j.key("object");
  j.raw("");
  append_labels(out, labels);
}

void append_numbers(Json& j, const VerdictObject& object) {
  j.key("numbers");
  j.open('[');
  for (const auto& n : object.numbers) {
    j.open('{');
    j.text("what", n.condition->what);
    if (n.known) j.number("value", n.value);
    j.text("op", n.condition->above ? ">" : "<");
    j.number("threshold", n.condition->threshold);
    if (n.known) j.flag("holds", n.holds);
    j.text("expr", n.expr);
    j.close('}');
  }
  j.close(']');
}

void append_bad(Json& j, std::string& out, const VerdictRule& rule, const VerdictObject& object) {
  j.open('{');
  j.text("verdict", rule.verdict);
  j.text("resource", rule.resource);
  append_object(j, out, object.labels);
  j.text("state", to_string(object.state));
  j.text("says", rule.says);
  j.text("since", go_time(object.since_ms));
  j.flag("since_at_least", object.since_at_least);
  j.text("rule", rule.id);
  append_numbers(j, object);
  if (!object.culprits.empty()) {
    j.key("who");
    j.open('[');
    for (const auto& c : object.culprits) {
      j.open('{');
      j.key("labels");
      j.raw("");
      append_labels(out, c.labels);
      j.number("value", c.value);
      j.close('}');
    }
    j.close(']');
  }
  j.close('}');
}

// Beside what is bad: each rule with the object that is nearest to its thresholds, or why nobody knows.
void append_checked(Json& j, std::string& out, const VerdictResult& r) {
  j.open('{');
  j.text("verdict", r.rule->verdict);
  j.text("resource", r.rule->resource);
  j.text("rule", r.rule->id);
  j.text("state", r.absent ? "absent" : to_string(r.state));
  j.whole("objects", static_cast<std::int64_t>(r.objects));
  j.whole("bad", static_cast<std::int64_t>(r.bad));
  if (!r.why.empty()) j.text("why", r.why);
  if (r.bad == 0 && !r.shown.empty()) {
    append_object(j, out, r.shown.front().labels);
    append_numbers(j, r.shown.front());
  }
  j.close('}');
}

// No series has the name that was asked for: a typo, or one that has ended. Empty: some have it.
Queried<std::string> nobody(const Wanted& wanted, HistoryView& view, std::int64_t t_ms, const QueryLimits& limits) {
  const auto there = [&](std::string_view label, const std::string& name) -> Queried<bool> {
    const auto expr = parse_query(fmt::format("count({{{}={}}})", label, promql::quoted(name)), limits.language);
    if (!expr) return tl::unexpected(expr.error());
    const auto answer = instant_query(**expr, view, t_ms, limits);
    if (!answer) return tl::unexpected(answer.error());
    return !answer->rows.empty();
  };
  struct Name {
    std::string_view what;
    const std::string& text;
    std::vector<std::string_view> labels;
  };
  const Name names[] = {{"owner", wanted.owner, {"owner"}}, {"guest", wanted.guest, {"guest", "domain"}}};
  for (const auto& name : names) {
    bool found = name.text.empty();
    for (const auto label : name.labels) {
      if (found) break;
      const auto has = there(label, name.text);
      if (!has) return tl::unexpected(has.error());
      found = *has;
    }
    if (!found) return fmt::format("there is no {} '{}'", name.what, name.text);
  }
  return std::string();
}

std::string verdict_json(const std::vector<VerdictResult>& results, const Verdicts::Table& table,
                         const std::string& nobody_asked_for, std::int64_t t_ms, std::int64_t window_ms) {
  std::string out;
  Json j(out);
  bool known = false, young = false, asked = false;
  std::vector<std::string> names;
  for (const auto& r : results) {
    known |= r.state != VerdictState::unknown;
    young |= r.young;
    asked |= !r.others;
    for (const auto& o : r.shown)
      if (o.state == VerdictState::bad && std::ranges::find(names, r.rule->verdict) == names.end())
        names.push_back(r.rule->verdict);
  }
  j.open('{');
  const auto state = !names.empty() ? VerdictState::bad : known && !young ? VerdictState::ok : VerdictState::unknown;
  j.text("state", to_string(state));
  if (state == VerdictState::unknown)
    j.text("why", !nobody_asked_for.empty() ? nobody_asked_for
                  : young                   ? "too few samples yet"
                  : asked                   ? "no rule can tell, each for the reason that it has in checked"
                                            : "no rule can tell: none has an object that was asked for");
  j.text("timestamp", go_time(t_ms));
  j.number("window_seconds", static_cast<double>(window_ms) / 1e3);
  j.text("rules", table.file.empty() ? "built in" : table.file);
  j.list("verdicts", names);
  j.key("bad");
  j.open('[');
  for (const auto& r : results)
    for (const auto& o : r.shown)
      if (o.state == VerdictState::bad) append_bad(j, out, *r.rule, o);
  j.close(']');
  j.key("checked");
  j.open('[');
  for (const auto& r : results)
    if (!r.others) append_checked(j, out, r);
  j.close(']');
  j.close('}');
  return success(out);
}

}  // namespace

Handler verdict_page(const AgentView& agent) {
  return [agent](const Request& request) -> Answer {
    const auto table = agent.verdicts->get();
    const auto p = parameters_of(request);
    std::string why;
    const auto wanted = wanted_of(p, *table, why);
    if (!wanted) return api_error(ApiError::bad_data, why);
    std::optional<Response> problem;
    auto key = fmt::format("verdict\n{} {}", static_cast<const void*>(table.get()), wanted->window_ms);
    for (const auto& text : {wanted->verdict, wanted->scope, wanted->owner, wanted->guest}) add_to_key(key, text);
    const auto ask = ask_of(request, p, std::move(key), problem);
    if (problem) return std::move(*problem);
    const auto window_ms = std::max(wanted->window_ms > 0 ? wanted->window_ms : kUsualWindowMs,
                                    agent.interval_ns() / 1'000'000 * kLeastIntervals);
    return agent.queries->run(ask, [table, wanted = *wanted, window_ms](HistoryView& view, const QueryLimits& limits) {
      const auto t = view.now_wall_ms();
      if (!keeps_history(view))
        return Queries::Outcome{{}, api_error(ApiError::unavailable, std::string(kNoHistory)), true};
      std::vector<VerdictRule> chosen;
      const auto* rules = &table->rules;
      if (!wanted.verdict.empty()) {
        std::ranges::copy_if(table->rules, std::back_inserter(chosen),
                             [&](const VerdictRule& r) { return r.verdict == wanted.verdict; });
        rules = &chosen;
      }
      ObjectFilter fits;
      if (!wanted.all_objects()) fits = [&wanted](const promql::Labels& object) { return wanted.fits(object); };
      const auto results = judge_verdicts(*rules, view, t, window_ms, oldest_wall_ms(view), limits, fits);
      if (!results) return outcome_of(results.error());
      const auto missing = nobody(wanted, view, t, limits);
      if (!missing) return outcome_of(missing.error());
      return outcome_of(verdict_json(*results, *table, *missing, t, window_ms));
    });
  };
}

}  // namespace vitald
