// SPDX-License-Identifier: Apache-2.0
#include "rules/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "core/clock.h"
#include "core/log.h"
#include "core/metric_row.h"
#include "core/os/host_name.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "rules/alert_reach.h"
#include "rules/alerts.h"
#include "rules/checks.h"
#include "rules/history/live.h"
#include "rules/keep.h"
#include "rules/load/load.h"
#include "rules/measured.h"
#include "rules/promql/lexer.h"
#include "rules/promql/matching.h"
#include "rules/promql/parser.h"
#include "rules/promql/walk.h"
#include "rules/reach.h"
#include "rules/saved_alerts.h"
#include "rules/template/value.h"

namespace vitald {

namespace {

constexpr std::size_t kRuleFileBytes = 4 << 20;  // some ten thousand rules; yaml-cpp takes a second for it

// How long after a restart an alert goes on though its expression gives nothing: as long as it looks back, since it may
// lack samples; some seconds at least, since workers are only being started.
constexpr std::int64_t kLeastHoldMs = 15'000, kMostHoldMs = 300'000;

constexpr MetricDesc kMetrics[] = {
    {.name = "ALERTS", .type = MetricType::gauge, .help = "Pending and firing alerts of this host's rules, always 1."},
    {.name = "ALERTS_FOR_STATE",
     .type = MetricType::gauge,
     .help = "When a pending or firing alert became active, seconds since the epoch."},
};
constexpr const MetricDesc& kAlerts = row(kMetrics, "ALERTS");
constexpr const MetricDesc& kAlertsForState = row(kMetrics, "ALERTS_FOR_STATE");

LabelMap texts(const TemplateMap& map) {
  LabelMap out;
  for (const auto& [name, t] : map) out[name] = t.text();
  return out;
}

std::shared_ptr<const DeclaredRule> declare(const Rule& rule, const RuleGroup& group) {
  auto out = std::make_shared<DeclaredRule>(DeclaredRule{
      .alerting = rule.alert, .name = rule.name, .query = promql::to_string(*rule.expr), .file = group.file});
  if (const auto threshold = rule.alert ? threshold_of(*rule.expr) : std::nullopt) {
    out->metric = threshold->metric;
    out->op = threshold->op;
    out->threshold = threshold->value;
  }
  out->duration_s = static_cast<double>(rule.for_ms) / 1000;
  out->keep_firing_for_s = static_cast<double>(rule.keep_firing_for_ms) / 1000;
  out->labels = texts(rule.labels);
  out->annotations = texts(rule.annotations);
  return out;
}

}  // namespace

struct RuleEngine::Impl {
  struct RuleState {
    RuleState(const Rule& r, const RuleGroup& g, LiveHistory& history, promql::EvalOptions options)
        : rule(&r), declared(declare(r, g)), evaluator(*r.expr, history, options), alerts(r) {
      if (r.alert && (measured_expr = measured(*r.expr))) measured_values.emplace(*measured_expr, history, options);
      past_ms = history.take_longest_past();
    }

    const Rule* rule;
    std::shared_ptr<const DeclaredRule> declared;
    [[nodiscard]] const std::string& query() const { return declared->query; }
    std::int64_t past_ms = 0;  // how far back it looks
    promql::Evaluator evaluator;
    AlertRule alerts;
    promql::ExprPtr measured_expr;  // what an alert that is over has now
    std::optional<promql::Evaluator> measured_values;

    // Of a recording rule: what its results are called, for the shape `in` of its expression.
    promql::ShapePtr in, out;
    bool collides = false;
    bool shares_name = false;                  // another rule records this family too
    std::vector<std::uint32_t> ids;            // in the history
    std::vector<std::vector<Label>> exported;  // without name and series_labels; views into `out`
    std::vector<promql::Sample> last;          // newest result
    const MetricDesc* desc = nullptr;

    std::string error;
    bool evaluated = false;
    std::int64_t wall_ms = 0, took_ns = 0;
  };
  struct GroupState {
    const RuleGroup* group = nullptr;
    std::int64_t interval_ms = 0, next_boot_ms = INT64_MIN;
    std::vector<std::unique_ptr<RuleState>> rules;
    std::vector<std::string_view> reads;  // names of its selectors, sorted
    std::int64_t wall_ms = 0, took_ns = 0;
  };

  explicit Impl(RuleSettings s)
      : settings(std::move(s)),
        history(std::make_shared<History>(History::Settings{
            settings.series_labels, settings.history_retention_ms, settings.history_limit_bytes, {}})) {}

