// SPDX-License-Identifier: Apache-2.0
// Our results against those of Prometheus itself: a unit test file for promtool with our numbers as the expected ones.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "rules/promql/eval.h"
#include "rules/promql/parser.h"
#include "tests/rules/memory_source.h"

namespace vitald::promql {
namespace {

constexpr const char* kSeries[] = {
    R"(cpu{cpu="0",mode="idle"} 0+10x40)",
    R"(cpu{cpu="0",mode="user"} 0+2x20 5+4x19)",
    R"(cpu{cpu="1",mode="idle"} 7+8x40)",
    R"(cpu{cpu="1",mode="user"} _x10 1+1x29)",
    R"(avail{fs="/",dev="a"} 1000-16x40)",
    R"(avail{fs="/data",dev="b"} 512x40)",
    R"(size{fs="/",dev="a"} 2048x40)",
    R"(size{fs="/data",dev="b"} 1024x40)",
    R"(ro{fs="/",dev="a",extra="x"} 0x40)",
    R"(ro{fs="/data",dev="b",extra="y"} 1x40)",
    R"(info{dev="a",model="disk one"} 1x40)",
    R"(info{dev="b",model="disk two"} 1x40)",
    R"(gone{a="b"} 1+1x20 stale _x18)",
    R"(lat_bucket{le="0.25"} 0+4x40)",
    R"(lat_bucket{le="0.5"} 0+6x40)",
    R"(lat_bucket{le="1"} 0+8x40)",
    R"(lat_bucket{le="+Inf"} 0+8x40)",
    R"(wave{x="1"} 1 5 2 8 3 9 1 4 7 2 6 1 5 2 8 3 9 1 4 7 2 6 1 5 2 8 3 9 1 4 7 2 6 1 5 2 8 3 9 1 4)",
};

// Sums are of numbers that add up exactly: promtool meets its series in any order.
constexpr const char* kExpressions[] = {
    "cpu",
    "cpu offset 7m",
    "cpu{mode=~\"i.*|x\"}",
    "cpu{cpu!=\"0\",mode!~\"us.r\"}",
    "rate(cpu[5m])",
    "rate(cpu[4m30s])",
    "increase(cpu[16m])",
    "irate(cpu[5m])",
    "delta(avail[8m])",
    "idelta(avail[8m])",
    "deriv(avail[8m])",
    "predict_linear(avail[8m], 600)",
    "changes(wave[20m])",
    "resets(wave[20m])",
    "resets(cpu[40m])",
    "avg_over_time(avail[8m])",
    "sum_over_time(wave[16m])",
    "min_over_time(wave[10m])",
    "max_over_time(wave[10m])",
    "count_over_time(cpu[12m])",
    "last_over_time(cpu[12m])",
    "present_over_time(cpu[12m])",
    "quantile_over_time(0.5, wave[10m])",
    "stdvar_over_time(avail[2m])",
    "sum_over_time(gone[40m])",
    "gone",
    "absent(gone)",
    "absent(nothing{a=\"b\",c=~\"d\"})",
    "absent_over_time(nothing{a=\"b\"}[5m])",
    "absent_over_time(gone[5m])",
    "sum(cpu)",
    "sum by (mode) (cpu)",
    "sum without (cpu) (cpu)",
    "max by (cpu) (rate(cpu[4m]))",
    "min(cpu)",
    "max by (nothing) (cpu)",
    "count by (mode) (cpu > 100)",
    "group(cpu)",
    "stdvar(size)",
    "topk(2, cpu)",
    "bottomk(1, cpu) by (mode)",
    "quantile(0.5, cpu)",
    "count_values(\"v\", size)",
    "count_values(\"v\", vector(1e23))",
    "count_values(\"v\", vector(-1e300))",
    "count_values(\"v\", vector(1.5e-300))",
    "count_values(\"v\", vector(123456789012345678))",
    "count_values(\"v\", vector(1234567890123456.5))",
    "count_values(\"v\", vector(1e15))",
    "stddev(vector(Inf))",
    "stdvar(vector(NaN))",
    "stdvar(vector(-Inf))",
    "clamp_min(vector(NaN), Inf)",
    "clamp_min(vector(Inf), NaN)",
    "clamp_max(vector(NaN), -Inf)",
    "clamp(vector(-Inf), -1, NaN)",
    "017 + vector(08) + 0x10 + 00",
    "vector(017.5) + 0777777777777777777777777",
    "avail / size",
    "avail / size < 0.5",
    "avail / on (fs, dev) size",
    "avail / ignoring (extra) ro",
    "ro == bool 1",
    "1 < bool ro",
    "avail > 500 and on (dev) ro == 0",
    "avail unless on (dev) ro == 1",
    "avail or cpu",
    "avail * on (dev) group_left (model) info",
    "info * on (dev) group_right () avail",
    "sum by (dev) (avail) / on (dev) sum by (dev) (size) * 4",
    "-avail",
    "2 ^ 3 ^ 0 - -1 % 3",
    "avail % 7",
    "avail atan2 size",
    "abs(-avail)",
    "ceil(avail / 100)",
    "floor(avail / 100)",
    "round(avail / 100, 0.5)",
    "clamp(wave, 2, 3)",
    "clamp_min(wave, 5)",
    "clamp_max(wave, 3)",
    "sgn(avail - 700)",
    "sqrt(size / 8)",
    "log2(size)",
    "exp(ro)",
    "scalar(sum(cpu)) + 1",
    "vector(time())",
    "timestamp(avail)",
    "hour(vector(1136239445))",
    "day_of_week(vector(1136239445))",
    "days_in_month(vector(1136239445))",
    "day_of_year(vector(1136239445))",
    "year(vector(1136239445)) + month(vector(1136239445))",
    "label_replace(avail, \"disk\", \"d-$1\", \"fs\", \"/(.*)\")",
    "label_join(avail, \"both\", \"+\", \"dev\", \"fs\")",
    "histogram_quantile(0.5, lat_bucket)",
    "histogram_quantile(0.75, rate(lat_bucket[8m]))",
    "max_over_time(rate(cpu[4m])[8m:2m])",
    "sum_over_time(avail[10m:])",
    "avg_over_time(avail[8m:2m] offset 4m)",
    "avail @ 600",
    "sum(avail) > 10 and on () vector(1)",
    "sort_desc(sum by (mode) (cpu))",
};

std::string sample_text(const Labels& l, double v) {
  std::string labels;
  for (const Label x : l)
    if (x.name != kMetricName) labels += fmt::format("{}{}={}", labels.empty() ? "" : ",", x.name, quoted(x.value));
  std::string quoted_labels;
  for (const char c : fmt::format("{}{{{}}}", l.name(), labels)) quoted_labels += c == '\'' ? "''" : std::string(1, c);
  const auto value = std::isinf(v) ? (v > 0 ? ".inf" : "-.inf") : number_text(v);  // YAML's way
  return fmt::format("      - {{labels: '{}', value: {}}}\n", quoted_labels, value);
}

TEST(Promtool, AgreesWithOurResults) {
  if (access("/usr/bin/promtool", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/promtool (Debian package prometheus)";
  MemorySource source;
  std::string yaml = "evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n";
  for (const char* line : kSeries) {
    ASSERT_TRUE(source.load(line, 60'000)) << line;
    const auto s = *split_series(line);
    yaml += fmt::format("  - {{series: '{}', values: '{}'}}\n",
                        std::string_view(line).substr(0, static_cast<std::size_t>(s.second.data() - line)), s.second);
  }
  yaml += "  promql_expr_test:\n";
  for (const char* text : kExpressions) {
    std::vector<Problem> problems;
    const auto e = compile(text, problems);
    ASSERT_TRUE(e) << text << ": " << problems[0].what;
    EvalOptions options;
    options.dialect = Dialect::v2;
    Evaluator evaluator(*e, source, options);
    for (const int minute : {4, 20, 33}) {
      const auto v = evaluator.eval(minute * 60'000);
      ASSERT_TRUE(v) << text << ": " << v.error().text;
      std::string escaped;
      for (const char c : std::string_view(text)) escaped += c == '\'' ? "''" : std::string(1, c);
      yaml += fmt::format("  - expr: '{}'\n    eval_time: {}m\n    exp_samples:\n", escaped, minute);
      if (v->type == ValueType::scalar) yaml += sample_text({}, v->scalar);
      else
        for (const auto& s : v->vector->samples) yaml += sample_text(v->vector->labels(s), s.value);
    }
  }
  const auto path = fmt::format("{}/vitald_promtool_{}.yaml", testing::TempDir(), getpid());
  std::ofstream(path) << yaml;
  std::string output;
  FILE* pipe = popen(("/usr/bin/promtool test rules " + path + " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::array<char, 4096> buffer;
  while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
  const int rc = pclose(pipe);
  EXPECT_EQ(rc, 0) << output;
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace vitald::promql
