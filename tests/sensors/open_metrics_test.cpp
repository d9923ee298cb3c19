// SPDX-License-Identifier: Apache-2.0
// The strict reader of OpenMetrics: a case per rule, OpenMetrics' own parser suite where it is at hand, and what our
// encoder writes.
#include "sensors/read/open_metrics.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "exporters/encode/prom_text.h"
#include "sensors/read/exposition_plan.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

// As the text format would show it, a family after the other; a histogram without a sum has none.
std::string shown(const Exposition& content) {
  ExpositionPlan plan("Read from ");
  const ExpositionSource source{"x", &content};
  plan.build({&source, 1});
  BatchWriter writer("test");
  writer.begin(1, 0);
  plan.emit(writer);
  Snapshot snapshot{1, 1, 0, {writer.finish({}, 0, 0)}};
  std::string out;
  PromText().encode(snapshot, out);
  for (const auto& conflict : plan.conflicts()) out += conflict.text + "\n";
  return out;
}

// a{l0="",l1="",...} 1
std::string labelled(int labels) {
  std::string line = "a{";
  for (int i = 0; i < labels; ++i) line += fmt::format("l{}=\"\",", i);
  line.back() = '}';
  return line + " 1\n";
}

TEST(OpenMetricsReader, Good) {
  struct Case {
    const char* name;
    std::string text, want;
  };
  const Case cases[] = {
      {"nothing", "# EOF\n", ""},
      {"no newline at the end", "a 1\n# EOF", "# HELP a Read from x\n# TYPE a untyped\na 1\n"},
      {"a counter has its suffix, and a time of its own",
       "# TYPE a counter\n# HELP a Much \\\"of it\\\" \\x.\na_total{b=\"c\\\"\\\\d\\n\"} 7 # {t=\"1\"} "
       "0.5\na_created{b=\"c\\\"\\\\d\\n\"} "
       "5\n# EOF\n",
       "# HELP a_total Much \"of it\" \\\\x.\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\d\\n\"} 7\n"},
      {"a unit", "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds H.\na_seconds 1.5\n# EOF\n",
       "# HELP a_seconds H.\n# TYPE a_seconds gauge\na_seconds 1.5\n"},
      {"info and stateset are gauges",
       "# TYPE v info\n# HELP v H.\nv_info{version=\"1\"} 1\n# TYPE s stateset\n# HELP s S.\ns{s=\"on\"} "
       "1\ns{s=\"off\"} 0\n# EOF\n",
       "# HELP s S.\n# TYPE s gauge\ns{s=\"off\"} 0\ns{s=\"on\"} 1\n# HELP v_info H.\n# TYPE v_info "
       "gauge\nv_info{version=\"1\"} 1\n"},
      {"unknown is untyped", "# TYPE a unknown\n# HELP a H.\na NaN\n# EOF\n", "# HELP a H.\n# TYPE a untyped\na NaN\n"},
      {"a histogram without a sum has none",
       "# TYPE h histogram\n# HELP h H.\nh_bucket{le=\"-1.0\"} 1\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 3\n# "
       "EOF\n",
       "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"-1\"} 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_count "
       "3\n"},
      {"two histograms",
       "# TYPE h histogram\n# HELP h H.\nh_bucket{d=\"a\",le=\"0.5\"} 1\nh_bucket{le=\"+Inf\",d=\"a\"} "
       "3\nh_count{d=\"a\"} 3\n"
       "h_sum{d=\"a\"} 4.5\nh_bucket{d=\"b\",le=\"+Inf\"} 0\nh_count{d=\"b\"} 0\nh_sum{d=\"b\"} 0\n# EOF\n",
       "# HELP h H.\n# TYPE h histogram\nh_bucket{d=\"a\",le=\"0.5\"} 1\nh_bucket{d=\"a\",le=\"+Inf\"} "
       "3\nh_sum{d=\"a\"} 4.5\n"
       "h_count{d=\"a\"} 3\nh_bucket{d=\"b\",le=\"+Inf\"} 0\nh_sum{d=\"b\"} 0\nh_count{d=\"b\"} 0\n"},
      {"a histogram of a gauge is three gauges",
       "# TYPE g gaugehistogram\n# HELP g G.\ng_bucket{le=\"-1.0\"} 1\ng_bucket{le=\"+Inf\"} 3\ng_gcount 3\ng_gsum "
       "-5\n# EOF\n",
       "# HELP g_bucket G.\n# TYPE g_bucket gauge\ng_bucket{le=\"+Inf\"} 3\ng_bucket{le=\"-1.0\"} 1\n"
       "# HELP g_gcount G.\n# TYPE g_gcount gauge\ng_gcount 3\n# HELP g_gsum G.\n# TYPE g_gsum gauge\ng_gsum -5\n"},
      {"a summary, its parts in any order",
       "# TYPE s summary\n# HELP s S.\ns_count 1\ns_sum 2\ns{quantile=\"0.5\"} 0.7\ns{quantile=\"1\"} NaN\n# EOF\n",
       "# HELP s S.\n# TYPE s summary\ns{quantile=\"0.5\"} 0.7\ns{quantile=\"1\"} NaN\ns_sum 2\ns_count 1\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto parsed = parse_open_metrics(c.text);
    ASSERT_TRUE(parsed) << parsed.error().text;
    EXPECT_EQ(shown(*parsed), c.want);
    EXPECT_FALSE(parsed->timestamps);
  }
  const auto timed = parse_open_metrics("# TYPE a gauge\na 1 0.5\na 2 1.5e3\n# EOF\n");
  ASSERT_TRUE(timed);
  EXPECT_TRUE(timed->timestamps);
}

// `_created` is since when its series counts, wherever it stands, and no series of its own.
TEST(OpenMetricsReader, Since) {
  const auto parsed = parse_open_metrics(
      "# TYPE a counter\na_total{b=\"1\"} 7\na_created{b=\"1\"} 1600000000.25\na_created{b=\"2\"} 1500000000\n"
      "a_total{b=\"2\"} 8\na_total{b=\"3\"} 9\na_created{b=\"4\"} 5\na_total{b=\"5\"} 1\na_created{b=\"5\"} NaN\n"
      "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\nh_created 1600000001\n"
      "# TYPE s summary\ns_created 1600000002\ns_count 1\ns_sum 1\n# TYPE z gauge\nz 1\n# EOF\n");
  ASSERT_TRUE(parsed) << parsed.error().text;
  ExpositionPlan plan("Read from ");
  const ExpositionSource source{"x", &*parsed};
  plan.build({&source, 1});
  BatchWriter writer("test");
  writer.begin(1, 1'700'000'000'000'000'000);
  plan.emit(writer);
  const auto batch = writer.finish({}, 0, 0);
  std::map<std::string, std::int64_t, std::less<>> since;
  for (const auto& s : batch->layout->samples()) since.emplace(Layout::prefix(s), Layout::since_wall_ms(s));
  constexpr std::int64_t kNow = 1'700'000'000'000;
  const std::map<std::string, std::int64_t, std::less<>> want = {
      {"a_total{b=\"1\"} ", 1'600'000'000'250},
      {"a_total{b=\"2\"} ", 1'500'000'000'000},
      {"a_total{b=\"3\"} ", kNow},
      {"a_total{b=\"5\"} ", kNow},
      {"h_bucket{le=\"+Inf\"} ", 1'600'000'001'000},
      {"h_sum ", 1'600'000'001'000},
      {"h_count ", 1'600'000'001'000},
      {"s_sum ", 1'600'000'002'000},
      {"s_count ", 1'600'000'002'000},
      {"z ", kNow},
  };
  EXPECT_EQ(since, want);
}

TEST(OpenMetricsReader, Bad) {
  struct Case {
    const char* name;
    std::string text, error;
  };
  const Case cases[] = {
      {"no end", "a 1\n", "line 2: no '# EOF' at the end"},
      {"something behind the end", "a 1\n# EOF\nb 1\n", "line 2: something stands behind '# EOF'"},
      {"a blank line", "a 1\n\n# EOF\n", "line 2: invalid metric name"},
      {"a comment", "# hello\n# EOF\n",
       "line 1: a line with '#' that is none of '# TYPE', '# UNIT', '# HELP' and '# EOF'"},
      {"untyped", "# TYPE a untyped\n# EOF\n", "line 1: unknown metric type"},
      {"a type twice", "# TYPE a gauge\n# TYPE a gauge\n# EOF\n", "line 2: it is there a second time"},
      {"a type behind samples", "# HELP a x\na 1\n# TYPE a gauge\n# EOF\n",
       "line 3: it stands behind the samples that it is about"},
      {"a unit that is not in the name", "# UNIT a seconds\n# EOF\n",
       "line 1: the metric's name does not end with its unit"},
      {"a unit of an info", "# UNIT a_s s\n# TYPE a_s info\n# EOF\n", "line 2: an info or a stateset has no unit"},
      {"no space behind the name", "# HELP a\n# EOF\n", "line 1: a name and a space are expected"},
      {"names that meet", "# TYPE a_created gauge\n# TYPE a counter\n# EOF\n",
       "line 2: its samples would have the names of another metric"},
      {"a name that is another's sample's", "# TYPE a counter\na_total 1\nb 1\na_total 2\n# EOF\n",
       "line 4: the samples of a metric do not stand together"},
      {"a counter without its suffix", "# TYPE a counter\na 1\n# EOF\n",
       "line 2: the samples of a metric do not stand together"},
      {"two spaces", "a  1\n# EOF\n", "line 1: expected a number as value"},
      {"a space at the end", "a 1 \n# EOF\n", "line 1: expected an exemplar or the end of the line"},
      {"a number of C", "a 0x1\n# EOF\n", "line 1: expected a number as value"},
      {"a time that is none", "a 1 NaN\n# EOF\n", "line 1: expected a number as timestamp"},
      {"times and none", "# TYPE a gauge\na 0 0\na 0\n# EOF\n",
       "line 3: some samples of a metric have a time and some have none"},
      {"times that go backwards", "# TYPE a gauge\na 0 1.1\na 0 1\n# EOF\n",
       "line 3: the times of a metric go backwards"},
      {"twice", "a 0\na 0\n# EOF\n", "line 2: a sample is there twice"},
      {"a comma too many", "a{b=\"1\",} 1\n# EOF\n", "line 1: invalid label name"},
      {"a label twice", "a{b=\"1\",b=\"1\"} 1\n# EOF\n", "line 1: duplicate label names"},
      {"too many labels", labelled(257) + "# EOF\n", "line 1: more than 256 labels"},
      {"no quotes", "a{b=1} 1\n# EOF\n", "line 1: expected '\"' at start of label value"},
      {"an open quote", "a{b=\"1} 1\n# EOF\n", "line 1: expected '\"' at the end of label value"},
      {"no space before the number", "a{b=\"1\"}1\n# EOF\n", "line 1: a space and a number are expected"},
      {"a counter below zero", "# TYPE a counter\na_total -1\n# EOF\n", "line 2: what counts is negative or NaN"},
      {"a gauge's exemplar", "# TYPE a gauge\na 1 # {a=\"b\"} 1\n# EOF\n",
       "line 2: only counters and buckets have exemplars"},
      {"an exemplar of a time", "# TYPE a counter\na_created 1 # {a=\"b\"} 1\n# EOF\n",
       "line 2: only counters and buckets have exemplars"},
      {"an exemplar with too much", "# TYPE a counter\na_total 1 # {a=\"" + std::string(128, 'x') + "\"} 1\n# EOF\n",
       "line 2: the labels of an exemplar have more than 128 characters"},
      {"an exemplar without a number", "# TYPE a counter\na_total 1 # {} \n# EOF\n",
       "line 2: expected a number as value of the exemplar"},
      {"buckets out of order",
       "# TYPE a histogram\na_bucket{le=\"2\"} 0\na_bucket{le=\"1\"} 0\na_bucket{le=\"+Inf\"} 0\n# EOF\n",
       "line 3: buckets do not stand in the order of their bounds"},
      {"buckets that fall", "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 0\n# EOF\n",
       "line 3: a bucket has less than the one before"},
      {"no bucket for all", "# TYPE a histogram\na_bucket{le=\"1\"} 1\n# EOF\n",
       "line 3: a histogram above has no bucket with le=\"+Inf\""},
      {"another spelling of it", "# TYPE a histogram\na_bucket{le=\"+INF\"} 0\n# EOF\n",
       "line 2: expected a number as label 'le'"},
      {"a sum without a count", "# TYPE a histogram\na_bucket{le=\"+Inf\"} 0\na_sum 0\n# EOF\n",
       "line 4: a histogram above has a sum or a count only"},
      {"a count of its own", "# TYPE a histogram\na_bucket{le=\"+Inf\"} 0\na_sum 0\na_count 1\n# EOF\n",
       "line 5: the count of a histogram above is not that of its bucket with le=\"+Inf\""},
      {"a sum of what may be negative",
       "# TYPE a histogram\na_bucket{le=\"-1\"} 0\na_bucket{le=\"+Inf\"} 0\na_sum 0\na_count 0\n# EOF\n",
       "line 6: a histogram above with buckets below 0 has a sum"},
      {"histograms that are mixed",
       "# TYPE a histogram\na_bucket{b=\"1\",le=\"+Inf\"} 0\na_bucket{b=\"2\",le=\"+Inf\"} 0\n"
       "a_sum{b=\"1\"} 0\n# EOF\n",
       "line 4: the samples of one set of labels do not stand together"},
      {"a summary without quantile", "# TYPE a summary\na 0\n# EOF\n",
       "line 2: its label is missing: le, quantile or the name of the stateset"},
      {"a quantile above 1", "# TYPE a summary\na{quantile=\"1.01\"} 0\n# EOF\n", "line 2: a quantile is from 0 to 1"},
      {"an info of 2", "# TYPE a info\na_info 2\n# EOF\n", "line 2: the value of an info is 1"},
      {"a state of 2", "# TYPE a stateset\na{a=\"x\"} 2\n# EOF\n", "line 2: the value of a state is 0 or 1"},
      {"not text", "a{b=\"\xff\"} 1\n# EOF\n", "line 1: no UTF-8"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto parsed = parse_open_metrics(c.text);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().text, c.error);
  }
}

// What says to be OpenMetrics is read as such; what is not quite that is read as node_exporter would read it.
TEST(OpenMetricsReader, Which) {
  struct Case {
    const char* name;
    std::string text, want, error;
  };
  const Case cases[] = {
      {"the text format", "# TYPE a counter\na 1\n", "# HELP a Read from x\n# TYPE a counter\na 1\n", ""},
      {"OpenMetrics", "# TYPE a counter\na_total 1\n# EOF\n",
       "# HELP a_total Read from x\n# TYPE a_total counter\na_total 1\n", ""},
      {"the text format with such a comment", "# TYPE a_total counter\na_total 1\n\n# EOF\n",
       "# HELP a_total Read from x\n# TYPE a_total counter\na_total 1\n", ""},
      {"the end within", "a 1\n# EOF\nb 2\n",
       "# HELP a Read from x\n# TYPE a untyped\na 1\n# HELP b Read from x\n# TYPE b untyped\nb 2\n", ""},
      {"neither", "# TYPE a info\na 1 2 3\n# EOF\n", "",
       "line 2: expected an exemplar or the end of the line (as OpenMetrics, since it ends with '# EOF')"},
      {"only its end", "# EOF\n", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto parsed = parse_any_exposition(c.text);
    EXPECT_EQ(parsed ? "" : parsed.error().text, c.error);
    if (parsed) {
      EXPECT_EQ(shown(*parsed), c.want);
    }
  }
}

// https://github.com/prometheus/OpenMetrics, tests/testdata/parsers: a folder per case with `metrics` in it; those that
// must not be read are called bad_*.
TEST(OpenMetricsReader, ParserSuite) {
  const char* folder = std::getenv("OPENMETRICS_SUITE");
  if (folder == nullptr) GTEST_SKIP() << "OPENMETRICS_SUITE names no folder with OpenMetrics' tests/testdata/parsers";
  int good = 0, bad = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    SCOPED_TRACE(name);
    std::ifstream file(entry.path() / "metrics");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto parsed = parse_open_metrics(text);
    const bool wanted = !name.starts_with("bad_");
    ++(wanted ? good : bad);
    EXPECT_EQ(parsed.has_value(), wanted) << text << (parsed ? "" : parsed.error().text);
    // Whoever reads the text format reads no less of it.
    if (parse_exposition(text)) {
      EXPECT_TRUE(parse_any_exposition(text)) << text;
    }
  }
  EXPECT_GT(good, 0);
  EXPECT_GT(bad, 0);
  fmt::print("{} good, {} bad\n", good, bad);
}

// Every kind of family that leaves, with exemplars and times of creation.
TEST(OpenMetricsReader, ReadsWhatWeWrite) {
  static constexpr MetricDesc kCpu{"cpu_seconds_total", MetricType::counter, "Say \"it\".", "mode", "seconds"};
  static constexpr MetricDesc kOdd{"odd_counter", MetricType::counter, "No suffix."};
  static constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait\n\\.", "device", "seconds"};
  static constexpr MetricDesc kPause{"pause", MetricType::summary, "P."};
  static constexpr MetricDesc kPauseBucket{"pause_bucket", MetricType::gauge, "No part of it."};
  static constexpr MetricDesc kClash{"clash", MetricType::gauge, "G."},
      kClashTotal{"clash_total", MetricType::counter, "C."};
  for (const auto format : {PromText::Format::open_metrics, PromText::Format::open_metrics_created}) {
    BatchWriter writer("test");
    writer.begin(1, 1'700'000'000'000'000'000);
    writer.set(kCpu, 1.5, "a\"b\\c\nd");
    writer.set(kCpu, 2.5, "idle");
    writer.set(kOdd, 3);
    const double bounds[] = {0.5, 10};
    const std::uint64_t counts[] = {3, 1, 2};
    const Exemplar exemplars[] = {{1, 2.5, 1'700'000'000'007, {{"comm", "f\"i\\o"}}}};
    writer.histogram(kWait, {bounds, counts, 9, exemplars}, "a");
    writer.histogram(kWait, {bounds, counts, 9}, "b");
    const Label half[] = {{"quantile", "0.5"}};
    writer.set_labels(kPause, 2, half);
    writer.set_labels(kPause, 3, {}, Part::sum);
    writer.set_labels(kPause, 4, {}, Part::count);
    writer.set(kPauseBucket, -1);
    writer.set(kClash, -1);
    writer.set(kClashTotal, 2);
    const Snapshot snapshot{1, 1, 1'700'000'000'000'000'000, {writer.finish({}, 0, 0)}};
    std::string text, plain;
    PromText(format).encode(snapshot, text);
    const auto parsed = parse_open_metrics(text);
    ASSERT_TRUE(parsed) << parsed.error().text << "\n" << text;
    if (format != PromText::Format::open_metrics) continue;
    PromText().encode(snapshot, plain);
    auto want = plain;
    // What OpenMetrics has no word for.
    for (const auto* name : {"odd_counter", "clash_total"})
      want.replace(want.find(fmt::format("# TYPE {} counter", name)), fmt::format("# TYPE {} counter", name).size(),
                   fmt::format("# TYPE {} untyped", name));
    EXPECT_EQ(shown(*parsed), want);
  }
}

}  // namespace
}  // namespace vitald