  // A cycle is rarely punctual: a group is due when it is this close to its time.
  [[nodiscard]] std::int64_t slack_ms(const GroupState& g) const {
    return std::min<std::int64_t>(g.interval_ms / 4, 500);
  }
  [[nodiscard]] std::set<std::string_view> news_in(const Snapshot& snapshot) const;
  void run(GroupState& g, AlertRule::Now now);
  void run(RuleState& r, const RuleGroup& g, AlertRule::Now now);
  Result<> record(RuleState& r, const RuleGroup& g, const promql::Vector& result);
  void name_results(RuleState& r, const promql::ShapePtr& in);
  void forget_results(RuleState& r);
  [[nodiscard]] std::vector<promql::Sample> without_others(RuleState& r, const promql::Vector& result,
                                                           std::string& why);
  void let_go(const RuleState& r, const promql::Sample& s) {
    if (const auto at = recorders.find(r.ids[s.series]); at != recorders.end() && at->second == &r) recorders.erase(at);
  }
  void tell(RuleState& r, const RuleGroup& g, std::string error);
  void record_server_series(const Snapshot& snapshot);
  void record_alerts();
  void load_checks(std::vector<std::string>& problems);
  void run_checks();
  void write_alerts(const AlertRule& alerts);
  BatchPtr write(std::int64_t boot_ns, std::int64_t wall_ns);

  // A query of a template. Those that are written out are known before the first evaluation, so that the history has
  // their series.
  struct Asked {
    promql::ExprPtr expr;
    std::string problem;
    std::optional<promql::Evaluator> evaluator;
    bool from_file = false;   // written out in a rule: it stays
    std::uint64_t round = 0;  // of its last use
    std::vector<std::uint32_t> handles = {};
  };
  // Of those that templates make. With labels of alerts in them there are always others: the one that was not used for
  // longest goes.
  static constexpr std::size_t kMostAsked = 1000;
  Asked* asked(const std::string& expression, bool from_file);
  bool forget_asked();
  Result<text_template::Samples> ask(const std::string& expression, std::int64_t t_ms);

  RuleSettings settings;
  std::vector<std::string> warnings;
  std::vector<std::string> announced;  // collectors, for the next round
  std::vector<RuleGroup> groups;       // never changes after load: the states point into it
  std::shared_ptr<History> history;
  LiveHistory live{*history};
  std::vector<GroupState> states;
  std::vector<AlertTransition> transitions;
  std::uint64_t last_number = 0;  // of a transition
  AlertRule::Now now;
  std::unordered_map<std::string, Asked> queries;
  std::size_t from_files = 0;  // of the queries
  std::uint64_t rounds = 0;
  std::vector<std::uint32_t> server_ids;                          // of server_series(), in the history
  std::unordered_map<std::uint32_t, const RuleState*> recorders;  // of series that more than one rule might record
  BatchWriter writer{"rules"};
  std::unordered_set<std::string> written;  // alerts' series of this batch
  DescPoolPtr pool = std::make_shared<DescPool>();
  std::vector<std::uint32_t> alert_series;  // ALERTS and ALERTS_FOR_STATE, in the history
  std::unique_ptr<Checks> checks;           // null: there are none
  std::vector<std::uint32_t> check_series;
};

namespace {

// An alert is the same one by its name and labels, so its rule is too: whatever else was edited, and wherever in the
// files it stands now. Of several rules that could be the one before, the one that differs least.
// `take(now, before)` is called for each that was found.
template <class Now, class Before>
void match_alerts(Now& now, Before& before, const auto& take) {
  constexpr bool kHere = true, kAnywhere = false;
  struct Same {
    bool place, labels, query;
  };
  constexpr Same kLevels[] = {{kHere, true, true},      {kAnywhere, true, true}, {kHere, true, false},
                              {kAnywhere, true, false}, {kHere, false, true},    {kAnywhere, false, true},
                              {kHere, false, false}};
  const auto key = [](const auto& group, const auto& r, Same same) {
    std::string out = r.rule->name;
    const auto add = [&](std::string_view text) { out.append(1, '\0').append(text); };
    if (same.place) add(group.file), add(group.name);
    if (same.labels)
      for (const auto& [name, text] : r.rule->labels) add(name), add(text.text());
    out += '\n';
    if (same.query) add(r.query());
    return out;
  };
  std::unordered_set<const void*> done;
  for (const auto level : kLevels) {
    std::unordered_map<std::string, std::deque<AlertRule*>> old;
    for (auto& g : before)
      for (auto& r : g.rules)
        if (r->rule->alert && !done.contains(&r->alerts)) old[key(*g.group, *r, level)].push_back(&r->alerts);
    if (old.empty()) return;
    for (auto& g : now)
      for (auto& r : g.rules) {
        if (!r->rule->alert || done.contains(&r->alerts)) continue;
        const auto at = old.find(key(*g.group, *r, level));
        if (at == old.end() || at->second.empty()) continue;
        // With labels and expression both edited only where there is nothing to confuse it with.
        if (!level.labels && !level.query && at->second.size() > 1) continue;
        take(*r, *at->second.front());
        done.insert({&r->alerts, at->second.front()});
        at->second.pop_front();
      }
  }
}

}  // namespace

RuleEngine::RuleEngine() : impl_(std::make_unique<Impl>(RuleSettings{})) {}
namespace {

// The names that a group's selectors ask for to the letter.
std::vector<std::string_view> names_read(const RuleGroup& group) {
  std::vector<std::string_view> names;
  for (const auto& rule : group.rules)
    if (rule.expr)
      promql::each_selector(*rule.expr, [&](const promql::Selector& s) {
        for (const auto& m : s.matchers)
          if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal) names.push_back(m.value);
      });
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());  // clang 14 knows no subrange
  return names;
}

