// SPDX-License-Identifier: Apache-2.0
// Prometheus' own test scripts for the query language (../shared/corpus/promql, its README has the syntax).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "core/text/scan.h"
#include "rules/promql/eval.h"
#include "rules/promql/parser.h"
#include "tests/rules/corpus.h"

namespace vitald::promql {
namespace {

std::int64_t duration(std::string_view text) {
  if (const auto s = parse_double(text)) return static_cast<std::int64_t>(*s * 1000);
  return parse_duration_ms(text);
}

bool same(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (a == b) return true;
  const double d = std::abs(a - b);
  return d < 1e-6 * std::max(std::abs(a), std::abs(b)) || d < 1e-300;
}

struct Case {
  int line = 0;
  bool fails = false, ordered = false, range = false, unsupported = false;
  std::int64_t from = 0, to = 0, step = 1;
  std::string expr;
  std::vector<std::string> expected;
  std::optional<std::string> text;
  bool range_vector = false;
};

class Script {
 public:
  Script(Dialect dialect, std::string text) : dialect_(dialect), text_(std::move(text)) {}

  int passed = 0, total = 0;
  std::vector<std::string> failures;

  void run() {
    std::string_view rest = text_;
    std::int64_t load_step = 0;
    std::optional<Case> now;
    const auto flush = [&] {
      if (!now) return;
      ++total;
      const auto why = check(*now);
      if (why.empty()) ++passed;
      else failures.push_back("line " + std::to_string(now->line) + ": " + now->expr + ": " + why);
      now.reset();
    };
    for (int number = 1; !rest.empty(); ++number) {
      auto line = trim(take_line(rest));
      if (line.empty() || line.starts_with('#')) continue;
      auto words = line;
      const auto word = take_word(words);
      if (word == "clear") {
        flush();
        source_.clear();
        holes_ = false;
      } else if (word == "load" || word == "load_with_nhcb") {
        flush();
        now.reset();
        load_step = duration(trim(words));
        loading_ = true;
      } else if (word.starts_with("eval")) {
        flush();
        loading_ = false;
        now.emplace();
        now->line = number;
        now->fails = word == "eval_fail";
        now->ordered = word == "eval_ordered";
        now->range = take_word(words) == "range";
        take_word(words);  // at, from
        now->from = now->to = duration(take_word(words));
        if (now->range) {
          take_word(words);  // to
          now->to = duration(take_word(words));
          take_word(words);  // step
          now->step = duration(take_word(words));
        }
        now->expr = trim(words);
      } else if (loading_) {
        if (!source_.load(line, load_step)) holes_ = true;
      } else if (now) {
        expectation(*now, line);
      }
    }
    flush();
  }

 private:
  void expectation(Case& c, std::string_view line) {
    auto rest = line;
    if (take_word(rest) != "expect") return c.expected.emplace_back(line), void();
    const auto what = take_word(rest);
    if (what == "fail") c.fails = true;
    if (what == "ordered") c.ordered = true;
    if (what == "range") {  // vector from 0 to 10m step 1m
      take_word(rest), take_word(rest);
      c.from = duration(take_word(rest));
      take_word(rest);
      take_word(rest);
      take_word(rest);
      c.step = duration(take_word(rest));
      c.range_vector = true;
    }
    if (what == "string") {
      std::vector<Problem> problems;
      const auto tokens = lex(trim(rest), problems);
      c.text = tokens.front().value;
    }
  }

