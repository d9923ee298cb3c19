// SPDX-License-Identifier: Apache-2.0
#include "rules/load/load.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <span>

#include "core/log.h"
#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "rules/load/keys.h"
#include "rules/load/reader.h"
#include "rules/promql/labels.h"
#include "rules/promql/parser.h"

namespace vitald {

namespace {

using promql::Problem;

constexpr auto kTop = names_of(kTopKeys);
constexpr auto kGroup = names_of(kGroupKeys);
constexpr auto kRule = names_of(kRuleKeys);
constexpr auto kThreshold = names_of(kThresholdKeys);
constexpr std::string_view kThresholdGroup = "thresholds";

// A whole number as Go's reader of YAML has it: -1, 0x10, 0o17, 017, 1_000, 1e3, and of 1.5 the 1.
std::optional<std::int64_t> yaml_int(std::string_view text) {
  if (text.starts_with('_')) return {};
  std::string plain(text);
  std::erase(plain, '_');
  std::string_view digits = plain;
  const bool negative = take_prefix(digits, "-");
  if (!negative) take_prefix(digits, "+");
  if (digits.empty() || !(digits[0] == '.' || (digits[0] >= '0' && digits[0] <= '9'))) return {};
  int base = 10;
  auto rest = digits;
  if (take_prefix(rest, "0x") || take_prefix(rest, "0X")) base = 16;
  else if (take_prefix(rest, "0b") || take_prefix(rest, "0B")) base = 2;
  else if (take_prefix(rest, "0o") || take_prefix(rest, "0O") || (rest.size() > 1 && take_prefix(rest, "0"))) base = 8;
  if (const auto n = parse_int<std::uint64_t>(rest, base); n && *n <= INT64_MAX)
    return negative ? -static_cast<std::int64_t>(*n) : static_cast<std::int64_t>(*n);
  const auto n = parse_double(digits);  // 08 is one as well
  if (!n || !(*n < 9.2e18)) return {};
  return static_cast<std::int64_t>(negative ? -*n : *n);
}

class Loader : public RuleReader {
 public:
  Loader(std::string_view yaml, const std::string& file, const promql::Language& language)
      : RuleReader(file), language_(language) {
    while (!yaml.empty()) lines_.push_back(take_line(yaml));
  }

  std::vector<RuleGroup> run(const YAML::Node& root) {
    std::vector<RuleGroup> groups;
    if (!root || root.IsNull()) return groups;
    if (!map(root, "the file", kTop, "groups: [...]")) return groups;
    std::set<std::string> names;
    for (const auto& g : list(root, "groups")) {
      auto group = read_group(g);
      if (!group.name.empty() && !names.insert(group.name).second)
        say(g["name"], fmt::format("group '{}' is there twice, expected one name per group", group.name));
      groups.push_back(std::move(group));
    }
    RuleGroup thresholds;
    thresholds.name = kThresholdGroup;
    thresholds.file = name();
    for (const auto& t : list(root, "thresholds")) read_threshold(t, thresholds);
    if (!thresholds.rules.empty()) groups.push_back(std::move(thresholds));
    return groups;
  }

  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  [[nodiscard]] std::string given_twice(const std::string&, const std::string& key, int) const override {
    return fmt::format("'{}' is there twice, expected once", key);
  }

  // Where a byte of the text of a scalar lies in the file, as far as it can be known: not inside folded
  // blocks and behind escapes, where the start of the scalar stands in.
  std::pair<int, int> place(const YAML::Node& n, std::size_t offset) const {
    const auto m = n.Mark();
    const std::pair start{m.line + 1, m.column + 1};
    if (m.is_null() || static_cast<std::size_t>(m.line) >= lines_.size()) return start;
    const auto line = lines_[static_cast<std::size_t>(m.line)];
    const auto column = static_cast<std::size_t>(m.column);
    const char c = column < line.size() ? line[column] : '\0';
    const auto& value = n.Scalar();
    if (c == '|') {
      // The block begins on the next line that is not empty; its indentation is gone from the value.
      auto first = static_cast<std::size_t>(m.line) + 1;
      while (first < lines_.size() && trim(lines_[first]).empty()) ++first;
      if (first >= lines_.size()) return start;
      const auto indent = lines_[first].find_first_not_of(' ');
      const auto before = std::string_view(value).substr(0, offset);
      const auto row = static_cast<std::size_t>(std::ranges::count(before, '\n'));
      const auto in_line = row == 0 ? offset : offset - before.rfind('\n') - 1;
      return {static_cast<int>(first + row) + 1, static_cast<int>(indent + in_line) + 1};
    }
    const std::size_t quote = c == '"' || c == '\'' ? 1 : 0;
    const auto at = column + quote;
    if (at <= line.size() && line.substr(at, offset) == std::string_view(value).substr(0, offset))
      return {m.line + 1, static_cast<int>(at + offset) + 1};
    return start;
  }