// A series of a histogram has its part's name behind the family's.
std::string_view family_of(std::string_view series, const std::set<std::string_view>& families) {
  if (families.empty()) return series;
  for (const std::string_view part : {"_bucket", "_sum", "_count"})
    if (series.ends_with(part))
      if (const auto family = series.substr(0, series.size() - part.size()); families.contains(family)) return family;
  return series;
}

}  // namespace

RuleEngine::~RuleEngine() = default;

std::unique_ptr<RuleEngine> RuleEngine::load(const RuleSettings& settings, std::vector<std::string>& problems) {
  const auto before = problems.size();
  auto impl = std::make_unique<Impl>(settings);
  auto history = impl->history->settings();
  for (const auto& text : settings.history_keep)
    if (auto keep = parse_keep(text, problems)) history.keep.push_back(std::move(*keep));
  impl->history->set(std::move(history));
  for (const auto& file : find_rule_files(settings.files, problems)) {
    const auto text = read_text_file(file, kRuleFileBytes);
    if (!text) {
      problems.push_back(text.error().text +
                         (text.error().kind == Errc::malformed ? "" : ", expected a readable file"));
      continue;
    }
    auto groups = load_rules(*text, file, problems, &impl->warnings, settings.language);
    if (std::ranges::all_of(groups, [](const RuleGroup& g) { return g.rules.empty(); }) && problems.size() == before)
      impl->warnings.push_back(fmt::format("{}: there is no rule in it", file));
    std::ranges::move(groups, std::back_inserter(impl->groups));
  }
  impl->load_checks(problems);
  if (problems.size() != before) return nullptr;
  const auto& keep = impl->history->settings().keep;
  const auto idle_keeps =
      keeps_without_effect(settings.history_keep, keep, settings.history_retention_ms, [&](std::string_view name) {
        return settings.families.empty() ? std::string() : unknown_series(name, impl->groups, settings.families);
      });
  impl->warnings.insert(impl->warnings.end(), idle_keeps.begin(), idle_keeps.end());
  if (!keep.empty() && !settings.without_rules && !impl->checks &&
      std::ranges::all_of(impl->groups, [](const RuleGroup& g) { return g.rules.empty(); }))
    impl->warnings.emplace_back(
        "--history.keep: nothing is kept: there are no rules, and without them no history unless "
        "--history.without-rules is given");
  if (!settings.families.empty()) {
    const auto told = unreachable(impl->groups, settings.families, settings.series_labels, settings.names_here);
    impl->warnings.insert(impl->warnings.end(), told.begin(), told.end());
    impl->settings.families = {};  // nobody asks again
    impl->settings.names_here = {};
  }
  for (const auto& group : impl->groups) {
    Impl::GroupState g;
    g.group = &group;
    g.interval_ms = group.interval_ms > 0 ? group.interval_ms : settings.interval_ms;
    for (const auto& rule : group.rules) {
      for (const auto* templates : {&rule.labels, &rule.annotations})
        for (const auto& [name, text] : *templates)
          for (const auto& expression : text.queries()) impl->asked(expression, true);
      auto r = std::make_unique<Impl::RuleState>(
          rule, group, impl->live, promql::EvalOptions{.past_ms = group.query_offset_ms, .dialect = settings.dialect});
      if (!rule.alert)
        r->desc =
            &impl->pool->get(rule.name, MetricType::gauge, fmt::format("Recorded by the rule group {}.", group.name));
      g.rules.push_back(std::move(r));
    }
    g.reads = names_read(group);
    impl->states.push_back(std::move(g));
  }
  std::unordered_map<std::string_view, std::size_t> recorded;
  for (const auto& g : impl->states)
    for (const auto& r : g.rules)
      if (!r->rule->alert) ++recorded[r->rule->name];
  for (auto& g : impl->states)
    for (auto& r : g.rules) r->shares_name = !r->rule->alert && recorded[r->rule->name] > 1;
  auto engine = std::unique_ptr<RuleEngine>(new RuleEngine);
  engine->impl_ = std::move(impl);
  return engine;
}

void RuleEngine::adopt(RuleEngine& old) {
  auto& to = *impl_;
  auto& from = *old.impl_;
  if (to.settings.series_labels == from.settings.series_labels) {
    auto settings = to.history->settings();
    to.history = from.history;
    to.history->set(std::move(settings));
    to.history->forget_users();
    to.live.attach(*to.history);
  }
  to.transitions = std::move(from.transitions);
  to.last_number = from.last_number;
  to.now = from.now;
  for (auto& g : to.states) {
    const auto was = std::ranges::find_if(
        from.states, [&](const auto& o) { return o.group->file == g.group->file && o.group->name == g.group->name; });
    if (was != from.states.end() && was->interval_ms == g.interval_ms) g.next_boot_ms = was->next_boot_ms;
  }
  if (to.checks && from.checks) to.checks->adopt(*from.checks);
  match_alerts(to.states, from.states, [](auto& r, AlertRule& before) { r.alerts.adopt(before); });
  // What fired by a rule that is gone is over.
  for (auto& g : from.states)
    for (auto& r : g.rules) r->alerts.clear(to.now, to.transitions);
}

