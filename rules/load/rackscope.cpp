// SPDX-License-Identifier: Apache-2.0
#include "rules/load/rackscope.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/text/scan.h"
#include "rules/load/load.h"
#include "rules/load/reader.h"
#include "rules/promql/labels.h"
#include "rules/promql/parser.h"

namespace vitald {

namespace {

constexpr std::array<std::string_view, 4> kStates{"OK", "WARN", "CRIT", "UNKNOWN"};
constexpr std::string_view kOps[] = {"==", "!=", ">", ">=", "<", "<="};
constexpr std::string_view kScopes[] = {"node", "chassis", "rack"};

std::optional<CheckState> state_named(std::string_view text) {
  const auto at = std::ranges::find(kStates, text);
  if (at == kStates.end()) return {};
  return static_cast<CheckState>(at - kStates.begin());
}

// Inside a regular expression that stands in the quotes of an expression.
std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (std::string_view("\\.+*?()|[]{}^$").find(c) != std::string_view::npos) out += "\\\\";
    else if (c == '"') out += '\\';
    out += c;
  }
  return out;
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

class Loader : public RuleReader {
 public:
  Loader(const std::string& file, std::string_view instance, CheckLibrary& into, const promql::Language& language)
      : RuleReader(file), instance_(instance), into_(into), language_(language) {}

  void run(const YAML::Node& root) {
    if (!root || root.IsNull()) return;
    if (!map(root, "the file", {}, "checks: [...], kinds: {...} or metrics: [...]")) return;
    for (const auto& n : list(root, "checks")) read_check(n, "");
    if (const YAML::Node kinds = root["kinds"];
        kinds && !kinds.IsNull() && map(kinds, "kinds", {}, "a map of kinds to checks"))
      for (const auto& kind : kinds)
        if (kind.first.IsScalar() && kind.second.IsSequence())
          for (const auto& n : items(kind.second)) read_check(n, kind.first.Scalar());
    for (const auto& n : list(root, "metrics")) read_metric(n);
    if (!root["metrics"] && !root["checks"] && root["id"] && root["metric"]) read_metric(root);
  }

 private:
  void read_check(const YAML::Node& n, const std::string& kind) {
    const auto before = problem_count();
    if (!map(n, "check", {}, "{id: ..., name: ..., scope: node, expr: ..., rules: [...]}")) return;
    Check c;
    c.file = name();
    c.id = text(n, "id", Need::text);
    c.name = text(n, "name", Need::text);
    c.kind = text(n, "kind");
    if (c.kind.empty()) c.kind = kind;
    c.scope = text(n, "scope", Need::text);
    if (!c.scope.empty() && std::ranges::find(kScopes, c.scope) == std::end(kScopes))
      say(n["scope"], fmt::format("scope: '{}', expected one of {}", c.scope, fmt::join(kScopes, ", ")));
    const auto output = text(n, "output");
    if (!output.empty() && output != "bool" && output != "numeric")
      say(n["output"], fmt::format("output: '{}', expected bool or numeric", output));
    c.numeric = output == "numeric";
    c.identity = c.scope == "node" ? "instance" : c.scope + "_id";
    if (const auto selectors = list(n, "selectors"); !selectors.empty() && selectors[0].IsScalar())
      c.identity = selectors[0].Scalar();
    const char* const key = n["for"] ? "for" : "for_duration";
    c.for_ms = duration(n, key);
    for (const auto& r : list(n, "rules")) read_rule(r, c);
    read_expansion(n, c);
    c.text = with_names(text(n, "expr", Need::text));
    if (!c.text.empty()) c.expr = expression(n["expr"], "expr", c.text);
    if (problem_count() != before) return;
    if (std::ranges::find(into_.checks, c.id, &Check::id) != into_.checks.end())
      return say(n["id"],
                 fmt::format("the check '{}' is there already, expected an id of its own; it is left out", c.id));
    into_.checks.push_back(std::move(c));
  }

  void read_rule(const YAML::Node& n, Check& check) {
    if (!map(n, "rule", {}, "{op: \">\", value: ..., severity: WARN}")) return;
    CheckRule r;
    r.op = text(n, "op", Need::text);
    if (!r.op.empty() && std::ranges::find(kOps, r.op) == std::end(kOps))
      say(n["op"], fmt::format("op: '{}', expected one of {}", r.op, fmt::join(kOps, " ")));
    const auto severity = text(n, "severity", Need::text);
    const auto state = state_named(severity);
    if (!severity.empty() && !state)
      say(n["severity"], fmt::format("severity: '{}', expected one of {}", severity, fmt::join(kStates, ", ")));
    r.severity = state.value_or(CheckState::unknown);
    const auto number = text(n, "value", Need::text);
    const auto value = parse_double(number);
    if (!number.empty() && !value)
      say(n["value"], fmt::format("value: '{}' is not a number, so that it never matches", number));
    r.value = value.value_or(0);
    check.rules.push_back(std::move(r));
  }

