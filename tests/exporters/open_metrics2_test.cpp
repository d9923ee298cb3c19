// SPDX-License-Identifier: Apache-2.0
// OpenMetrics 2.0 and JSON lines, line by line. What a strict reader makes of a whole answer:
// tests/e2e/formats_test.py.
#include "exporters/encode/open_metrics2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "exporters/encode/json_lines.h"

namespace vitald {
namespace {

using Emit = std::function<void(BatchWriter&)>;

constexpr std::int64_t kSecond = 1'000'000'000, kWall = 1'700'000'000'250'000'000;

Snapshot snapshot_of(const Emit& emit, std::int64_t wall_ns = kWall) {
  BatchWriter writer("test");
  writer.begin(kSecond, wall_ns);
  emit(writer);
  return {1, kSecond, wall_ns, {writer.finish({}, 0, 0)}};
}

constexpr MetricDesc kCpu{"cpu_seconds_total", MetricType::counter, "Say \"it\".", "mode", "seconds"};
constexpr MetricDesc kOdd{"odd_counter", MetricType::counter, ""};
constexpr MetricDesc kUntyped{"some_thing", MetricType::untyped, "Thing\n\\."};
constexpr MetricDesc kTemperature{"temperature_celsius", MetricType::gauge, "T.", "", "celsius"};
constexpr MetricDesc kWait{"wait", MetricType::histogram, "W.", "device"};
constexpr MetricDesc kDelay{"delay", MetricType::histogram, ""};
constexpr MetricDesc kPause{"pause", MetricType::summary, "P."};
constexpr MetricDesc kPauseBucket{"pause_bucket", MetricType::gauge, "B."};

void summary(BatchWriter& o, double sum) {
  const Label half[] = {{"quantile", "0.5"}}, most[] = {{"quantile", "1"}};
  o.set_labels(kPause, 0.25, half);
  o.set_labels(kPause, NAN, most);
  o.set_labels(kPause, sum, {}, Part::sum);
  o.set_labels(kPause, 4, {}, Part::count);
}

TEST(OpenMetrics2, Lines) {
  static const double kFew[] = {0.5, 1e6};
  static const std::uint64_t kFewCounts[] = {3, 1, 2};
  static const double kPowers[] = {0.25, 0.5, 1, 2, 4, 8, 16, 32};
  static const std::uint64_t kPowerCounts[] = {0, 0, 2, 3, 0, 0, 0, 1, 4}, kNone[9] = {};
  struct Case {
    const char* name;
    Emit emit;
    std::string want;
  };
  const Case cases[] = {
      {"nothing", [](auto&) {}, ""},
      {"a counter says since when", [](auto& o) { o.set(kCpu, 1.5, "a\"b\\c\nd"); },
       "# TYPE cpu_seconds_total counter\n# UNIT cpu_seconds_total seconds\n# HELP cpu_seconds_total Say \\\"it\\\".\n"
       "cpu_seconds_total{mode=\"a\\\"b\\\\c\\nd\"} 1.5 st@1700000000.250\n"},
      {"one without its suffix is a counter all the same", [](auto& o) { o.set(kOdd, 2); },
       "# TYPE odd_counter counter\nodd_counter 2 st@1700000000.250\n"},
      {"what is no counter's number has no line",
       [](auto& o) { o.set(kCpu, NAN, "a"), o.set(kCpu, -1, "b"), o.set(kCpu, 3, "c"); },
       "# TYPE cpu_seconds_total counter\n# UNIT cpu_seconds_total seconds\n# HELP cpu_seconds_total Say \\\"it\\\".\n"
       "cpu_seconds_total{mode=\"c\"} 3 st@1700000000.250\n"},
      {"gauge and unknown", [](auto& o) { o.set(kTemperature, -HUGE_VAL), o.set(kUntyped, NAN); },
       "# TYPE some_thing unknown\n# HELP some_thing Thing\\n\\\\.\nsome_thing NaN\n"
       "# TYPE temperature_celsius gauge\n# UNIT temperature_celsius celsius\n# HELP temperature_celsius "
       "T.\ntemperature_celsius -Inf\n"},
      {"a histogram with bounds of its own",
       [](auto& o) {
         o.histogram(kWait, {kFew, kFewCounts, 9.5}, "a");
       },
       "# TYPE wait histogram\n# HELP wait W.\n"
       "wait{device=\"a\"} {count:6,sum:9.5,bucket:[0.5:3,1000000:4,+Inf:6]} st@1700000000.250\n"},
      {"with powers of two it is native, too",
       [](auto& o) {
         o.histogram(kWait, {kPowers, kPowerCounts, 77}, "a"), o.histogram(kWait, {kPowers, kNone, 0}, "b");
       },
       "# TYPE wait histogram\n# HELP wait W.\n"
       "wait{device=\"a\"} {count:10,sum:77,schema:0,zero_threshold:2.938735877055719e-39,zero_count:0,"
       "positive_spans:[0:2,3:2],positive_buckets:[2,3,1,4],"
       "bucket:[0.25:0,0.5:0,1:2,2:5,4:5,8:5,16:5,32:6,+Inf:10]} st@1700000000.250\n"
       "wait{device=\"b\"} {count:0,sum:0,schema:0,zero_threshold:2.938735877055719e-39,zero_count:0,"
       "bucket:[0.25:0,0.5:0,1:0,2:0,4:0,8:0,16:0,32:0,+Inf:0]} st@1700000000.250\n"},
      {"exemplars have a time or are left out",
       [](auto& o) {
         const Exemplar exemplars[] = {{0, 0.25, 0, {{"comm", "old"}}},
                                       {1, 2.5, 1'700'000'000'007, {{"comm", "f\"io"}, {"pid", "12"}}}};
         o.histogram(kWait, {kFew, kFewCounts, 9.5, exemplars}, "a");
       },
       "# TYPE wait histogram\n# HELP wait W.\n"
       "wait{device=\"a\"} {count:6,sum:9.5,bucket:[0.5:3,1000000:4,+Inf:6]} st@1700000000.250 "
       "# {comm=\"f\\\"io\",pid=\"12\"} 2.5 1700000000.007\n"},
      {"a summary, and a gauge with the name of a bucket", [](auto& o) { summary(o, 3), o.set(kPauseBucket, 7); },
       "# TYPE pause summary\n# HELP pause P.\npause {count:4,sum:3,quantile:[0.5:0.25,1:NaN]} st@1700000000.250\n"
       "# TYPE pause_bucket gauge\n# HELP pause_bucket B.\npause_bucket 7\n"},
      {"a summary whose sum fell below 0", [](auto& o) { summary(o, -3); }, "# TYPE pause summary\n# HELP pause P.\n"},
  };
  const auto histogram = [](std::vector<double> counts, std::optional<double> sum) -> Emit {
    return [=](BatchWriter& o) {
      const Label low[] = {{"le", "1"}}, end[] = {{"le", "+Inf"}};
      o.set_labels(kDelay, counts[0], low, Part::bucket);
      o.set_labels(kDelay, counts[1], end, Part::bucket);
      if (sum) o.set_labels(kDelay, *sum, {}, Part::sum);
      o.set_labels(kDelay, counts[1], {}, Part::count);
    };
  };
  const auto other_summary = [](double quantile, std::optional<double> sum, std::optional<double> count) -> Emit {
    return [=](BatchWriter& o) {
      const Label half[] = {{"quantile", "0.5"}};
      o.set_labels(kPause, quantile, half);
      if (sum) o.set_labels(kPause, *sum, {}, Part::sum);
      if (count) o.set_labels(kPause, *count, {}, Part::count);
    };
  };
  const std::string delay = "# TYPE delay histogram\n", pause = "# TYPE pause summary\n# HELP pause P.\n";
  const Case odd[] = {
      {"a sum that is not known is NaN", histogram({1, 2}, std::nullopt),
       delay + "delay {count:2,sum:NaN,bucket:[1:1,+Inf:2]} st@1700000000.250\n"},
      {"buckets that fall", histogram({3, 2}, 1), delay},
      {"buckets below 0", histogram({-1, 2}, 1), delay},
      {"a bucket of NaN", histogram({NAN, 2}, 1), delay},
      {"a histogram of NaN", histogram({NAN, NAN}, NAN), delay},
      {"an end of NaN", histogram({1, NAN}, 1), delay},
      {"a summary without a sum", other_summary(1, std::nullopt, 4), pause},
      {"a summary without a count", other_summary(1, 4, std::nullopt), pause},
      {"a summary of NaN", other_summary(1, NAN, NAN), pause},
      {"a quantile's value below 0", other_summary(-1, 4, 4), pause},
  };
  for (const auto& c : odd) {
    SCOPED_TRACE(c.name);
    std::string out;
    OpenMetrics2().encode(snapshot_of(c.emit), out);
    EXPECT_EQ(out, c.want + "# EOF\n");
  }
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::string out;
    OpenMetrics2().encode(snapshot_of(c.emit), out);
    EXPECT_EQ(out, c.want + "# EOF\n");
  }
}

TEST(OpenMetrics2, FollowsNumbersAndSeries) {
  OpenMetrics2 encoder;
  BatchWriter writer("test");
  std::string out;
  const auto text = [&](const Emit& emit) {
    writer.begin(kSecond, kWall);
    emit(writer);
    encoder.encode({1, kSecond, kWall, {writer.finish({}, 0, 0)}}, out);
    return out;
  };
  EXPECT_THAT(text([](auto& o) { o.set(kTemperature, 1); }), testing::HasSubstr("\ntemperature_celsius 1\n"));
  EXPECT_THAT(text([](auto& o) { o.set(kTemperature, 2); }), testing::HasSubstr("\ntemperature_celsius 2\n"));
  EXPECT_THAT(text([](auto& o) { o.set(kTemperature, 3), o.set(kOdd, 4); }),
              testing::AllOf(testing::HasSubstr("\ntemperature_celsius 3\n"), testing::HasSubstr("\nodd_counter 4 ")));
  EXPECT_EQ(text([](auto&) {}), "# EOF\n");
}

TEST(JsonLines, ALineASample) {
  SeriesTable::Settings settings;
  settings.target = {{"job", "node"}};
  SeriesTable table(settings);
  const auto snapshot = snapshot_of([](auto& o) {
    o.set(kTemperature, 21.5);
    o.set(kCpu, NAN, "a\"b\\\n");
    o.set(kCpu, HUGE_VAL, "z");
  });
  table.update(snapshot);
  std::vector<double> values;
  table.values(snapshot, values);
  std::vector<std::pair<std::string, std::uint32_t>> got;
  JsonLines lines;
  const auto take = [&](std::string_view text, std::uint32_t count) { got.emplace_back(text, count); };
  lines.encode(table, values, snapshot.wall_ns, 2, take);
  const std::string
      first =
          "{\"name\":\"temperature_celsius\",\"labels\":{\"job\":\"node\"},\"value\":21.5,\"timestamp\":1700000000.250}"
          "\n",
      nan =
          "{\"name\":\"cpu_seconds_total\",\"labels\":{\"job\":\"node\",\"mode\":\"a\\\"b\\\\\\n\"},\"value\":null,"
          "\"timestamp\":1700000000.250}\n",
      inf =
          "{\"name\":\"cpu_seconds_total\",\"labels\":{\"job\":\"node\",\"mode\":\"z\"},\"value\":null,"
          "\"timestamp\":1700000000.250}\n";
  EXPECT_THAT(got, testing::ElementsAre(std::pair(first + nan, 2U), std::pair(inf, 1U)));
  got.clear();
  lines.encode(table, values, snapshot.wall_ns, 100, take);
  EXPECT_THAT(got, testing::ElementsAre(std::pair(first + nan + inf, 3U)));
}

}  // namespace
}  // namespace vitald