bool RuleEngine::restore(history::Saved saved) {
  if (!impl_->history->restore(std::move(saved))) return false;
  impl_->live.attach(*impl_->history);
  return true;
}

namespace {

// Rules of an earlier run, as far as their alerts are known by them.
struct PastRule {
  PastRule(const SavedAlerts::Rule& from) : past_query(from.query) {
    rule->alert = true;
    rule->name = from.name;
    for (const auto& [name, text] : from.labels) rule->labels.emplace_back(name, Template::parse(text));
  }
  [[nodiscard]] const std::string& query() const { return past_query; }
  std::unique_ptr<Rule> rule = std::make_unique<Rule>();
  std::string past_query;
  AlertRule alerts{*rule};
};
struct PastGroup {
  std::unique_ptr<RuleGroup> group = std::make_unique<RuleGroup>();
  std::vector<std::unique_ptr<PastRule>> rules;
};

}  // namespace

void RuleEngine::restore(LoadedAlerts saved, const Moment& now) {
  auto& impl = *impl_;
  const auto shift_ms = now.shift_from(saved.last);
  const auto down_boot_ms = saved.last.boot_ms + shift_ms;
  const AlertRule::Now at{now.boot_ms, now.wall_ms};
  impl.transitions = std::move(saved.alerts.untold);
  impl.last_number = saved.alerts.last_number;
  std::vector<PastGroup> past;
  for (const auto& r : saved.alerts.rules) {
    auto& g = past.emplace_back();
    g.group->file = r.file;
    g.group->name = r.group;
    auto& rule = *g.rules.emplace_back(std::make_unique<PastRule>(r));
    std::vector<ActiveAlert> alerts;
    for (const auto& a : r.alerts) {
      auto& to = alerts.emplace_back();
      to.alert = a.alert;
      to.labels = promql::Labels({a.alert.labels.begin(), a.alert.labels.end()});
      to.active_boot_ms = a.active_boot_ms + shift_ms;
      if (a.absent) to.absent_boot_ms = a.absent_boot_ms + shift_ms;
    }
    rule.alerts.set_alerts(std::move(alerts));
  }
  if (now.boot_ms - down_boot_ms <= impl.settings.outage_tolerance_ms) {
    std::unordered_map<const AlertRule*, std::int64_t> hold_ms;
    for (const auto& g : impl.states)
      for (const auto& r : g.rules) hold_ms[&r->alerts] = std::clamp(r->past_ms, kLeastHoldMs, kMostHoldMs);
    match_alerts(impl.states, past, [&](auto& r, AlertRule& before) {
      r.alerts.restore(before, at, {down_boot_ms, impl.settings.outage_grace_ms, hold_ms[&r.alerts]});
    });
  }
  // Of rules that are no more, or of too long ago: whoever was told that it fires hears that it is over.
  for (auto& g : past)
    for (auto& r : g.rules) r->alerts.clear(at, impl.transitions);
}

SavedAlerts RuleEngine::alerts_to_save(std::vector<AlertTransition> untold) const {
  SavedAlerts out;
  out.untold = std::move(untold);
  out.last_number = impl_->last_number;
  for (const auto& g : impl_->states)
    for (const auto& r : g.rules) {
      SavedAlerts::Rule rule;
      for (const auto& a : r->alerts.alerts()) {
        if (a.alert.state == AlertState::inactive) continue;
        const bool absent = a.absent_boot_ms != ActiveAlert::kPresent;
        rule.alerts.push_back({a.alert, a.active_boot_ms, absent, absent ? a.absent_boot_ms : 0});
      }
      if (rule.alerts.empty()) continue;
      rule.file = g.group->file;
      rule.group = g.group->name;
      rule.name = r->rule->name;
      rule.query = r->query();
      rule.labels = r->declared->labels;
      out.rules.push_back(std::move(rule));
    }
  return out;
}

std::uint64_t RuleEngine::alerts_version() const {
  std::uint64_t version = 0;
  const auto add = [&version](std::uint64_t n) { version = (version ^ n) * 0x9e3779b97f4a7c15; };
  for (const auto& g : impl_->states)
    for (const auto& r : g.rules)
      for (const auto& a : r->alerts.alerts()) {
        if (a.alert.state == AlertState::inactive) continue;
        add(a.alert.fingerprint);
        add(static_cast<std::uint64_t>(a.alert.state));
        add(static_cast<std::uint64_t>(a.active_boot_ms));
        add(static_cast<std::uint64_t>(a.absent_boot_ms));
      }
  return version;
}

void RuleEngine::announce(std::span<const std::string_view> collectors) {
  impl_->announced.assign(collectors.begin(), collectors.end());
}

bool RuleEngine::reads_any(std::span<const MetricDesc> families) const {
  std::set<std::string_view> names;
  for (const auto& f : families) names.insert(f.name);
  return std::ranges::any_of(impl_->states, [&](const auto& g) {
    return std::ranges::any_of(g.reads, [&](auto name) { return names.contains(family_of(name, names)); });
  });
}

