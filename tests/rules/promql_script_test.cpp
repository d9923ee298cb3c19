// SPDX-License-Identifier: Apache-2.0
// Prometheus' own test scripts for the query language (../shared/corpus/promql, its README has the syntax), and
// what the scripts' reader itself has to find.
#include "tests/rules/promql_script.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/rules/corpus.h"

namespace vitald::promql {
namespace {

struct File {
  const char* path;
  Dialect dialect;
  int cases;  // all of them pass
};
constexpr File kFiles[] = {
    {"v2.42/aggregators.test", Dialect::v2, 83},    {"v2.42/literals.test", Dialect::v2, 20},
    {"v2.42/operators.test", Dialect::v2, 93},      {"v2.42/selectors.test", Dialect::v2, 31},
    {"current/aggregators.test", Dialect::v3, 160}, {"current/functions_basic.test", Dialect::v3, 267},
    {"current/histograms.test", Dialect::v3, 185},  {"current/limit.test", Dialect::v3, 37},
    {"current/literals.test", Dialect::v3, 25},     {"current/name_label_dropping.test", Dialect::v3, 30},
    {"current/operators.test", Dialect::v3, 214},   {"current/range_queries.test", Dialect::v3, 18},
    {"current/selectors.test", Dialect::v3, 31},
};

class PromqlScript : public testing::TestWithParam<File> {};

TEST_P(PromqlScript, Passes) {
  const auto root = corpus();
  if (root.empty()) GTEST_SKIP() << "no shared/corpus above the source tree; set VITALD_SHARED";
  std::ifstream in(root / "promql" / GetParam().path);
  ASSERT_TRUE(in) << GetParam().path;
  std::stringstream text;
  text << in.rdbuf();
  Script script(GetParam().dialect, text.str());
  script.run();
  for (const auto& f : script.failures) std::cout << "  " << f << "\n";
  EXPECT_EQ(script.total, GetParam().cases);
  EXPECT_EQ(script.passed, script.total);
}

INSTANTIATE_TEST_SUITE_P(Corpus, PromqlScript, testing::ValuesIn(kFiles), [](const auto& row) {
  std::string name = row.param.path;
  for (auto& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

// Scripts of a folder of one's own, as those of a Prometheus checkout: VITALD_PROMQL_SCRIPTS names it, and
// VITALD_PROMQL_DIALECT=2 says that they are of a Prometheus 2.
TEST(PromqlScripts, OfAFolder) {
  const char* folder = std::getenv("VITALD_PROMQL_SCRIPTS");
  if (!folder) GTEST_SKIP() << "VITALD_PROMQL_SCRIPTS names no folder";
  const char* dialect = std::getenv("VITALD_PROMQL_DIALECT");
  int passed = 0, total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".test") continue;
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    Script script(dialect && *dialect == '2' ? Dialect::v2 : Dialect::v3, text.str());
    script.run();
    passed += script.passed;
    total += script.total;
    std::cout << entry.path().filename().string() << ": " << script.passed << " of " << script.total << "\n";
    for (const auto& f : script.failures) std::cout << "  " << f << "\n";
  }
  EXPECT_EQ(passed, total);
}

// A script that does not pass: the reader finds what is wrong.
TEST(PromqlScripts, FindsWhatIsWrong) {
  struct Row {
    const char *name, *script, *found;
  };
  const Row rows[] = {
      {"right", "load 1m\n x 1\neval instant at 0 x\n x 1\n", ""},
      {"another value", "load 1m\n x 1\neval instant at 0 x\n x 2\n", "x is 1, expected 2"},
      {"missing", "load 1m\n x 1\neval instant at 0 x\n x 1\n y 1\n", "missing y"},
      {"too much", "load 1m\n x 1\neval instant at 0 x\n", "unexpected x"},
      {"a histogram for a number", "load 1m\n x {{count:1}}\neval instant at 0 x\n x 1\n",
       "x is {{count:1}}, expected 1"},
      {"another histogram", "load 1m\n x {{count:1}}\neval instant at 0 x\n x {{count:2}}\n",
       "x is {{count:1}}, expected {{count:2}}"},
      {"another hint", "load 1m\n x {{count:1}}\neval instant at 0 x\n x {{count:1 counter_reset_hint:gauge}}\n",
       "x is {{count:1}}, expected {{count:1 counter_reset_hint:gauge}}"},
      {"no warning", "load 1m\n x 1\neval instant at 0 x\n expect warn\n x 1\n", "warning missing: "},
      {"a warning", "load 1m\n x 1\neval instant at 0 quantile(2, x)\n expect no_warn\n {} +Inf\n",
       "unexpected warning: PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"},
      {"no error", "eval instant at 0 1\n expect fail\n", "expected an error"},
      {"factors that are none", "load 1m\n x 1 2 3\neval instant at 2m double_exponential_smoothing(x[5m], 1.5, 0.5)\n",
       "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.500000"},
      {"the second", "load 1m\n x 1 2 3\neval instant at 2m double_exponential_smoothing(x[5m], 0.5, 0)\n",
       "invalid trend factor. Expected: 0 < tf < 1, got: 0.000000"},
      {"factors of nothing", "load 1m\n x 1 _ _\neval instant at 60m double_exponential_smoothing(x[5m], 2, 0.5)\n",
       ""},
      {"no labels to match", "load 1m\n x 4\neval instant at 0 x > on() 3\n x 4\n", ""},
      {"a value's label that goes",
       "load 1m\n x{a=\"1\",b=\"2\"} 5\n x{a=\"3\",b=\"2\"} 6\n"
       "eval instant at 0 count_values without (a) (\"a\", x)\n {b=\"2\"} 2\n",
       ""},
      {"an error", "eval instant at 0 nothing(1)\n", "unknown function 'nothing'"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Script script(Dialect::v3, row.script);
    script.run();
    EXPECT_EQ(script.total, 1);
    ASSERT_EQ(script.failures.size(), *row.found ? 1u : 0u) << script.failures[0];
    if (*row.found) {
      EXPECT_NE(script.failures[0].find(row.found), std::string::npos) << script.failures[0];
    }
  }
}

}  // namespace
}  // namespace vitald::promql
