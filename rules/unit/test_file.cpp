// SPDX-License-Identifier: Apache-2.0
#include "rules/unit/test_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text/rfc3339.h"
#include "core/text/scan.h"
#include "rules/load/reader.h"
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

class Reader : public RuleReader {
 public:
  explicit Reader(const std::string& file) : RuleReader(file) {}

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
  bool is_map(const YAML::Node& n, std::string_view what, std::span<const std::string_view> known) {
    return map(n, what, known, "a map");
  }
  std::vector<std::string> texts(const YAML::Node& parent, const char* key) {
    std::vector<std::string> out;
    for (const auto& n : list(parent, key)) {
      if (n.IsScalar()) out.push_back(n.Scalar());
      else say(n, fmt::format("{} has {}, expected text", key, kind_of(n)));
    }
    return out;
  }
  LabelMap labels(const YAML::Node& parent, const char* key) {
    LabelMap out;
    each_text(parent, key,
              [&](const YAML::Node& name, const std::string& value, const YAML::Node&) { out[name.Scalar()] = value; });
    return out;
  }

  Group group(const YAML::Node& n, std::int64_t interval_ms) {
    Group g;
    if (!is_map(n, "a test", kGroup)) return g;
    g.name = text(n, "name");
    g.external_url = text(n, "external_url");
    g.external_labels = labels(n, "external_labels");
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
    std::vector<YAML::Node> places;  // of the series
    for (const auto& s : list(n, "input_series"))
      if (is_map(s, "a series", kSeries)) {
        g.series.push_back({text(s, "series", Need::key), text(s, "values")});
        places.push_back(s);
      }
    for (const auto& c : list(n, "alert_rule_test"))
      if (is_map(c, "a test of an alert", kAlertCase)) g.alerts.push_back(alert_case(c));
    for (const auto& c : list(n, "promql_expr_test"))
      if (is_map(c, "a test of an expression", kExprCase)) g.exprs.push_back(expr_case(c));
    for (const auto& c : g.alerts) g.last_ms = std::max(g.last_ms, c.at_ms);
    for (const auto& c : g.exprs) g.last_ms = std::max(g.last_ms, c.at_ms);
    for (std::size_t i = 0; i < places.size(); ++i) check(places[i], g.series[i], g);
    return g;
  }

  void check(const YAML::Node& at, const Series& s, const Group& g) {
    std::string error;
    const auto split = promql::split_series(s.series);
    if (!split || !split->second.empty())
      return say(at["series"], fmt::format("'{}' is no series, expected e.g. up{{job=\"x\"}}", s.series));
    if (!promql::parse_points(s.values, error, g.most_points())) say(at["values"], fmt::format("values: {}", error));
  }

  AlertCase alert_case(const YAML::Node& n) {
    AlertCase c;
    c.at_ms = duration(n, "eval_time");
    c.name = text(n, "alertname", Need::key);
    for (const auto& a : list(n, "exp_alerts")) {
      if (a.IsNull()) {
        c.expected.push_back({promql::Labels({{"alertname", c.name}}), {}});
        continue;
      }
      if (!is_map(a, "an alert", kAlert)) continue;
      auto expected = labels(a, "exp_labels");
      expected["alertname"] = c.name;
      c.expected.push_back({promql::Labels({expected.begin(), expected.end()}), labels(a, "exp_annotations")});
    }
    return c;
  }

  ExprCase expr_case(const YAML::Node& n) {
    ExprCase c;
    c.at_ms = duration(n, "eval_time");
    c.expr = text(n, "expr", Need::key);
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

  // As Go reads numbers of YAML: .inf, -.Inf, .NaN, 1_000, 0x1F, 0o17 and 017 (15), 0b11; beside them Inf and NaN.
  static std::optional<double> number_of(std::string_view v) {
    std::string plain;
    for (const char c : v)
      if (c != '_') plain += c;
    for (const std::string_view dotted : {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"})
      if (plain.ends_with(dotted)) plain.erase(plain.size() - dotted.size(), 1);
    std::string_view digits = plain;
    const bool negative = take_prefix(digits, "-");
    if (!negative) take_prefix(digits, "+");
    struct Base {
      std::string_view prefix;
      int base;
    };
    constexpr Base kBases[] = {{"0x", 16}, {"0X", 16}, {"0o", 8}, {"0O", 8}, {"0b", 2}, {"0B", 2}};
    for (const auto& [prefix, base] : kBases)
      if (auto rest = digits; take_prefix(rest, prefix)) {
        const auto n = parse_int<std::uint64_t>(rest, base);
        if (!n) return std::nullopt;
        return negative ? -static_cast<double>(*n) : static_cast<double>(*n);
      }
    return promql::parse_series_number(plain);
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