// Names of the series that may have changed by what was announced.
std::set<std::string_view> RuleEngine::Impl::news_in(const Snapshot& snapshot) const {
  std::set<std::string_view> names;
  if (announced.empty()) return names;
  for (const auto& batch : snapshot.batches)
    if (std::ranges::find(announced, batch->collector) != announced.end())
      for (const auto& sample : batch->layout->samples()) names.insert(sample.family->name);
  return names;
}

BatchPtr RuleEngine::evaluate(const Snapshot& snapshot) {
  auto& impl = *impl_;
  const auto boot_ms = snapshot.boot_ns / 1'000'000;
  const auto due = [&](const Impl::GroupState& g) { return boot_ms + impl.slack_ms(g) >= g.next_boot_ms; };
  const auto begin_ns = SystemClock::read(CLOCK_MONOTONIC);
  impl.history->begin(snapshot);
  impl.now = {boot_ms,
              boot_ms + impl.history->offset_ms()};  // as the samples' times: this round's is not in the future
  impl.live.begin_round();
  ++impl.rounds;
  impl.record_server_series(snapshot);
  auto news = impl.news_in(snapshot);
  impl.announced.clear();
  for (auto& g : impl.states) {
    const bool told =
        !news.empty() && std::ranges::any_of(g.reads, [&](auto name) { return news.contains(family_of(name, news)); });
    if (told)
      for (const auto& r : g.rules)
        if (!r->rule->alert) news.insert(r->rule->name);
    if (!due(g)) {
      if (told) impl.run(g, impl.now);
      continue;
    }
    // On schedule while cycles keep up; a longer pause is not caught up.
    g.next_boot_ms = g.next_boot_ms == INT64_MIN || boot_ms - g.next_boot_ms > g.interval_ms
                         ? boot_ms + g.interval_ms
                         : g.next_boot_ms + g.interval_ms;
    impl.run(g, impl.now);
  }
  impl.run_checks();
  impl.record_alerts();
  impl.history->end();
  return impl.write(snapshot.boot_ns, SystemClock::read(CLOCK_MONOTONIC) - begin_ns);
}

void RuleEngine::Impl::load_checks(std::vector<std::string>& problems) {
  const auto own = settings.series_labels.find("instance");
  const auto instance = own == settings.series_labels.end() ? host_name() : own->second;
  CheckLibrary library;
  for (const auto& file : find_check_files(settings.check_files, problems)) {
    const auto text = read_text_file(file, kRuleFileBytes);
    if (text) vitald::load_checks(*text, file, instance, library, warnings, settings.language);
    else warnings.push_back(text.error().text);
  }
  if (!library.checks.empty() || !library.metrics.empty())
    checks = std::make_unique<Checks>(std::move(library), instance, live, settings.dialect);
}

// Rules of the next round, and queries, see what they found.
void RuleEngine::Impl::run_checks() {
  if (!checks) return;
  checks->evaluate(now.boot_ms, now.wall_ms);
  const auto old = std::exchange(check_series, {});
  checks->each_series([&](const MetricDesc& desc, std::span<const std::string_view> values, double value) {
    promql::LabelsBuilder b;
    for (const auto& [name, text] : settings.series_labels) b.set(name, text);
    b.set(promql::kMetricName, desc.name);
    auto names = desc.labels;
    for (const auto v : values) b.set(take_until(names, ','), v);
    const auto id = history->acquire(b.labels());
    history->record(id, value);
    check_series.push_back(id);
  });
  for (const auto id : old) history->release(id);
}

void RuleEngine::Impl::run(GroupState& g, AlertRule::Now at) {
  g.wall_ms = at.wall_ms;
  const auto begin_ns = SystemClock::read(CLOCK_MONOTONIC);
  auto last_ns = begin_ns;
  for (auto& r : g.rules) {
    run(*r, *g.group, at);
    const auto end_ns = SystemClock::read(CLOCK_MONOTONIC);
    r->took_ns = end_ns - last_ns;
    last_ns = end_ns;
  }
  g.took_ns = last_ns - begin_ns;
}

void RuleEngine::Impl::run(RuleState& r, const RuleGroup& g, AlertRule::Now at) {
  r.evaluated = true;
  r.wall_ms = at.wall_ms;
  auto value = r.evaluator.eval(at.wall_ms - g.query_offset_ms);
  if (!value) {  // alerts stay as they are: not knowing is no reason to resolve
    tell(r, g, value.error().text);
    if (!r.rule->alert) forget_results(r);
    return;
  }
  promql::Vector scalar;
  if (value->type == promql::ValueType::scalar) {
    static const auto kOne = [] {
      auto shape = std::make_shared<promql::Shape>();
      shape->series.emplace_back();
      return shape;
    }();
    scalar = {kOne, {{0, value->scalar}}};
    value->vector = &scalar;
  }
  if (!r.rule->alert) {
    const auto done = record(r, g, *value->vector);
    return tell(r, g, done ? std::string() : done.error().text);
  }
  if (r.alerts.is_quiet(*value->vector)) return tell(r, g, {});
  const auto measure = [&]() -> const promql::Vector* {
    if (!r.measured_values) return nullptr;
    const auto values = r.measured_values->eval(at.wall_ms - g.query_offset_ms);
    return values && values->type == promql::ValueType::vector ? values->vector : nullptr;
  };
  TemplateData data{.external_labels = &settings.external_labels, .external_url = settings.external_url};
  data.now_ms = at.wall_ms;
  data.text_of_histogram = [&](const promql::Sample& s) { return value->histogram(s)->text(); };
  data.query = [&](const std::string& expression) { return ask(expression, at.wall_ms - g.query_offset_ms); };
  const auto done = r.alerts.update(*value->vector, at, g.limit, std::move(data), measure, transitions);
  tell(r, g, done ? std::string() : done.error().text);
}

