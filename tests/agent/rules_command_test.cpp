// SPDX-License-Identifier: Apache-2.0
// `vitald rules check` and `vitald rules test` as one calls them: words and exit statuses.
#include "agent/rules_command.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vitald {
namespace {

TEST(RulesCommand, WordsAndStatuses) {
  const auto folder = fmt::format("{}/rules-command-{}", testing::TempDir(), getpid());
  std::filesystem::create_directories(folder);
  const auto file = [&](const char* name, const char* text) { std::ofstream(folder + "/" + name) << text; };
  file("good.yaml", "groups: [{name: a, rules: [{record: x, expr: sum(up)}, {alert: A, expr: up == 0}]}]\n");
  file("twice.yaml", "groups: [{name: a, rules: [{record: x, expr: sum(up)}, {record: x, expr: '1'}]}]\n");
  file("bad.yaml", "groups: [{name: a, rules: [{record: x, expr: sum(up}]}]\n");
  file("new.yaml", "groups: [{name: a, rules: [{record: x, expr: info(up)}]}]\n");
  file("template.yaml", "groups: [{name: a, rules: [{alert: x, expr: up, annotations: {a: '{{ nothing }}'}}]}]\n");
  file("pass.yaml", "rule_files: [good.yaml]\ntests: [{promql_expr_test: [{expr: x, eval_time: 1m}]}]\n");
  file("fail.yaml", "tests: [{promql_expr_test: [{expr: '1', eval_time: 1m}]}]\n");
  // Of range ends: 2 takes both.
  file("ends.yaml",
       "tests: [{input_series: [{series: x, values: '1x9'}], promql_expr_test: [{expr: 'count_over_time(x[2m])', "
       "eval_time: 5m, exp_samples: [{labels: '{}', value: 3}]}]}]\n");
  struct Row {
    std::vector<std::string> arguments;
    int status;
    std::string out, err;  // @: the folder
  };
  const Row rows[] = {
      {{"check", "@/good.yaml"}, 0, "Checking @/good.yaml\n  SUCCESS: 2 rules found\n\n", ""},
      {{"check", "@/twice.yaml"},
       0,
       "Checking @/twice.yaml\n  SUCCESS: 2 rules found\n  WARNING: 2 rules are called x; expected one, or labels that "
       "tell them apart\n\n",
       ""},
      {{"check", "@/bad.yaml", "@/good.yaml"},
       1,
       "Checking @/bad.yaml\n\nChecking @/good.yaml\n  SUCCESS: 2 rules found\n\n",
       "  FAILED:\n@/bad.yaml:1:52: expr: the expression ends; expected an operator, ',' or ')'\n"},
      {{"check", "@/template.yaml"}, 1, "Checking @/template.yaml\n\n", "*function"},
      {{"check", "@/new.yaml"},
       1,
       "Checking @/new.yaml\n\n",
       "  FAILED:\n@/new.yaml:1:46: expr: info() is experimental; expected --rules.promql.experimental to use it\n"},
      {{"check", "--rules.promql.experimental", "@/new.yaml"},
       0,
       "Checking @/new.yaml\n  SUCCESS: 1 rules found\n\n",
       ""},
      {{"check", "@/none.yaml"}, 1, "", "*none.yaml: no such file"},
      {{"test", "@/pass.yaml"}, 0, "Unit Testing:  @/pass.yaml\n  SUCCESS\n\n", ""},
      {{"test", "@/pass.yaml", "@/fail.yaml"},
       1,
       "Unit Testing:  @/pass.yaml\n  SUCCESS\n\nUnit Testing:  @/fail.yaml\n\n",
       "  FAILED:\n    expr: \"1\", time: 1m,\n        exp: nil\n        got: {} 1E+00\n"},
      {{"test", "@/none.yaml"}, 1, "Unit Testing:  @/none.yaml\n\n", "*none.yaml"},
      {{"test", "@/ends.yaml"}, 1, "Unit Testing:  @/ends.yaml\n\n", "*got: {} 2E+00"},
      {{"test", "@/ends.yaml", "--rules.promql.dialect=2"}, 0, "Unit Testing:  @/ends.yaml\n  SUCCESS\n\n", ""},
      {{}, 1, "", "*rules: expected check or test after it"},
      {{"chek", "x"}, 1, "", "*rules chek: expected check or test"},
      {{"check"}, 1, "", "*rules check: of which files?"},
  };
  const auto named = [&](std::string text, std::string_view from, std::string_view to) {
    for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
    return text;
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.arguments.empty() ? "" : row.arguments[0] + " " + row.arguments.back());
    std::vector<std::string> arguments{"rules"}, problems, warnings;
    for (const auto& a : row.arguments) arguments.push_back(named(a, "@", folder));
    const auto config = load_config(arguments, problems, warnings);
    EXPECT_TRUE(problems.empty());
    std::ostringstream out, err;
    EXPECT_EQ(run_rules(config, out, err), row.status);
    EXPECT_EQ(named(out.str(), folder, "@"), row.out);
    if (row.err.starts_with('*')) {
      EXPECT_NE(err.str().find(row.err.substr(1)), std::string::npos) << err.str();
    } else {
      EXPECT_EQ(named(err.str(), folder, "@"), row.err);
    }
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace vitald
