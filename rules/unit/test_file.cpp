// SPDX-License-Identifier: Apache-2.0
#include "rules/unit/test_file.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "core/text/scan.h"
#include "core/yaml/reader.h"
#include "rules/promql/lexer.h"
#include "rules/promql/series_text.h"

namespace vitald::unit {

namespace {

constexpr std::string_view kFile[] = {"rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare",
                                      "tests"};
constexpr std::string_view kGroup[] = {"name",
                                       "interval",
                                       "start_timestamp",
                                       "input_series",
                                       "alert_rule_test",
                                       "promql_expr_test",
                                       "external_labels",
                                       "external_url"};
constexpr std::string_view kSeries[] = {"series", "values"};
constexpr std::string_view kAlertCase[] = {"eval_time", "alertname", "exp_alerts"};
constexpr std::string_view kAlert[] = {"exp_labels", "exp_annotations"};
constexpr std::string_view kExprCase[] = {"expr", "eval_time", "exp_samples"};
constexpr std::string_view kSample[] = {"labels", "value", "histogram"};

// 2021-01-01T00:00:00Z, 2021-01-01T01:00:00.5+01:00 -> milliseconds since 1970.
std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  const auto digits = [&](std::size_t n, char after) -> std::optional<int> {
    if (text.size() < n) return std::nullopt;
    const auto v = parse_int<int>(text.substr(0, n));
    text.remove_prefix(n);
    if (after && !take_prefix(text, std::string_view(&after, 1))) return std::nullopt;
    return v;
  };
  const auto year = digits(4, '-'), month = digits(2, '-'), day = digits(2, 'T');
  const auto hour = digits(2, ':'), minute = digits(2, ':'), second = digits(2, 0);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  double fraction = 0;
  if (take_prefix(text, ".")) {
    std::size_t n = 0;
    while (n < text.size() && text[n] >= '0' && text[n] <= '9') ++n;
    const auto v = parse_double("0." + std::string(text.substr(0, n)));
    if (n == 0 || !v) return std::nullopt;
    fraction = *v;
    text.remove_prefix(n);
  }
  std::int64_t offset_minutes = 0;
  if (text != "Z") {
    if (text.empty() || (text[0] != '+' && text[0] != '-')) return std::nullopt;
    const int sign = text[0] == '-' ? -1 : 1;
    text.remove_prefix(1);
    const auto h = digits(2, ':'), m = digits(2, 0);
    if (!h || !m || !text.empty()) return std::nullopt;
    offset_minutes = sign * (*h * 60 + *m);
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return (((days * 24 + *hour) * 60 + *minute - offset_minutes) * 60 + *second) * 1000 + std::llround(fraction * 1000);
}

class Reader : public YamlReader {
 public:
  explicit Reader(const std::string& file) : YamlReader(file) {}

  TestFile run(const YAML::Node& root) {
    TestFile out;
    if (!root || root.IsNull() || !is_map(root, "the file", kFile)) return out;
    out.rule_files = texts(root, "rule_files");
    out.group_order = texts(root, "group_eval_order");
    if (const auto ms = duration(root, "evaluation_interval"); ms > 0) out.interval_ms = ms;
    if (const auto fuzzy = text(root, "fuzzy_compare"); !fuzzy.empty()) {
      if (fuzzy != "true" && fuzzy != "false")
        say(root["fuzzy_compare"], fmt::format("'{}', expected true or false", fuzzy));
      out.fuzzy = fuzzy == "true";
    }
    for (const auto& g : list(root, "tests")) out.groups.push_back(group(g, out.interval_ms));
    return out;
  }

 private:
  using YamlReader::say;
  void say(const YAML::Node& at, const std::string& what) { say(at.Mark(), "", what); }

  bool is_map(const YAML::Node& n, std::string_view what, std::span<const std::string_view> known) {
    if (!n.IsMap()) return say(n, fmt::format("{} is {}, expected a map", what, kind_of(n))), false;
    each(n, "", known, [](const std::string&, const std::string&, const YAML::Node&) {});
    return true;
  }
  std::vector<YAML::Node> list(const YAML::Node& parent, const char* key) {
    const YAML::Node n = parent[key];
    if (!n || n.IsNull()) return {};
    if (n.IsSequence()) return items(n);
    say(n, fmt::format("{} is {}, expected a list", key, kind_of(n)));
    return {};
  }
  std::vector<std::string> texts(const YAML::Node& parent, const char* key) {
    std::vector<std::string> out;
    for (const auto& n : list(parent, key)) {
      if (n.IsScalar()) out.push_back(n.Scalar());
      else say(n, fmt::format("{} has {}, expected text", key, kind_of(n)));
    }
    return out;
  }
  std::string text(const YAML::Node& parent, const char* key, bool required = false) {
    const YAML::Node n = parent[key];
    if (!n || n.IsNull()) {
      if (required) say(parent, fmt::format("no {}, expected one", key));
      return {};
    }
    if (!n.IsScalar()) return say(n, fmt::format("{} is {}, expected text", key, kind_of(n))), std::string();
    return n.Scalar();
  }
  LabelMap map(const YAML::Node& parent, const char* key) {
    LabelMap out;
    const YAML::Node n = parent[key];
    if (!n || n.IsNull()) return out;
    if (!n.IsMap()) return say(n, fmt::format("{} is {}, expected a map of names to texts", key, kind_of(n))), out;
    each(n, "", {}, [&](const std::string&, const std::string& name, const YAML::Node& value) {
      if (value.IsScalar()) out[name] = value.Scalar();
      else if (value.IsNull()) out[name] = "";
      else say(value, fmt::format("{} is {}, expected text", name, kind_of(value)));
    });
    return out;
  }
  std::int64_t duration(const YAML::Node& parent, const char* key, bool required = false) {
    const auto t = text(parent, key, required);
    if (t.empty() || t == "0") return 0;
    const auto ms = promql::parse_duration_ms(t);
    if (ms < 0) say(parent[key], fmt::format("{}: '{}' is not a duration, expected e.g. 30s, 5m, 1h30m", key, t));
    return std::max<std::int64_t>(ms, 0);
  }