  // What went wrong; empty: nothing.
  std::string check(const Case& c) {
    std::vector<Problem> problems;
    const auto e = compile(c.expr, problems);
    if (!e)
      return c.fails && problems.size() == 1 && problems[0].what.find("unknown function") == std::string::npos
                 ? std::string()
             : problems.empty() ? "?"
                                : problems[0].what;
    Evaluator evaluator(*e, source_, {.dialect = dialect_});
    std::map<std::string, std::map<std::int64_t, double>> got;
    std::vector<std::string> order;
    const auto eval_at = c.range_vector ? c.to : c.from;  // `from` is then where the expected points start
    for (auto t = eval_at; t <= (c.range_vector ? eval_at : c.to); t += c.step) {
      const auto v = evaluator.eval(t, eval_at, c.to);
      if (!v) return c.fails ? std::string() : v.error().text;
      switch (v->type) {
        case ValueType::scalar: got["scalar"][t] = v->scalar; break;
        case ValueType::string: return v->text == c.text.value_or("") ? "" : "string is " + v->text;
        case ValueType::vector:
          for (const auto& s : v->vector->samples) {
            const auto name = v->vector->labels(s).text();
            if (!got[name].emplace(t, s.value).second) return "twice: " + name;
            order.push_back(name);
          }
          break;
        case ValueType::matrix:
          for (const auto& [labels, points] : v->matrix)
            for (const auto& p : points) got[labels.text()][p.t_ms] = p.value;
          break;
        case ValueType::none: return "no type";
      }
    }
    if (c.fails) return "expected an error";
    if (holes_ && c.expected.empty() && got.empty()) return {};

    std::map<std::string, std::map<std::int64_t, double>> want;
    std::vector<std::string> want_order;
    for (const auto& line : c.expected) {
      if (const auto v = parse_double(line); v && !line.starts_with("Inf{")) {
        want["scalar"][c.from] = *v;
        continue;
      }
      const auto s = split_series(line);
      auto points = s ? parse_points(s->second) : std::nullopt;
      if (!points) {
        if (const auto scalars = parse_points(line)) {
          for (std::size_t i = 0; i < scalars->size(); ++i)
            if ((*scalars)[i]) want["scalar"][c.from + static_cast<std::int64_t>(i) * c.step] = *(*scalars)[i];
          continue;
        }
        return "native histogram expected: " + line;
      }
      const auto name = s->first.text();
      want_order.push_back(name);
      for (std::size_t i = 0; i < points->size(); ++i)
        if ((*points)[i]) want[name][c.from + static_cast<std::int64_t>(i) * c.step] = *(*points)[i];
    }
    if (c.ordered && !c.range && order != want_order) return "another order";
    for (const auto& [name, points] : want) {
      const auto at = got.find(name);
      if (at == got.end()) return "missing " + name;
      for (const auto& [t, v] : points) {
        const auto p = at->second.find(t);
        if (p == at->second.end()) return "missing " + name + " at " + std::to_string(t);
        if (!same(p->second, v)) return name + " is " + number_text(p->second) + ", expected " + number_text(v);
      }
      if (points.size() != at->second.size()) return "more points than expected of " + name;
    }
    for (const auto& [name, points] : got)
      if (!want.contains(name)) return "unexpected " + name;
    return {};
  }

  Dialect dialect_;
  std::string text_;
  MemorySource source_;
  bool loading_ = false, holes_ = false;
};

struct File {
  const char* path;
  Dialect dialect;
  int passing;  // raise it when more pass; all of them in v2.42
};
constexpr File kFiles[] = {
    {"v2.42/aggregators.test", Dialect::v2, 83},
    {"v2.42/literals.test", Dialect::v2, 20},
    {"v2.42/operators.test", Dialect::v2, 93},
    {"v2.42/selectors.test", Dialect::v2, 31},
    // Not covered there: native histograms, limitk and limit_ratio, delayed name removal, annotations.
    {"current/aggregators.test", Dialect::v3, 152},
    {"current/functions_basic.test", Dialect::v3, 226},
    {"current/histograms.test", Dialect::v3, 53},
    {"current/literals.test", Dialect::v3, 25},
    {"current/name_label_dropping.test", Dialect::v3, 22},
    {"current/operators.test", Dialect::v3, 207},
    {"current/range_queries.test", Dialect::v3, 17},
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
  std::cout << GetParam().path << ": " << script.passed << " of " << script.total << " cases pass\n";
  const bool show = std::getenv("VITALD_SHOW_FAILURES") != nullptr;
  if (show || script.passed < GetParam().passing)
    for (const auto& f : script.failures) std::cout << "  " << f << "\n";
  EXPECT_GE(script.passed, GetParam().passing);
}

INSTANTIATE_TEST_SUITE_P(Corpus, PromqlScript, testing::ValuesIn(kFiles), [](const auto& row) {
  std::string name = row.param.path;
  for (auto& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
}  // namespace vitald::promql