  promql::ExprPtr expression(const YAML::Node& n, const std::string& value) {
    std::vector<Problem> found;
    auto e = promql::compile(value, found, language_);
    for (const auto& p : found) {
      const auto [line, column] = place(n, p.where.begin);
      say(line, column, fmt::format("expr: {}", p.what));
    }
    if (e && e->type != promql::ValueType::vector && e->type != promql::ValueType::scalar) {
      say(n, fmt::format("expr gives a {}, expected an instant vector or a scalar", promql::to_string(e->type)));
      return nullptr;
    }
    return e;
  }

  void texts(const YAML::Node& parent, const char* key, TemplateMap& out, bool templates) {
    each_text(parent, key, [&](const YAML::Node& at, const std::string& value, const YAML::Node& value_at) {
      const auto& name = at.Scalar();
      if (!promql::valid_label_name(name) || name == promql::kMetricName)
        return say(at, fmt::format("{}: '{}' is not a name, expected letters, digits and _", key, name));
      // As Prometheus has it: a recording rule's are the text.
      if (!templates && value.find("{{") != value.npos)
        warn(value_at, fmt::format("{}: templates are for alerts, here it is the text as it is", key));
      put(out, name, templates ? Template::parse(value) : Template::literal(value), value_at);
    });
  }

  void put(TemplateMap& out, const std::string& name, Template t, const YAML::Node& at) {
    // The rule is judged all the same: its text then says what is wrong.
    if (!t.problem().empty()) warn(at, fmt::format("{}: {}", name, t.problem()));
    const auto where = std::ranges::lower_bound(out, name, {}, &TemplateMap::value_type::first);
    if (where != out.end() && where->first == name) where->second = std::move(t);
    else out.emplace(where, name, std::move(t));
  }

  void warn(const YAML::Node& at, std::string_view what) {
    const auto mark = at.Mark();
    warnings_.push_back(
        fmt::format("{}:{}:{}: {}", name(), mark.line + 1, mark.column + 1, log::one_line(std::string(what))));
  }

  static void note_template_problem(Rule& r) {
    const auto look = [&](const TemplateMap& texts, const char* what) {
      for (const auto& [name, text] : texts)
        if (r.template_problem.empty() && !text.problem().empty())
          r.template_problem = fmt::format("{} {}: {}", what, name, text.problem());
    };
    look(r.labels, "label");
    look(r.annotations, "annotation");
  }

  RuleGroup read_group(const YAML::Node& n) {
    RuleGroup g;
    g.file = name();
    if (!map(n, "group", kGroup, "{name: ..., rules: [...]}")) return g;
    g.name = text(n, "name", Need::text);
    g.interval_ms = duration(n, "interval");
    g.query_offset_ms = duration(n, "query_offset");
    if (const auto t = text(n, "limit"); !t.empty()) {
      const auto limit = yaml_int(t);
      if (!limit) say(n["limit"], fmt::format("limit: '{}' is not a number, expected e.g. 100, or 0 for none", t));
      g.limit = static_cast<std::size_t>(std::max<std::int64_t>(limit.value_or(0), 0));  // below 0: none
    }
    for (const auto& r : list(n, "rules"))
      if (auto rule = read_rule(r, n["labels"] ? n : YAML::Node())) g.rules.push_back(std::move(*rule));
    return g;
  }

  std::optional<Rule> read_rule(const YAML::Node& n, const YAML::Node& group) {
    Rule r;
    if (!map(n, "rule", kRule, "{alert: ..., expr: ...} or {record: ..., expr: ...}")) return {};
    const auto alert = text(n, "alert"), record = text(n, "record");
    r.alert = record.empty();
    r.name = r.alert ? alert : record;
    if (r.name.empty() && !misspelt(n, "alert") && !misspelt(n, "record"))
      say(n, "a rule without a name, expected 'alert' or 'record'");
    if (!alert.empty() && !record.empty()) say(n["record"], "both 'alert' and 'record', expected one of them");
    if (!r.alert) {
      // Any text, as in Prometheus 3; but an expression that came into the wrong line is none.
      if (!promql::valid_quoted_name(r.name))
        say(n["record"], fmt::format("record: '{}' is not a metric name, expected text in UTF-8", r.name));
      else if (r.name.find_first_of("{}") != r.name.npos)
        say(n["record"], fmt::format("record: '{}' has braces, expected a name; labels stand below 'labels'", r.name));
    }
    const auto expr = text(n, "expr", Need::text);
    if (!expr.empty()) r.expr = expression(n["expr"], expr);
    r.for_ms = duration(n, "for");
    r.keep_firing_for_ms = duration(n, "keep_firing_for");
    if (group.IsMap()) texts(group, "labels", r.labels, r.alert);
    texts(n, "labels", r.labels, r.alert);
    if (r.alert) texts(n, "annotations", r.annotations, true);
    if (!r.alert) {  // as Prometheus: one that says nothing does not matter
      const auto refuse = [&](const char* key) {
        say(n[key], fmt::format("'{}' in a recording rule, expected only in alerts", key));
      };
      if (r.for_ms != 0) refuse("for");
      if (r.keep_firing_for_ms != 0) refuse("keep_firing_for");
      if (const YAML::Node a = n["annotations"]; a && !a.IsNull() && (!a.IsMap() || a.size() > 0))
        refuse("annotations");
    }
    note_template_problem(r);
    if (!r.expr) return {};
    return r;
  }

