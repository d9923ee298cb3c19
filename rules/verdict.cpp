// SPDX-License-Identifier: Apache-2.0
#include "rules/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "rules/load/reader.h"
#include "rules/promql/labels.h"
#include "rules/promql/parser.h"
#include "rules/promql/walk.h"

namespace vitald {

namespace {

using promql::Labels;

constexpr std::size_t kMostShown = 20, kMostCulprits = 3;
constexpr std::string_view kWindow = "$window";

constexpr std::string_view kTop[] = {"verdicts"};
constexpr std::string_view kRule[] = {"verdict", "id", "resource", "says", "when", "who", "optional"};
constexpr std::string_view kCondition[] = {"what", "expr", "above", "below"};

std::string with_window(std::string text, std::int64_t window_ms) {
  const auto window = promql::duration_text(window_ms);
  for (auto at = text.find(kWindow); at != text.npos; at = text.find(kWindow, at))
    text.replace(at, kWindow.size(), window);
  return text;
}

class Loader : public RuleReader {
 public:
  Loader(const std::string& file, const promql::Language& language) : RuleReader(file), language_(language) {}

  std::vector<VerdictRule> run(const YAML::Node& root) {
    std::vector<VerdictRule> out;
    if (!root || root.IsNull()) return say(YAML::Mark(), "", "nothing in it, expected verdicts: [...]"), out;
    if (!map(root, "the file", kTop, "verdicts: [...]")) return out;
    for (const auto& n : list(root, "verdicts")) {
      const auto before = problem_count();
      auto rule = read_rule(n);
      if (problem_count() != before) continue;
      if (std::ranges::find(out, rule.id, &VerdictRule::id) != out.end())
        say(n, fmt::format("the rule '{}' is there twice, expected an id of its own for each", rule.id));
      out.push_back(std::move(rule));
    }
    return out;
  }

 private:
  VerdictRule read_rule(const YAML::Node& n) {
    VerdictRule r;
    if (!map(n, "verdict", kRule, "{verdict: ..., resource: ..., says: ..., when: [...]}")) return r;
    r.verdict = text(n, "verdict", Need::text);
    r.id = n["id"] ? text(n, "id", Need::text) : r.verdict;
    r.resource = text(n, "resource", Need::text);
    r.says = text(n, "says", Need::text);
    if (const auto t = text(n, "optional"); !t.empty() && t != "true" && t != "false")
      say(n["optional"], fmt::format("optional: '{}', expected true or false", t));
    else r.optional = t == "true";
    if (const auto t = text(n, "who"); !t.empty() && vector(n["who"], "who", t)) r.who = t;
    for (const auto& c : list(n, "when")) r.when.push_back(condition(c));
    if (r.when.empty()) say(n, "no conditions, expected when: [{what: ..., expr: ..., above: ...}]");
    return r;
  }

  VerdictCondition condition(const YAML::Node& n) {
    VerdictCondition c;
    if (!map(n, "condition", kCondition, "{what: ..., expr: ..., above: ...}")) return c;
    c.what = text(n, "what", Need::text);
    c.expr = text(n, "expr", Need::text);
    if (!c.expr.empty()) vector(n["expr"], "expr", c.expr);
    const auto above = text(n, "above"), below = text(n, "below");
    if (above.empty() == below.empty()) return say(n, "expected either 'above' or 'below', a number"), c;
    c.above = !above.empty();
    const auto& number = c.above ? above : below;
    const auto value = parse_double(number);
    if (!value || !std::isfinite(*value))
      say(n[c.above ? "above" : "below"], fmt::format("'{}' is not a number, expected e.g. 0.3", number));
    c.threshold = value.value_or(0);
    return c;
  }

