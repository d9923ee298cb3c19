// SPDX-License-Identifier: Apache-2.0
#include "agent/rules_command.h"

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "core/os/kernel_file.h"
#include "rules/load/load.h"
#include "rules/promql/labels.h"
#include "rules/unit/unit_test.h"

namespace vitald {

namespace {

constexpr std::size_t kRuleFileBytes = 4 << 20;
constexpr char kUsage[] =
    "usage: vitald rules check FILE...   rule files: is all that is in them understood?\n"
    "       vitald rules test FILE...    unit tests of rules, in promtool's format\n"
    "flags: --rules.promql.dialect=2|3, --rules.promql.experimental, --config.file=FILE\n";

// Rules that make the same series: one of them would win at random.
std::vector<std::string> twice(const std::vector<RuleGroup>& groups) {
  std::map<std::string, int> seen;
  for (const auto& g : groups)
    for (const auto& r : g.rules) {
      std::vector<std::pair<std::string, std::string>> labels;
      for (const auto& [name, text] : r.labels) labels.emplace_back(name, text.text());
      labels.emplace_back(promql::kMetricName, r.name);
      ++seen[promql::Labels(std::move(labels)).text()];
    }
  std::vector<std::string> out;
  for (const auto& [series, times] : seen)
    if (times > 1)
      out.push_back(fmt::format("{} rules are called {}; expected one, or labels that tell them apart", times, series));
  return out;
}

int check(const std::vector<std::string>& patterns, const UnitTestSettings& settings, std::ostream& out,
          std::ostream& err) {
  bool good = true;
  std::vector<std::string> missing;
  const auto files = find_rule_files(patterns, missing);
  for (const auto& m : missing) {
    err << "vitald: error: " << m << '\n';
    good = false;
  }
  if (files.empty() && missing.empty()) {
    err << "vitald: error: no rule file is called so\n";
    good = false;
  }
  for (const auto& file : files) {
    out << "Checking " << file << std::endl;
    std::vector<std::string> problems, templates;
    std::vector<RuleGroup> groups;
    const auto text = read_text_file(file, kRuleFileBytes);
    if (text) groups = load_rules(*text, file, problems, &templates, settings.language);
    else problems.push_back(text.error().text);
    // The agent goes on with a template that it does not understand; whoever checks wants to know.
    problems.insert(problems.end(), templates.begin(), templates.end());
    if (!problems.empty()) {
      good = false;
      err << "  FAILED:\n";
      for (const auto& p : problems) err << p << '\n';
      err.flush();
    } else {
      std::size_t rules = 0;
      for (const auto& g : groups) rules += g.rules.size();
      out << "  SUCCESS: " << rules << " rules found\n";
      for (const auto& w : twice(groups)) out << "  WARNING: " << w << '\n';
    }
    out << std::endl;
  }
  return good ? 0 : 1;
}

int test(const std::vector<std::string>& files, const UnitTestSettings& settings, std::ostream& out,
         std::ostream& err) {
  bool good = true;
  for (const auto& file : files) {
    out << "Unit Testing:  " << file << std::endl;
    const auto report = run_unit_tests(file, settings);
    for (const auto& w : report.warnings) out << "  WARNING: " << w << '\n';
    if (report.passed()) {
      out << "  SUCCESS\n";
    } else {
      good = false;
      out.flush();
      err << "  FAILED:\n";
      for (const auto& p : report.problems) err << p << '\n';
      for (const auto& f : report.failures) err << f << '\n';
      err.flush();
    }
    out << std::endl;
  }
  return good ? 0 : 1;
}

}  // namespace

std::string_view rules_help() { return kUsage; }

int run_rules(const Config& config, std::ostream& out, std::ostream& err) {
  auto operands = config.command_line.operands;
  const auto what = operands.empty() ? std::string() : operands.front();
  if ((what != "check" && what != "test") || operands.size() < 2) {
    err << "vitald: error: "
        << (what.empty()                        ? std::string("rules: expected check or test after it")
            : what == "check" || what == "test" ? fmt::format("rules {}: of which files? expected one or more", what)
                                                : fmt::format("rules {}: expected check or test", what))
        << '\n'
        << kUsage;
    return 1;
  }
  operands.erase(operands.begin());
  UnitTestSettings settings;
  settings.language.experimental = config.options.flag("rules.promql.experimental");
  if (config.options.text("rules.promql.dialect") == "2") settings.dialect = promql::Dialect::v2;
  return what == "check" ? check(operands, settings, out, err) : test(operands, settings, out, err);
}

}  // namespace vitald
