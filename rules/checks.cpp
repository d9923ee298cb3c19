// SPDX-License-Identifier: Apache-2.0
#include "rules/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <utility>

#include "core/log.h"
#include "core/metric_row.h"

namespace vitald {

namespace {

constexpr std::size_t kMostObjects = 1000;  // of one check

constexpr MetricDesc kMetrics[] = {
    {.name = "vitald_check_state",
     .type = MetricType::gauge,
     .help = "State of an object by a check of --checks.file: 0 OK, 1 WARN, 2 CRIT, 3 UNKNOWN.",
     .labels = "id,kind,scope,object"},
    {.name = "vitald_check_value",
     .type = MetricType::gauge,
     .help = "What a check with output: numeric has found, of an object's series the one that is worst.",
     .labels = "id,object"},
};
constexpr const MetricDesc& kState = row(kMetrics, "vitald_check_state");
constexpr const MetricDesc& kValue = row(kMetrics, "vitald_check_value");

struct Object {
  CheckState state = CheckState::unknown;
  std::optional<CheckState> pending;
  std::int64_t pending_since_ms = 0;  // boot time
  std::int64_t since_ms = 0;          // wall time
  std::optional<double> value;
};

CheckState state_of(const Check& check, double value) {
  auto state = CheckState::ok;
  for (const auto& rule : check.rules)
    if (rule.matches(value) && is_worse(rule.severity, state)) state = rule.severity;
  return state;
}

}  // namespace

struct Checks::Running {
  Running(const Check& c, promql::SeriesSource& source, promql::Dialect dialect)
      : check(c), evaluator(*c.expr, source, promql::EvalOptions{.dialect = dialect}) {
    if (c.discovery) discovery.emplace(*c.discovery, source, promql::EvalOptions{.dialect = dialect});
  }

  struct Seen {
    CheckState state;
    std::optional<double> value;
  };
  using Round = std::map<std::string, Seen>;

  void add(Round& round, const std::string& name, CheckState state, std::optional<double> value) const {
    const auto [at, fresh] = round.try_emplace(name, Seen{state, value});
    if (!fresh && is_worse(state, at->second.state)) at->second = {state, value};
  }

  // <instance>:<label><value>
  [[nodiscard]] std::string part_of(const promql::Labels& labels, const std::string& parent) const {
    return fmt::format("{}:{}{}", parent, check.expand_by_label, labels.get(check.expand_by_label));
  }

  // What the objects are in this round, before `for`.
  Result<Round> look(std::int64_t wall_ms, const std::string& instance) {
    Round round, parts;
    std::map<std::string, std::size_t> critical;  // parts of a parent
    const auto result = evaluator.eval(wall_ms);
    if (!result) return fail(result.error());
    const auto take = [&](const promql::Labels& labels, double value) {
      std::string parent(labels.get(check.identity));
      if (parent.empty()) return;
      const auto state = state_of(check, value);
      if (check.expand_by_label.empty()) add(round, parent, state, value);
      else if (!labels.get(check.expand_by_label).empty()) add(parts, part_of(labels, parent), state, value);
    };
    if (result->type == promql::ValueType::scalar)
      add(round, instance, state_of(check, result->scalar), result->scalar);
    if (result->vector)
      for (const auto& s : result->vector->samples)
        if (s.histogram == 0) take(result->vector->labels(s), s.value);
    if (discovery) {
      const auto all = discovery->eval(wall_ms);
      if (!all) return fail(all.error());
      if (all->vector)
        for (const auto& s : all->vector->samples) {
          const auto& labels = all->vector->labels(s);
          const auto parent = labels.get(check.identity).empty() ? instance : std::string(labels.get(check.identity));
          if (!labels.get(check.expand_by_label).empty())
            parts.try_emplace(part_of(labels, parent), Seen{check.absent_state, {}});
        }
    }
    if (!check.expand_by_label.empty()) go_up(parts, round);
    round.insert(parts.begin(), parts.end());
    if (round.empty() && check.scope == "node") round.try_emplace(instance, Seen{CheckState::unknown, {}});
    if (round.size() > kMostObjects)
      return fail(Errc::malformed, fmt::format("{} objects, expected {} at most", round.size(), kMostObjects));
    return round;
  }