// For the API, and for the log when it begins and when it is over: what stands in it, counts for one, may change at
// every round.
void RuleEngine::Impl::tell(RuleState& r, const RuleGroup& g, std::string error) {
  if (r.error.empty() != error.empty()) {
    if (error.empty()) log::info("a rule works again", {{"rule", r.rule->name}, {"group", g.name}});
    else log::warn("a rule fails", {{"rule", r.rule->name}, {"group", g.name}, {"err", log::one_line(error)}});
  }
  r.error = std::move(error);
}

RuleEngine::Impl::Asked* RuleEngine::Impl::asked(const std::string& expression, bool from_file) {
  if (const auto at = queries.find(expression); at != queries.end()) {
    at->second.round = rounds;
    return &at->second;
  }
  if (!from_file && queries.size() - from_files >= kMostAsked && !forget_asked()) return nullptr;
  auto& a = queries[expression];
  a.round = rounds;
  a.from_file = from_file;
  if (from_file) ++from_files;
  live.take_bound();
  std::vector<promql::Problem> problems;
  a.expr = promql::compile(expression, problems, settings.language);
  if (a.expr) a.evaluator.emplace(*a.expr, live, promql::EvalOptions{.dialect = settings.dialect});
  else a.problem = problems.empty() ? "no expression" : problems[0].what;
  a.handles = live.take_bound();
  return &a;
}

// False: all are of this round, and one that goes would be made again with the next one.
bool RuleEngine::Impl::forget_asked() {
  auto oldest = queries.end();
  for (auto at = queries.begin(); at != queries.end(); ++at)
    if (!at->second.from_file && (oldest == queries.end() || at->second.round < oldest->second.round)) oldest = at;
  if (oldest == queries.end() || oldest->second.round == rounds) return false;
  const auto handles = std::move(oldest->second.handles);
  queries.erase(oldest);
  for (const auto handle : handles) live.unbind(handle);
  return true;
}

Result<text_template::Samples> RuleEngine::Impl::ask(const std::string& expression, std::int64_t t_ms) {
  auto* a = asked(expression, false);
  if (!a)
    return fail(Errc::malformed, fmt::format("more than {} different queries in templates in one round", kMostAsked));
  if (!a->expr) return fail(Errc::malformed, a->problem);
  const auto value = a->evaluator->eval(t_ms);
  if (!value) return fail(value.error());
  text_template::Samples out;
  if (value->type == promql::ValueType::scalar) {
    out.push_back(std::make_shared<const text_template::Sample>(text_template::Sample{{}, value->scalar}));
  } else if (value->vector) {
    for (const auto& s : value->vector->samples) {
      auto sample = std::make_shared<text_template::Sample>();
      for (const auto& l : value->vector->labels(s)) sample->labels.emplace(l.name, l.value);
      sample->value = s.value;
      out.push_back(std::move(sample));
    }
  } else {
    return fail(Errc::malformed, "did not return an instant vector or scalar");
  }
  return out;
}

Result<> RuleEngine::Impl::record(RuleState& r, const RuleGroup& g, const promql::Vector& result) {
  if (g.limit > 0 && result.samples.size() > g.limit) {
    forget_results(r);
    return fail(Errc::malformed,
                fmt::format("{} series, more than the group's limit of {}", result.samples.size(), g.limit));
  }
  if (r.in != result.shape) name_results(r, result.shape);
  if (r.collides) {
    std::vector<std::int32_t> seen;
    if (promql::has_duplicate(promql::index(r.out), result.samples, seen)) {
      forget_results(r);
      return fail(Errc::malformed, "two results make the same series after the rule's labels");
    }
  }
  std::string twice;
  std::optional<std::vector<promql::Sample>> own;
  if (r.shares_name) own = without_others(r, result, twice);
  const auto& samples = own ? *own : result.samples;
  // Series of the last result that are not in this one end here.
  if (!std::ranges::equal(r.last, samples, {}, &promql::Sample::series, &promql::Sample::series))
    for (const auto& s : r.last) history->record(r.ids[s.series], promql::stale_marker());
  r.last = samples;
  for (const auto& s : r.last) history->record(r.ids[s.series], s.value);
  if (!twice.empty()) return fail(Errc::malformed, std::move(twice));
  return {};
}

