// SPDX-License-Identifier: Apache-2.0
#include "rules/unit/unit_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <deque>
#include <filesystem>
#include <map>
#include <set>

#include "core/os/kernel_file.h"
#include "rules/alerts.h"
#include "rules/load/load.h"
#include "rules/promql/eval.h"
#include "rules/promql/memory_source.h"
#include "rules/promql/parser.h"
#include "rules/template/value.h"
#include "rules/unit/test_file.h"

namespace vitald {

namespace {

using promql::Labels;
using promql::ValueType;

constexpr std::size_t kTestFileBytes = 4 << 20;

// As promtool prints a value: 1E+00.
std::string value_text(double v) {
  if (!std::isfinite(v)) return promql::number_text(v);
  char buf[40];
  const auto [end, ec] = std::to_chars(buf, buf + sizeof buf, v, std::chars_format::scientific);
  std::string out(buf, end);
  for (auto& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

struct GotSample {
  Labels labels;
  double value = 0;
  std::optional<promql::Histogram> histogram;
  [[nodiscard]] std::string text() const {
    return labels.text_with_name() + ' ' + (histogram ? histogram->notation() : value_text(value));
  }
};

// As labels are printed, with those that are empty.
std::string annotations_text(const LabelMap& annotations) {
  std::string out;
  for (const auto& [name, value] : annotations)
    out += fmt::format("{}{}={}", out.empty() ? "" : ", ", name, promql::quoted(value));
  return '{' + out + '}';
}

// One test of the file: its series, the rules over them, what comes out.
class Machine {
 public:
  Machine(const unit::TestFile& file, const unit::Group& test, std::vector<RuleGroup>& groups,
          const UnitTestSettings& settings)
      : file_(file), test_(test), settings_(settings) {
    // Of a series that is given twice the last one counts.
    std::map<promql::Labels, const unit::Series*> last;
    const auto labels = [](const unit::Series& s) {
      const auto split = promql::split_series(s.series);
      return split ? split->first : promql::Labels();
    };
    for (const auto& s : test.series) last[labels(s)] = &s;
    for (const auto& s : test.series) {
      std::string error;
      if (last[labels(s)] == &s)
        source_.load(s.series + ' ' + s.values, test.interval_ms, error, test.start_ms, test.most_points());
    }
    std::vector<RuleGroup*> order;
    for (auto& g : groups) order.push_back(&g);
    const auto rank = [&](const RuleGroup* g) {
      const auto at = std::ranges::find(file.group_order, g->name);
      return at - file.group_order.begin();
    };
    std::ranges::stable_sort(order, {}, rank);
    for (const auto* g : order)
      for (const auto& rule : g->rules) rules_.emplace_back(*g, rule, source_, options());
  }

  std::vector<std::string> run() {
    std::vector<std::string> failures;
    for (std::int64_t at = 0; at <= test_.last_ms; at += file_.interval_ms) {
      for (auto& r : rules_) evaluate(r, test_.start_ms + at);
      for (const auto& c : test_.alerts)
        if (c.at_ms >= at && c.at_ms < at + file_.interval_ms) check(c, failures);
    }
    for (const auto& c : test_.exprs) check(c, failures);
    for (const auto& e : errors_) failures.push_back("    " + e);
    return failures;
  }

 private:
  struct State {
    State(const RuleGroup& g, const Rule& r, promql::MemorySource& source, promql::EvalOptions options)
        : group(&g), rule(&r), evaluator(*r.expr, source, options), alerts(r) {}
    const RuleGroup* group;
    const Rule* rule;
    promql::Evaluator evaluator;
    AlertRule alerts;
    std::set<Labels> last;  // the series that it made at the time before
  };

  [[nodiscard]] promql::EvalOptions options() const {
    promql::EvalOptions o;
    o.dialect = settings_.dialect;
    o.subquery_step_ms = file_.interval_ms;
    return o;
  }

  static std::string duration(std::int64_t ms) { return promql::duration_text(ms); }
  [[nodiscard]] std::string head() const {
    return test_.name.empty() ? std::string() : fmt::format("    name: {},\n", test_.name);
  }

  // What a rule made of these series at t; those that it made before and no more end.
  void record(State& r, std::int64_t t, const std::map<Labels, GotSample>& now) {
    for (const auto& [labels, s] : now)
      source_.add(labels, t, s.value, s.histogram ? std::make_shared<const promql::Histogram>(*s.histogram) : nullptr);
    for (const auto& labels : r.last)
      if (!now.contains(labels)) source_.add(labels, t, promql::stale_marker());
    r.last.clear();
    for (const auto& [labels, s] : now) r.last.insert(labels);
  }

  void fails(const State& r, std::int64_t t, const std::string& why) {
    if (errors_.size() < 20)
      errors_.push_back(fmt::format("rule: {}, time: {}, err: {}", r.rule->name, duration(t - test_.start_ms), why));
  }

  void evaluate(State& r, std::int64_t t) {
    const auto value = r.evaluator.eval(t - r.group->query_offset_ms);
    if (!value) {
      if (!r.rule->alert) record(r, t, {});
      return fails(r, t, value.error().text);
    }
    promql::Vector scalar;
    const auto* vector = value->vector;
    if (value->type == ValueType::scalar) {
      auto one = std::make_shared<promql::Shape>();
      one->series.emplace_back();
      scalar.shape = std::move(one);
      scalar.samples.emplace_back(0, value->scalar);
      vector = &scalar;
    }
    if (r.rule->alert) return alert(r, t, *value, *vector);
    std::map<Labels, GotSample> now;
    for (const auto& s : vector->samples) {
      promql::LabelsBuilder b(vector->labels(s));
      b.set(promql::kMetricName, r.rule->name);
      std::deque<std::string> texts;
      for (const auto& [name, text] : r.rule->labels) b.set(name, texts.emplace_back(text.text()));
      const auto* h = value->histogram(s);
      auto labels = b.labels();
      GotSample sample{labels, s.value, h ? std::optional(*h) : std::nullopt};
      if (!now.emplace(std::move(labels), std::move(sample)).second) {
        record(r, t, {});
        return fails(r, t, "vector contains metrics with the same labelset after applying rule labels");
      }
    }
    if (r.group->limit > 0 && now.size() > r.group->limit) {
      record(r, t, {});
      return fails(r, t, fmt::format("exceeded limit of {} with {} series", r.group->limit, now.size()));
    }
    record(r, t, now);
  }

  void alert(State& r, std::int64_t t, const promql::Value& evaluated, const promql::Vector& vector) {
    TemplateData data{.external_labels = &test_.external_labels, .external_url = test_.external_url};
    data.now_ms = t;
    data.text_of_histogram = [&](const promql::Sample& s) { return evaluated.histogram(s)->text(); };
    data.query = [&](const std::string& text) { return ask(text, t - r.group->query_offset_ms); };
    std::vector<AlertTransition> transitions;
    const auto done = r.alerts.update(vector, {t, t}, r.group->limit, std::move(data), {}, transitions);
    if (!done) fails(r, t, done.error().text);
    std::map<Labels, GotSample> now;
    for (const auto& a : r.alerts.alerts()) {
      if (a.alert.state == AlertState::inactive) continue;
      const auto put = [&](std::string_view name, double value, bool with_state) {
        promql::LabelsBuilder b(a.labels);
        b.set(promql::kMetricName, name);
        if (with_state) b.set("alertstate", a.alert.state == AlertState::firing ? "firing" : "pending");
        auto labels = b.labels();
        now[labels] = {labels, value, {}};
      };
      put("ALERTS", 1, true);
      put("ALERTS_FOR_STATE", static_cast<double>(a.for_state_ms()) / 1000, false);
    }
    record(r, t, now);
  }

  Result<text_template::Samples> ask(const std::string& text, std::int64_t t) {
    std::vector<promql::Problem> problems;
    const auto e = promql::compile(text, problems, settings_.language);
    if (!e) return fail(Errc::malformed, problems.front().what);
    promql::Evaluator evaluator(*e, source_, options());
    const auto value = evaluator.eval(t);
    if (!value) return fail(value.error());
    text_template::Samples out;
    if (value->type == ValueType::scalar)
      out.push_back(std::make_shared<const text_template::Sample>(text_template::Sample{{}, value->scalar}));
    else if (!value->vector) return fail(Errc::malformed, "did not return an instant vector or scalar");
    else
      for (const auto& s : value->vector->samples) {
        auto sample = std::make_shared<text_template::Sample>();
        for (const auto& l : value->vector->labels(s)) sample->labels.emplace(l.name, l.value);
        sample->value = s.value;
        out.push_back(std::move(sample));
      }
    return out;
  }

  void check(const unit::AlertCase& c, std::vector<std::string>& failures) const {
    using Row = std::pair<Labels, LabelMap>;
    std::vector<Row> got, want;
    for (const auto& r : rules_) {
      if (!r.rule->alert || r.rule->name != c.name) continue;
      for (const auto& a : r.alerts.alerts())
        if (a.alert.state == AlertState::firing) got.emplace_back(a.labels, a.alert.annotations);
    }
    for (const auto& e : c.expected) want.emplace_back(e.labels, e.annotations);
    std::ranges::sort(got);
    std::ranges::sort(want);
    if (got == want) return;
    const auto text = [](const std::vector<Row>& rows) {
      if (rows.empty()) return std::string("[]");
      std::string out = "[";
      for (std::size_t i = 0; i < rows.size(); ++i)
        out += fmt::format("\n            {}:\n              Labels:{}\n              Annotations:{}{}", i,
                           rows[i].first.text_with_name(), annotations_text(rows[i].second),
                           i + 1 < rows.size() ? "," : "");
      return out + "\n            ]";
    };
    failures.push_back(fmt::format("{}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}", head(), c.name,
                                   duration(c.at_ms), text(want), text(got)));
  }

  void check(const unit::ExprCase& c, std::vector<std::string>& failures) {
    const auto failed = [&](const std::string& what) {
      failures.push_back(
          fmt::format("{}    expr: {}, time: {},{}", head(), promql::quoted(c.expr), duration(c.at_ms), what));
    };
    std::vector<promql::Problem> problems;
    const auto e = promql::compile(c.expr, problems, settings_.language);
    if (!e) return failed(fmt::format(" err: 1:{}: {}", problems[0].where.begin + 1, problems[0].what));
    if (e->type != ValueType::vector && e->type != ValueType::scalar)
      return failed(" err: rule result is not a vector or scalar");
    promql::Evaluator evaluator(*e, source_, options());
    const auto value = evaluator.eval(test_.start_ms + c.at_ms);
    if (!value) return failed(" err: " + value.error().text);
    std::vector<GotSample> got, want;
    if (value->type == ValueType::scalar) got.push_back({{}, value->scalar, {}});
    else
      for (const auto& s : value->vector->samples) {
        const auto* h = value->histogram(s);
        got.push_back({value->vector->labels(s), s.value, h ? std::optional(*h) : std::nullopt});
      }
    for (const auto& w : c.expected) want.push_back({w.labels, w.value, w.histogram});
    std::ranges::stable_sort(got, {}, &GotSample::labels);
    std::ranges::stable_sort(want, {}, &GotSample::labels);
    const auto equal = [&](const GotSample& a, const GotSample& b) {
      if (a.labels != b.labels || a.histogram.has_value() != b.histogram.has_value()) return false;
      return a.histogram ? same(*a.histogram, *b.histogram) : same(a.value, b.value);
    };
    if (std::ranges::equal(got, want, equal)) return;
    const auto text = [](const std::vector<GotSample>& rows) {
      std::string out;
      for (const auto& r : rows) out += (out.empty() ? "" : ", ") + r.text();
      return out.empty() ? std::string("nil") : out;
    };
    failed(fmt::format("\n        exp: {}\n        got: {}", text(want), text(got)));
  }

  // Exactly; with fuzzy_compare, but for the last bits.
  [[nodiscard]] bool same(double a, double b) const {
    if (a == b || (std::isnan(a) && std::isnan(b))) return true;
    if (!file_.fuzzy) return false;
    return std::abs(a - b) <= 4 * std::numeric_limits<double>::epsilon() * std::max(std::abs(a), std::abs(b));
  }
  [[nodiscard]] bool same(promql::Histogram a, promql::Histogram b) const {
    a.compact(), b.compact();
    const auto buckets = [&](const promql::Histogram::Buckets& x, const promql::Histogram::Buckets& y) {
      return std::ranges::equal(
          x, y, [&](const auto& p, const auto& q) { return p.index == q.index && same(p.count, q.count); });
    };
    return a.schema == b.schema && a.custom == b.custom && same(a.count, b.count) && same(a.sum, b.sum) &&
           same(a.zero_count, b.zero_count) && a.zero_threshold == b.zero_threshold &&
           buckets(a.positive, b.positive) && buckets(a.negative, b.negative) &&
           (b.hint == promql::ResetHint::unknown || a.hint == b.hint);
  }

  const unit::TestFile& file_;
  const unit::Group& test_;
  const UnitTestSettings& settings_;
  promql::MemorySource source_;
  std::deque<State> rules_;
  std::vector<std::string> errors_;
};

}  // namespace

UnitTestReport run_unit_tests(const std::string& file, const UnitTestSettings& settings) {
  UnitTestReport report;
  const auto text = read_text_file(file, kTestFileBytes);
  if (!text) {
    report.problems.push_back(text.error().text);
    return report;
  }
  const auto tests = unit::read_test_file(*text, file, report.problems);
  if (!report.problems.empty()) return report;
  const auto folder = std::filesystem::path(file).parent_path();
  std::vector<RuleGroup> groups;
  for (const auto& pattern : tests.rule_files) {
    std::vector<std::string> none;
    const auto path = std::filesystem::path(pattern).is_absolute() ? pattern : (folder / pattern).string();
    const auto files = find_rule_files({path}, none);
    if (files.empty())
      report.warnings.push_back(fmt::format("no file match pattern {}: none of its rules is tested", path));
    for (const auto& f : files) {
      const auto rules = read_text_file(f, kTestFileBytes);
      if (!rules) {
        report.problems.push_back(rules.error().text);
        continue;
      }
      for (auto& g : load_rules(*rules, f, report.problems, &report.warnings, settings.language))
        groups.push_back(std::move(g));
    }
  }
  if (!report.problems.empty()) return report;
  for (const auto& name : tests.group_order)
    if (std::ranges::find(groups, name, &RuleGroup::name) == groups.end())
      report.warnings.push_back(fmt::format("group_eval_order: no group '{}' in the rule files", name));
  std::set<std::string> said;
  for (const auto& test : tests.groups)
    for (const auto& c : test.alerts) {
      const auto is_it = [&c](const Rule& r) { return r.alert && r.name == c.name; };
      if (std::ranges::none_of(groups, [&](const RuleGroup& g) { return std::ranges::any_of(g.rules, is_it); }) &&
          said.insert(c.name).second)
        report.warnings.push_back(fmt::format("alert_rule_test: no rule of the rule files is called '{}'", c.name));
    }
  for (const auto& test : tests.groups) {
    report.tests += test.alerts.size() + test.exprs.size();
    Machine machine(tests, test, groups, settings);
    for (auto& f : machine.run()) report.failures.push_back(std::move(f));
  }
  return report;
}

}  // namespace vitald