  void read_expansion(const YAML::Node& n, Check& c) {
    c.expand_by_label = text(n, "expand_by_label");
    if (const auto t = with_names(text(n, "expand_discovery_expr")); !t.empty())
      c.discovery = expression(n["expand_discovery_expr"], "expand_discovery_expr", t);
    if (const auto t = text(n, "expand_absent_state"); !t.empty()) {
      const auto state = state_named(t);
      if (!state)
        say(n["expand_absent_state"],
            fmt::format("expand_absent_state: '{}', expected one of {}", t, fmt::join(kStates, ", ")));
      c.absent_state = state.value_or(CheckState::unknown);
    }
    if (const auto t = text(n, "expand_crit_threshold"); !t.empty()) {
      const auto count = parse_u64(t);
      if (!count) say(n["expand_crit_threshold"], fmt::format("expand_crit_threshold: '{}' is not a whole number", t));
      c.crit_threshold = count.value_or(0);
    }
  }

  void read_metric(const YAML::Node& n) {
    const auto before = problem_count();
    if (!map(n, "metric", {}, "{id: ..., name: ..., metric: ..., display: {unit: ...}}")) return;
    ShownMetric m;
    m.id = text(n, "id", Need::text);
    m.name = text(n, "name", Need::text);
    m.description = text(n, "description");
    m.category = text(n, "category");
    m.expr = with_names(text(n, "metric", Need::text));
    if (!m.expr.empty()) expression(n["metric"], "metric", m.expr);
    if (const YAML::Node d = n["display"]; !d || !d.IsMap()) {
      say(d ? d : n, "no display, expected {unit: ...}");
    } else {
      m.unit = text(d, "unit", Need::text);
      m.chart_type = text(d, "chart_type");
      m.color = text(d, "color");
      m.aggregation = text(d, "aggregation");
      if (const YAML::Node t = d["thresholds"]; t && t.IsMap()) {
        m.warn = parse_double(text(t, "warn"));
        m.crit = parse_double(text(t, "crit"));
      }
    }
    if (m.chart_type.empty()) m.chart_type = "line";
    if (m.aggregation.empty()) m.aggregation = "avg";
    for (const auto& tag : list(n, "tags"))
      if (tag.IsScalar()) m.tags.push_back(tag.Scalar());
    if (problem_count() != before) return;
    if (std::ranges::find(into_.metrics, m.id, &ShownMetric::id) != into_.metrics.end())
      return say(n["id"], fmt::format("the metric '{}' is there already; it is left out", m.id));
    into_.metrics.push_back(std::move(m));
  }

  // This host alone is asked; what rack it stands in and whose jobs there are is not known here, so all fit.
  [[nodiscard]] std::string with_names(std::string text) const {
    replace_all(text, "$instances", "^(?:" + escaped(instance_) + ")$");
    for (const std::string_view other : {"$racks", "$chassis", "$jobs", "$rack_id", "{rack_id}"})
      replace_all(text, other, ".*");
    for (const std::string_view own : {"$instance", "{instance}"}) replace_all(text, own, instance_);
    return text;
  }

  promql::ExprPtr expression(const YAML::Node& at, const char* key, const std::string& value) {
    std::vector<promql::Problem> found;
    auto e = promql::compile(value, found, language_);
    for (const auto& p : found) say(at, fmt::format("{}: {}", key, p.what));
    if (e && e->type != promql::ValueType::vector && e->type != promql::ValueType::scalar) {
      say(at, fmt::format("{} gives a {}, expected an instant vector", key, promql::to_string(e->type)));
      return nullptr;
    }
    return e;
  }

  std::string_view instance_;
  CheckLibrary& into_;
  const promql::Language& language_;
};

}  // namespace

std::string_view to_string(CheckState state) { return kStates[static_cast<std::size_t>(state)]; }

bool is_worse(CheckState a, CheckState b) {
  static constexpr int kWeight[] = {0, 2, 3, 1};
  return kWeight[static_cast<std::size_t>(a)] > kWeight[static_cast<std::size_t>(b)];
}

bool CheckRule::matches(double v) const {
  if (op == "==") return v == value;
  if (op == "!=") return v != value;
  if (op == ">") return v > value;
  if (op == ">=") return v >= value;
  return op == "<" ? v < value : v <= value;
}

void load_checks(std::string_view yaml, const std::string& file, std::string_view instance, CheckLibrary& into,
                 std::vector<std::string>& warnings, const promql::Language& language) {
  Loader loader(file, instance, into, language);
  loader.read(std::string(yaml), warnings, [&](const YAML::Node& root) { loader.run(root); });
}

std::vector<std::string> find_check_files(const std::vector<std::string>& patterns,
                                          std::vector<std::string>& problems) {
  namespace fs = std::filesystem;
  std::vector<std::string> out, plain;
  const auto add = [&out](std::vector<std::string> files) {
    std::ranges::sort(files);
    for (auto& f : files)
      if (std::ranges::find(out, f) == out.end()) out.push_back(std::move(f));
  };
  for (const auto& pattern : patterns) {
    std::error_code error;
    if (!fs::is_directory(pattern, error)) {
      add(find_rule_files({pattern}, problems));
      continue;
    }
    // Metric libraries may have folders of their own.
    for (const std::string_view ending : {".yaml", ".yml"}) {
      std::vector<std::string> files;
      for (auto at = fs::recursive_directory_iterator(pattern, error);
           !error && at != fs::recursive_directory_iterator(); at.increment(error))
        if (at->is_regular_file(error) && at->path().extension() == ending) files.push_back(at->path().string());
      if (error)
        problems.push_back(fmt::format("{}: {}, expected a folder that can be read", pattern, error.message()));
      add(std::move(files));
    }
  }
  return out;
}

}  // namespace vitald