  // The worst part is its parent's state, but for too few critical ones.
  void go_up(const Round& parts, Round& round) const {
    std::map<std::string, std::size_t> critical;
    const auto parent_of = [&](const std::string& part) {
      return part.substr(0, part.rfind(':' + check.expand_by_label));
    };
    for (const auto& [part, seen] : parts)
      if (seen.state == CheckState::crit) ++critical[parent_of(part)];
    for (const auto& [part, seen] : parts) {
      const auto parent = parent_of(part);
      const bool few = seen.state == CheckState::crit && critical[parent] < check.crit_threshold;
      add(round, parent, few ? CheckState::warn : seen.state, seen.value);
    }
  }

  void settle(const Round& round, std::int64_t boot_ms, std::int64_t wall_ms) {
    std::erase_if(objects, [&](const auto& o) { return !round.contains(o.first); });
    for (const auto& [name, seen] : round) {
      const auto [at, fresh] = objects.try_emplace(name);
      auto& o = at->second;
      if (fresh) o.since_ms = wall_ms;
      o.value = seen.value;
      const bool held = (seen.state == CheckState::warn || seen.state == CheckState::crit) && seen.state != o.state &&
                        check.for_ms > 0;
      if (!held) {
        o.pending.reset();
      } else if (o.pending != seen.state) {
        o.pending = seen.state;
        o.pending_since_ms = boot_ms;
      }
      if (held && boot_ms - o.pending_since_ms < check.for_ms) continue;
      o.pending.reset();
      if (o.state != seen.state) o.since_ms = wall_ms;
      o.state = seen.state;
    }
  }

  void evaluate(std::int64_t boot_ms, std::int64_t wall_ms, const std::string& instance) {
    const auto round = look(wall_ms, instance);
    std::string failed = round ? std::string() : round.error().text;
    if (failed.empty() != error.empty()) {
      if (failed.empty()) log::info("a check works again", {{"check", check.id}});
      else log::warn("a check fails", {{"check", check.id}, {"err", log::one_line(failed)}});
    }
    error = std::move(failed);
    // Not knowing is a state of its own, and a failure is not knowing.
    if (round) settle(*round, boot_ms, wall_ms);
    else settle({{instance, Seen{CheckState::unknown, {}}}}, boot_ms, wall_ms);
  }

  const Check& check;
  promql::Evaluator evaluator;
  std::optional<promql::Evaluator> discovery;
  std::map<std::string, Object> objects;
  std::string error;
};

Checks::Checks(CheckLibrary library, std::string instance, promql::SeriesSource& source, promql::Dialect dialect)
    : library_(std::move(library)), instance_(std::move(instance)) {
  for (const auto& c : library_.checks) running_.push_back(std::make_unique<Running>(c, source, dialect));
}
Checks::~Checks() = default;

void Checks::evaluate(std::int64_t boot_ms, std::int64_t wall_ms) {
  for (auto& r : running_) r->evaluate(boot_ms, wall_ms, instance_);
}

void Checks::adopt(const Checks& old) {
  for (auto& r : running_)
    for (const auto& o : old.running_)
      if (o->check.id == r->check.id && o->check.text == r->check.text) r->objects = o->objects;
}

void Checks::each_series(const Visit& visit) const {
  for (const auto& r : running_)
    for (const auto& [name, o] : r->objects) {
      const std::string_view labels[] = {r->check.id, r->check.kind, r->check.scope, name};
      visit(kState, labels, static_cast<double>(o.state));
      const std::string_view short_labels[] = {r->check.id, name};
      if (r->check.numeric && o.value) visit(kValue, short_labels, *o.value);
    }
}

std::shared_ptr<const ChecksView> Checks::view() const {
  auto out = std::make_shared<ChecksView>();
  out->metrics = library_.metrics;
  for (const auto& r : running_) {
    const auto& c = r->check;
    auto& v = out->checks.emplace_back();
    v.id = c.id;
    v.name = c.name;
    v.kind = c.kind;
    v.scope = c.scope;
    v.expr = c.text;
    v.file = c.file;
    v.error = r->error;
    v.numeric = c.numeric;
    v.for_s = static_cast<double>(c.for_ms) / 1000;
    for (const auto& [name, o] : r->objects) {
      v.objects.push_back({name, o.state, o.pending, o.value, o.since_ms});
      if (is_worse(o.state, v.state)) v.state = o.state;
    }
  }
  return out;
}

std::size_t Checks::size() const { return running_.size(); }
std::span<const MetricDesc> Checks::metrics() { return kMetrics; }

}  // namespace vitald