  bool vector(const YAML::Node& at, const char* key, const std::string& value) {
    std::vector<promql::Problem> found;
    const auto e = promql::compile(with_window(value, 60'000), found, language_);
    for (const auto& p : found) say(at, fmt::format("{}: {}", key, p.what));
    if (e && e->type != promql::ValueType::vector && e->type != promql::ValueType::scalar)
      say(at, fmt::format("{} gives a {}, expected an instant vector", key, promql::to_string(e->type)));
    return e != nullptr;
  }

  const promql::Language& language_;
};

// Which host it is goes without saying here.
Labels object_of(const Labels& labels) {
  promql::LabelsBuilder b(labels);
  for (const std::string_view name : {promql::kMetricName, std::string_view("job"), std::string_view("instance")})
    b.del(name);
  return b.labels();
}

// What both have is the same: pressure, which has no labels, is that of every disk.
bool agree(const Labels& a, const Labels& b) {
  for (const Label l : a)
    if (const auto other = b.get(l.name); !other.empty() && other != l.value) return false;
  return true;
}

struct Row {
  Labels labels;
  double value;
};

// One expression with its evaluator, for one time after the other.
class Asked {
 public:
  Asked(std::string text, promql::SeriesSource& source, const QueryLimits& limits)
      : text_(std::move(text)), source_(source) {
    std::vector<promql::Problem> problems;
    expr_ = promql::compile(text_, problems, limits.language);
    promql::EvalOptions options;
    options.lookback_ms = limits.lookback_ms;
    options.dialect = limits.dialect;
    options.max_samples = limits.max_samples;
    options.given_up = limits.given_up;
    if (expr_) evaluator_.emplace(*expr_, source, std::move(options));
    else problem_ = problems.empty() ? "no expression" : problems[0].what;
  }

  Queried<std::vector<Row>> at(std::int64_t t_ms) {
    if (!evaluator_) return tl::unexpected(QueryError{QueryError::Kind::failed, problem_});
    auto value = evaluator_->eval(t_ms);
    if (!value)
      return tl::unexpected(
          QueryError{value.error().kind == Errc::timeout ? QueryError::Kind::given_up : QueryError::Kind::failed,
                     value.error().text});
    std::vector<Row> rows;
    if (value->type == promql::ValueType::scalar) rows.push_back({{}, value->scalar});
    if (value->vector)
      for (const auto& s : value->vector->samples)
        if (s.histogram == 0 && std::isfinite(s.value)) rows.push_back({object_of(value->vector->labels(s)), s.value});
    return rows;
  }

  // The first of its selectors that no series matches; empty: all have some.
  std::string missing() {
    std::string out;
    if (expr_)
      promql::each_selector(*expr_, [&](const promql::Selector& s) {
        if (out.empty() && source_.select(source_.bind(s, 0)).ids.empty()) out = promql::to_string(s);
      });
    return out;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_, problem_;
  promql::SeriesSource& source_;
  promql::ExprPtr expr_;
  std::optional<promql::Evaluator> evaluator_;
};

bool holds(const VerdictCondition& c, double value) { return c.above ? value > c.threshold : value < c.threshold; }

// How far beyond its threshold, or how near to it, in a number that can be compared within a rule.
double badness(const VerdictNumber& n) {
  if (!n.known) return -1e300;
  return (n.value - n.condition->threshold) * (n.condition->above ? 1 : -1);
}

class Judge {
 public:
  Judge(const VerdictRule& rule, promql::SeriesSource& source, std::int64_t window_ms, std::int64_t oldest_ms,
        const QueryLimits& limits)
      : rule_(rule), window_ms_(window_ms), oldest_ms_(oldest_ms) {
    asked_.reserve(rule.when.size());
    for (const auto& c : rule.when) asked_.emplace_back(with_window(c.expr, window_ms), source, limits);
    if (!rule.who.empty()) who_.emplace(with_window(rule.who, window_ms), source, limits);
  }

  Queried<VerdictResult> at(std::int64_t t_ms, const QueryLimits& limits, const ObjectFilter& fits) {
    VerdictResult out;
    out.rule = &rule_;
    auto objects = objects_at(t_ms);
    if (!objects) return tl::unexpected(objects.error());
    if (objects->empty()) {
      const auto missing = asked_.front().missing();
      out.absent = rule_.optional && (!missing.empty() || !is_young(t_ms));
      out.young = missing.empty() && is_young(t_ms);
      out.why = why_not(asked_.front(), t_ms);
      // Nothing of the kind is here, so it is of nobody who was asked for; but where its numbers are missing, though
      // they should be there, nobody knows that.
      out.others = fits && !out.young && (rule_.optional || missing.empty() || !may_be_about(fits));
      return out;
    }
    // Before the worst are chosen: of twenty that are worse none may be the one that was asked for.
    if (fits) std::erase_if(*objects, [&](const VerdictObject& o) { return !fits(o.labels); });
    if (objects->empty()) {
      out.others = true;
      out.why = "it has no object that was asked for";
      return out;
    }
    out.objects = objects->size();
    const auto in_state = [&](VerdictState s) { return std::ranges::count(*objects, s, &VerdictObject::state); };
    out.bad = static_cast<std::size_t>(in_state(VerdictState::bad));
    out.state = out.bad > 0                      ? VerdictState::bad
                : in_state(VerdictState::ok) > 0 ? VerdictState::ok
                                                 : VerdictState::unknown;
    if (out.state == VerdictState::unknown) {
      out.why = objects->front().why;
      out.young = is_young(t_ms);
    }
    std::ranges::stable_sort(*objects, [](const VerdictObject& a, const VerdictObject& b) {
      if ((a.state == VerdictState::bad) != (b.state == VerdictState::bad)) return a.state == VerdictState::bad;
      return badness(a.numbers[0]) > badness(b.numbers[0]);
    });
    objects->resize(std::min({objects->size(), std::max<std::size_t>(out.bad, 1), kMostShown}));
    out.shown = std::move(*objects);
    if (out.bad == 0) return out;
    if (auto done = find_since(out.shown, t_ms, limits); !done) return tl::unexpected(done.error());
    if (auto done = find_culprits(out.shown, t_ms); !done) return tl::unexpected(done.error());
    return out;
  }

 private:
  // With fewer than a window of samples rates are not there yet; later what has none has ended.
  [[nodiscard]] bool is_young(std::int64_t t_ms) const { return t_ms - oldest_ms_ < window_ms_; }
  // Objects that nobody has seen: hosts and devices, or, where the expression keeps their labels, owners and guests.
  [[nodiscard]] bool may_be_about(const ObjectFilter& fits) const {
    const auto& expr = rule_.when.front().expr;
    const bool of_part = expr.find("owner") != std::string::npos || expr.find("guest") != std::string::npos ||
                         expr.find("domain") != std::string::npos;
    return fits({}) != of_part;
  }
  std::string why_not(Asked& asked, std::int64_t t_ms) const {
    const auto missing = asked.missing();
    if (!missing.empty()) return fmt::format("there is no series {}", missing);
    return fmt::format("{} for {}", is_young(t_ms) ? "too few samples yet" : "no samples of late", asked.text());
  }

  Queried<std::vector<VerdictObject>> objects_at(std::int64_t t_ms) {
    std::vector<VerdictObject> objects;
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      const auto rows = asked_[i].at(t_ms);
      if (!rows) return tl::unexpected(rows.error());
      const auto& c = rule_.when[i];
      if (i == 0)
        for (const auto& row : *rows) {
          auto& o = objects.emplace_back();
          o.labels = row.labels;
          o.state = VerdictState::bad;
        }
      for (auto& o : objects) {
        auto& n = o.numbers.emplace_back();
        n.condition = &c;
        n.expr = asked_[i].text();
        const auto row = std::ranges::find_if(
            *rows, [&](const Row& r) { return i == 0 ? r.labels == o.labels : agree(r.labels, o.labels); });
        if (row != rows->end()) {
          n.known = true;
          n.value = row->value;
          n.holds = holds(c, row->value);
          if (!n.holds) o.state = VerdictState::ok;
        } else if (o.state == VerdictState::bad) {
          o.state = VerdictState::unknown;
          o.why = why_not(asked_[i], t_ms);
        }
      }
      if (objects.empty()) break;
    }
    return objects;
  }

  // Back in steps that grow: what began seconds ago is known to the seconds, what lasts for hours to a minute.
  Queried<bool> find_since(std::vector<VerdictObject>& bad, std::int64_t t_ms, const QueryLimits& limits) {
    struct Steps {
      int count;
      std::int64_t ms;
    };
    static constexpr Steps kSteps[] = {{24, 5'000}, {32, 15'000}, {50, 60'000}};  // two, ten, sixty minutes
    std::vector<bool> going(bad.size(), true);
    for (auto& o : bad) o.since_ms = t_ms, o.since_at_least = true;
    auto t = t_ms;
    for (const auto [count, step_ms] : kSteps)
      for (int i = 0; i < count; ++i) {
        if (limits.given_up()) return tl::unexpected(QueryError{QueryError::Kind::given_up, "given up"});
        t -= step_ms;
        if (t < oldest_ms_ || std::ranges::find(going, true) == going.end()) return true;
        const auto then = objects_at(t);
        if (!then) return tl::unexpected(then.error());
        for (std::size_t k = 0; k < bad.size(); ++k) {
          if (!going[k]) continue;
          const auto same = std::ranges::find(*then, bad[k].labels, &VerdictObject::labels);
          if (same != then->end() && same->state == VerdictState::bad) {
            bad[k].since_ms = t;
          } else {
            going[k] = false;
            // Before there were samples enough nobody could tell.
            bad[k].since_at_least =
                t - window_ms_ < oldest_ms_ && (same == then->end() || same->state != VerdictState::ok);
          }
        }
      }
    return true;
  }

  Queried<bool> find_culprits(std::vector<VerdictObject>& bad, std::int64_t t_ms) {
    if (!who_) return true;
    const auto rows = who_->at(t_ms);
    if (!rows) return tl::unexpected(rows.error());
    for (auto& o : bad) {
      for (const auto& row : *rows)
        if (row.value > 0 && agree(row.labels, o.labels)) o.culprits.push_back({row.labels, row.value});
      std::ranges::stable_sort(o.culprits, std::ranges::greater(), &QueryRow::value);
      if (o.culprits.size() > kMostCulprits) o.culprits.erase(o.culprits.begin() + kMostCulprits, o.culprits.end());
    }
    return true;
  }

  const VerdictRule& rule_;
  std::int64_t window_ms_, oldest_ms_;
  std::vector<Asked> asked_;
  std::optional<Asked> who_;
};

}  // namespace

std::vector<VerdictRule> load_verdicts(std::string_view yaml, const std::string& file,
                                       std::vector<std::string>& problems, const promql::Language& language) {
  std::vector<VerdictRule> rules;
  Loader loader(file, language);
  loader.read(std::string(yaml), problems, [&](const YAML::Node& root) { rules = loader.run(root); });
  return rules;
}

std::string_view built_in_verdicts() {
  static constexpr char kText[] =
#include "rules/verdict_yaml.inc"
      ;
  return {kText, sizeof kText - 1};
}

std::string_view to_string(VerdictState state) {
  static constexpr std::array<std::string_view, 3> kNames{"ok", "bad", "unknown"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string_view scope_of(const Labels& object) {
  if (!object.get("guest").empty() || !object.get("domain").empty()) return "guest";
  return object.get("owner").empty() ? "host" : "owner";
}

Queried<std::vector<VerdictResult>> judge_verdicts(const std::vector<VerdictRule>& rules, promql::SeriesSource& source,
                                                   std::int64_t t_ms, std::int64_t window_ms, std::int64_t oldest_ms,
                                                   const QueryLimits& limits, const ObjectFilter& fits) {
  std::vector<VerdictResult> out;
  for (const auto& rule : rules) {
    if (limits.given_up()) return tl::unexpected(QueryError{QueryError::Kind::given_up, "given up"});
    auto result = Judge(rule, source, window_ms, oldest_ms, limits).at(t_ms, limits, fits);
    if (result) {
      out.push_back(std::move(*result));
      continue;
    }
    if (result.error().kind == QueryError::Kind::given_up) return tl::unexpected(result.error());
    // One that fails costs itself.
    auto& failed = out.emplace_back();
    failed.rule = &rule;
    failed.why = result.error().text;
  }
  return out;
}

}  // namespace vitald