// A series belongs to the rule that recorded it first, until that one has it no more.
std::vector<promql::Sample> RuleEngine::Impl::without_others(RuleState& r, const promql::Vector& result,
                                                             std::string& why) {
  std::vector<promql::Sample> own;
  for (const auto& s : result.samples) {
    const auto [at, first] = recorders.try_emplace(r.ids[s.series], &r);
    if (at->second == &r) {
      own.push_back(s);
      continue;
    }
    if (why.empty())
      why = fmt::format("{}: another rule of this name ({}) records the series already, and it stays",
                        r.out->series[s.series].text(), at->second->query());
  }
  for (const auto& s : r.last)
    if (std::ranges::find(own, s.series, &promql::Sample::series) == own.end()) let_go(r, s);
  return own;
}

void RuleEngine::Impl::name_results(RuleState& r, const promql::ShapePtr& in) {
  auto out = std::make_shared<promql::Shape>();
  for (const auto& l : in->series) {
    promql::LabelsBuilder b(l);
    for (const auto& [name, text] : r.rule->labels) b.set(name, text.text());
    b.set(promql::kMetricName, r.rule->name);
    out->series.push_back(b.labels());
  }
  auto exported = decltype(r.exported){};
  for (const auto& l : out->series) {
    auto& labels = exported.emplace_back();
    for (const Label x : l) {
      const auto own = settings.series_labels.find(std::string(x.name));
      if (x.name != promql::kMetricName && (own == settings.series_labels.end() || own->second != x.value))
        labels.push_back(x);
    }
  }
  r.collides = promql::index(out).collides;
  // The new ones first: a series that is in both goes on without an end.
  std::vector<std::uint32_t> ids;
  for (const auto& l : out->series) ids.push_back(history->acquire(l));
  for (const auto& s : r.last) let_go(r, s);
  for (const auto id : r.ids) history->release(id);
  // All or nothing: `in` says that the rest is of it.
  r.ids = std::move(ids);
  r.last.clear();
  r.exported = std::move(exported);
  r.out = out;
  r.in = in;
}

void RuleEngine::Impl::forget_results(RuleState& r) {
  for (const auto& s : r.last) {
    history->record(r.ids[s.series], promql::stale_marker());
    let_go(r, s);
  }
  r.last.clear();
}

// What a server would write about its scrape of this host. Only rules see it: a real server writes its own.
void RuleEngine::Impl::record_server_series(const Snapshot& snapshot) {
  std::int64_t took_ns = 0;
  std::size_t samples = 0;
  for (const auto& b : snapshot.batches) {
    took_ns += b->health.wall_ns;
    samples += b->values.size();
  }
  const double values[] = {1, static_cast<double>(took_ns) / 1e9, static_cast<double>(samples)};
  const auto names = server_series();
  if (server_ids.empty())
    for (const auto name : names) {
      std::vector<std::pair<std::string, std::string>> labels(settings.series_labels.begin(),
                                                              settings.series_labels.end());
      labels.emplace_back(promql::kMetricName, name);
      server_ids.push_back(history->acquire(promql::Labels(std::move(labels))));
    }
  for (std::size_t i = 0; i < names.size(); ++i) history->record(server_ids[i], values[i]);
}

// Rules may look at the alerts of others, queries at what was.
void RuleEngine::Impl::record_alerts() {
  const auto old = std::exchange(alert_series, {});
  const auto add = [&](const promql::LabelsBuilder& labels, double value) {
    const auto id = history->acquire(labels.labels());
    history->record(id, value);
    alert_series.push_back(id);
  };
  for (const auto& g : states)
    for (const auto& r : g.rules)
      for (const auto& a : r->alerts.alerts()) {
        if (a.alert.state == AlertState::inactive) continue;
        promql::LabelsBuilder b(a.labels);
        b.set(promql::kMetricName, kAlertsForState.name);
        add(b, static_cast<double>(a.for_state_ms() / 1000));
        b.set(promql::kMetricName, kAlerts.name);
        b.set("alertstate", to_string(a.alert.state));
        add(b, 1);
      }
  for (const auto id : old) history->release(id);
}

// Each label once, whatever the rule was made from: the alert's state takes the place of a label of this name (alerts
// on ALERTS have one). Each series once: alerts of two rules, or two that only differed in that label, are one series.
void RuleEngine::Impl::write_alerts(const AlertRule& alerts) {
  std::vector<Label> labels;
  const auto write = [&](const MetricDesc& desc, double value) {
    std::string key(desc.name);
    for (const auto& l : labels) key.append(1, '\0').append(l.name).append(1, '\0').append(l.value);
    if (written.insert(std::move(key)).second) writer.set_labels(desc, value, labels);
  };
  for (const auto& a : alerts.alerts()) {
    if (a.alert.state == AlertState::inactive) continue;
    labels.clear();
    bool state = false;
    for (const auto& [name, value] : a.alert.labels) {
      const auto own = settings.series_labels.find(name);
      if (own == settings.series_labels.end() || own->second != value) labels.push_back({name, value});
      state |= name == "alertstate";
    }
    write(kAlertsForState, static_cast<double>(a.for_state_ms() / 1000));
    if (state) std::erase_if(labels, [](const Label& l) { return l.name == "alertstate"; });
    labels.push_back({"alertstate", to_string(a.alert.state)});
    write(kAlerts, 1);
  }
}