  Group group(const YAML::Node& n, std::int64_t interval_ms) {
    Group g;
    if (!is_map(n, "a test", kGroup)) return g;
    g.name = text(n, "name");
    g.external_url = text(n, "external_url");
    g.external_labels = map(n, "external_labels");
    g.interval_ms = duration(n, "interval");
    if (g.interval_ms == 0) g.interval_ms = interval_ms;
    if (const auto start = text(n, "start_timestamp"); !start.empty()) {
      if (const auto seconds = parse_double(start); seconds && std::abs(*seconds) < 9e12)
        g.start_ms = std::llround(*seconds * 1000);
      else if (const auto ms = parse_rfc3339(start)) g.start_ms = *ms;
      else
        say(n["start_timestamp"],
            fmt::format("'{}' is no time, expected seconds since 1970 or e.g. 2021-01-01T00:00:00Z", start));
    }
    for (const auto& s : list(n, "input_series"))
      if (is_map(s, "a series", kSeries)) {
        g.series.push_back({text(s, "series", true), text(s, "values", true)});
        check(s, g.series.back());
      }
    for (const auto& c : list(n, "alert_rule_test"))
      if (is_map(c, "a test of an alert", kAlertCase)) g.alerts.push_back(alert_case(c));
    for (const auto& c : list(n, "promql_expr_test"))
      if (is_map(c, "a test of an expression", kExprCase)) g.exprs.push_back(expr_case(c));
    return g;
  }

  void check(const YAML::Node& at, const Series& s) {
    std::string error;
    const auto split = promql::split_series(s.series);
    if (!split || !split->second.empty())
      return say(at["series"], fmt::format("'{}' is no series, expected e.g. up{{job=\"x\"}}", s.series));
    if (!promql::parse_points(s.values, error)) say(at["values"], fmt::format("values: {}", error));
  }

  AlertCase alert_case(const YAML::Node& n) {
    AlertCase c;
    c.at_ms = duration(n, "eval_time", true);
    c.name = text(n, "alertname", true);
    for (const auto& a : list(n, "exp_alerts")) {
      if (a.IsNull()) {
        c.expected.push_back({promql::Labels({{"alertname", c.name}}), {}});
        continue;
      }
      if (!is_map(a, "an alert", kAlert)) continue;
      auto labels = map(a, "exp_labels");
      labels["alertname"] = c.name;
      c.expected.push_back({promql::Labels({labels.begin(), labels.end()}), map(a, "exp_annotations")});
    }
    return c;
  }

  ExprCase expr_case(const YAML::Node& n) {
    ExprCase c;
    c.at_ms = duration(n, "eval_time", true);
    c.expr = text(n, "expr", true);
    for (const auto& s : list(n, "exp_samples")) {
      if (!is_map(s, "a sample", kSample)) continue;
      ExpectedSample e;
      const auto labels = text(s, "labels");
      const auto split =
          labels.empty() ? std::pair{promql::Labels(), std::string_view()}
                         : promql::split_series(labels).value_or(std::pair{promql::Labels(), std::string_view("?")});
      if (!split.second.empty())
        say(s["labels"], fmt::format("'{}' is no series, expected e.g. up{{job=\"x\"}}", labels));
      e.labels = split.first;
      if (const auto h = text(s, "histogram"); !h.empty()) {
        std::string error;
        e.histogram = promql::parse_histogram(trim(h), error);
        if (!e.histogram) say(s["histogram"], error);
      } else if (auto v = text(s, "value"); !v.empty()) {
        const auto number = number_of(v);
        if (!number) say(s["value"], fmt::format("value: '{}' is no number", v));
        e.value = number.value_or(0);
      }
      c.expected.push_back(std::move(e));
    }
    return c;
  }

  // YAML's spellings beside our own: .inf, -.Inf, .NaN, 1_000
  static std::optional<double> number_of(std::string_view v) {
    std::string plain;
    for (const char c : v)
      if (c != '_') plain += c;
    for (const std::string_view dotted : {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"})
      if (plain.ends_with(dotted)) plain.erase(plain.size() - dotted.size(), 1);
    std::string_view rest = plain;
    if (rest.starts_with('+')) rest.remove_prefix(1);
    return parse_double(rest);
  }
};

}  // namespace

TestFile read_test_file(const std::string& yaml, const std::string& file, std::vector<std::string>& problems) {
  TestFile out;
  Reader reader(file);
  reader.read(yaml, problems, [&](const YAML::Node& root) { out = reader.run(root); });
  return out;
}

}  // namespace vitald::unit