  // match: {device: sda, fstype: "!~tmpfs|ramfs"}
  std::string matchers(const YAML::Node& parent) {
    std::string out;
    const YAML::Node n = parent["match"];
    if (!n || n.IsNull() || !map(n, "match", {}, "a map of labels to values")) return out;
    for (const auto& entry : n) {
      if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
        say(entry.second, fmt::format("match is {}, expected text", kind_of(entry.second)));
        continue;
      }
      std::string_view value = entry.second.Scalar();
      std::string_view op = "=";
      for (const std::string_view o : {"=~", "!~", "!=", "="})
        if (take_prefix(value, o)) {
          op = o;
          break;
        }
      out += fmt::format("{}{}{}{}", out.empty() ? "" : ",", entry.first.Scalar(), op, promql::quoted(value));
    }
    return '{' + out + '}';
  }

  void read_threshold(const YAML::Node& n, RuleGroup& group) {
    const auto before = problem_count();
    if (!map(n, "threshold", kThreshold, "{metric: ..., op: \">\", value: ..., severity: ...}")) return;
    const auto metric = text(n, "metric", Need::text), op = text(n, "op", Need::text),
               value = text(n, "value", Need::text);
    if (!metric.empty() && !promql::valid_metric_name(metric))
      say(n["metric"], fmt::format("metric: '{}' is not a metric name, expected letters, digits, _ and :", metric));
    if (!op.empty() && std::ranges::find(kThresholdOps, op) == std::end(kThresholdOps))
      say(n["op"], fmt::format("op: '{}' is no comparison, expected one of {}", op, fmt::join(kThresholdOps, " ")));
    if (!value.empty() && !parse_double(value))
      say(n["value"], fmt::format("value: '{}' is not a number, expected e.g. 80 or 0.9", value));
    Rule r;
    r.alert = true;
    r.name = text(n, "name");
    if (r.name.empty()) r.name = metric;
    r.for_ms = duration(n, "for");
    r.keep_firing_for_ms = duration(n, "keep_firing_for");
    texts(n, "labels", r.labels, true);
    texts(n, "annotations", r.annotations, true);
    for (const char* key : {"summary", "description"})
      if (const auto t = text(n, key); !t.empty()) put(r.annotations, key, Template::parse(t), n[key]);
    if (const auto severity = text(n, "severity"); !severity.empty())
      put(r.labels, "severity", Template::parse(severity), n["severity"]);
    if (!n["summary"] && std::ranges::none_of(r.annotations, [](const auto& a) { return a.first == "summary"; }))
      put(r.annotations, "summary", Template::parse(fmt::format("{} is {{{{ $value }}}} ({} {})", metric, op, value)),
          n);
    note_template_problem(r);
    const auto match = matchers(n);
    if (problem_count() != before) return;
    std::vector<Problem> found;
    r.expr = promql::compile(fmt::format("{}{} {} {}", metric, match, op, value), found);
    for (const auto& p : found) say(n["match"] ? n["match"] : n, fmt::format("match: {}", p.what));
    if (r.expr) group.rules.push_back(std::move(r));
  }

  const promql::Language& language_;
  std::vector<std::string_view> lines_;
  std::vector<std::string> warnings_;
};

}  // namespace

std::vector<RuleGroup> load_rules(std::string_view yaml, const std::string& file, std::vector<std::string>& problems,
                                  std::vector<std::string>* warnings, const promql::Language& language) {
  std::vector<RuleGroup> groups;
  Loader loader(yaml, file, language);
  loader.read(std::string(yaml), problems, [&](const YAML::Node& root) { groups = loader.run(root); });
  if (warnings) warnings->insert(warnings->end(), loader.warnings().begin(), loader.warnings().end());
  return groups;
}

std::vector<std::string> find_rule_files(const std::vector<std::string>& patterns, std::vector<std::string>& problems) {
  std::set<std::string> files;
  for (const auto& pattern : patterns) {
    const bool is_glob = pattern.find_first_of("*?[") != pattern.npos;
    glob_t found{};
    const int rc = glob(pattern.c_str(), 0, nullptr, &found);
    for (std::size_t i = 0; rc == 0 && i < found.gl_pathc; ++i) files.insert(found.gl_pathv[i]);
    globfree(&found);
    if (rc == 0) continue;
    const auto folder = std::filesystem::path(pattern).parent_path();
    std::error_code ec;
    if (!is_glob)
      problems.push_back(fmt::format("{}: no such file, expected one or a glob like 'rules/*.yaml'", pattern));
    else if (!folder.empty() && folder.string().find_first_of("*?[") == std::string::npos &&
             !std::filesystem::is_directory(folder, ec))
      problems.push_back(fmt::format("{}: no folder '{}', expected one with rule files", pattern, folder.string()));
  }
  return {files.begin(), files.end()};
}

}  // namespace vitald