BatchPtr RuleEngine::Impl::write(std::int64_t boot_ns, std::int64_t wall_ns) {
  writer.begin(boot_ns);
  writer.use(pool);
  written.clear();
  for (const auto& g : states)
    for (const auto& r : g.rules) {
      if (r->rule->alert) write_alerts(r->alerts);
      else
        for (const auto& s : r->last) writer.set_labels(*r->desc, s.value, r->exported[s.series]);
    }
  if (checks)
    checks->each_series([this](const MetricDesc& desc, std::span<const std::string_view> labels, double value) {
      writer.set_values(desc, value, labels);
    });
  return writer.finish({}, wall_ns, wall_ns);
}

const std::vector<std::string>& RuleEngine::warnings() const { return impl_->warnings; }

const LabelMap& RuleEngine::external_labels() const { return impl_->settings.external_labels; }

AlertReach RuleEngine::alert_reach(std::span<const KnownFamily> families) const {
  return {impl_->groups, families, impl_->settings.series_labels};
}

// Numbers grow over restarts: the last one is kept with the alerts, and where it is not, time has gone on.
AlertTransition RuleEngine::numbered(AlertTransition t) {
  auto& last = impl_->last_number;
  t.number = last = std::max(last + 1, static_cast<std::uint64_t>(std::max<std::int64_t>(0, impl_->now.wall_ms)));
  return t;
}

std::vector<AlertTransition> RuleEngine::take_transitions() {
  for (auto& t : impl_->transitions)
    if (t.number == 0) t = numbered(std::move(t));
  return std::exchange(impl_->transitions, {});
}

std::shared_ptr<const RulesView> RuleEngine::view(std::shared_ptr<const AlertBegins> begins) const {
  auto out = std::make_shared<RulesView>();
  out->external_labels = impl_->settings.external_labels;
  out->begins = std::move(begins);
  if (impl_->checks) out->checks = impl_->checks->view();
  const auto evicted_ms = impl_->history->evicted_until_ms();
  for (const auto& g : impl_->states) {
    auto& group = out->groups.emplace_back();
    group.name = g.group->name;
    group.file = g.group->file;
    group.interval_s = static_cast<double>(g.interval_ms) / 1000;
    group.limit = g.group->limit;
    group.evaluation_s = static_cast<double>(g.took_ns) / 1e9;
    group.last_evaluation_ms = g.wall_ms;
    group.rules.reserve(g.rules.size());
    for (const auto& r : g.rules) {
      auto& rule = group.rules.emplace_back();
      rule.declared = r->declared;
      // An annotation that cannot be expanded costs itself; a label is what the alert is known by.
      const auto& texts_error =
          r->rule->template_problem.empty() ? r->alerts.template_error() : r->rule->template_problem;
      const bool good = r->error.empty() && !texts_error.starts_with("label ");
      rule.health = !r->evaluated ? "unknown" : good ? "ok" : "err";
      rule.last_error = r->error.empty() ? texts_error : r->error;
      if (r->past_ms > 0 && evicted_ms > impl_->now.boot_ms - r->past_ms)
        rule.warning = fmt::format(
            "history.memory is reached: it looks back {}, there is {} of it", promql::duration_text(r->past_ms),
            promql::duration_text(std::max<std::int64_t>(0, impl_->now.boot_ms - evicted_ms) / 1000 * 1000));
      rule.state = r->alerts.state();
      for (const auto& a : r->alerts.alerts())
        if (a.alert.state != AlertState::inactive) rule.alerts.push_back(a.alert);
      rule.evaluation_s = static_cast<double>(r->took_ns) / 1e9;
      rule.last_evaluation_ms = r->wall_ms;
    }
  }
  return out;
}

std::set<std::string, std::less<>> RuleEngine::own_families() const {
  std::set<std::string, std::less<>> out;
  if (rule_count() > 0)
    for (const auto& desc : kMetrics) out.emplace(desc.name);
  if (impl_->checks)
    for (const auto& desc : Checks::metrics()) out.emplace(desc.name);
  for (const auto& g : impl_->states)
    for (const auto& r : g.rules)
      if (!r->rule->alert) out.insert(r->rule->name);
  return out;
}

std::span<const MetricDesc> RuleEngine::metrics() { return kMetrics; }

std::size_t RuleEngine::rule_count() const {
  std::size_t n = 0;
  for (const auto& g : impl_->groups) n += g.rules.size();
  return n;
}

std::int64_t RuleEngine::interval_ms() const {
  auto shortest = impl_->settings.interval_ms;
  for (const auto& g : impl_->states) shortest = std::min(shortest, g.interval_ms);
  return shortest;
}

std::size_t RuleEngine::check_count() const { return impl_->checks ? impl_->checks->size() : 0; }

bool RuleEngine::empty() const { return rule_count() == 0 && check_count() == 0 && !impl_->settings.without_rules; }

const std::shared_ptr<History>& RuleEngine::history() const { return impl_->history; }

}  // namespace vitald
