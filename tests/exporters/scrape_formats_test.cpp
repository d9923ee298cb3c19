// SPDX-License-Identifier: Apache-2.0
// What a scrape says in OpenMetrics, protobuf and packed with zstd. What others read of it: tests/e2e/formats_test.py.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "exporters/encode/native_histogram.h"
#include "exporters/encode/prom_proto.h"
#include "exporters/encode/prom_text.h"
#include "exporters/encode/protobuf.h"
#include "exporters/encode/zstd.h"

namespace vitald {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::int64_t kSecond = 1'000'000'000;

using Emit = std::function<void(BatchWriter&)>;

Snapshot snapshot_of(const Emit& emit, std::int64_t wall_ns = 1'700'000'000'250'000'000) {
  BatchWriter writer("test");
  writer.begin(kSecond, wall_ns);
  emit(writer);
  return {1, kSecond, wall_ns, {writer.finish({}, 0, 0)}};
}
std::string open_metrics(const Emit& emit, PromText::Format format = PromText::Format::open_metrics) {
  std::string out;
  PromText(format).encode(snapshot_of(emit), out);
  return out;
}

constexpr MetricDesc kCpu{"cpu_seconds_total", MetricType::counter, "Say \"it\".", "mode", "seconds"};
constexpr MetricDesc kOdd{"odd_counter", MetricType::counter, "No suffix."};
constexpr MetricDesc kUntyped{"some_thing", MetricType::untyped, "Thing."};
constexpr MetricDesc kTemperature{"temperature_celsius", MetricType::gauge, "T.", "", "celsius"};
constexpr MetricDesc kWrongUnit{"speed", MetricType::gauge, "S.", "", "bytes"};
constexpr MetricDesc kBase{"clash", MetricType::gauge, "G."}, kClash{"clash_total", MetricType::counter, "C."};
constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait.", "device", "seconds"};
constexpr MetricDesc kGc{"gc_seconds", MetricType::summary, "GC."};
constexpr MetricDesc kCpuCreated{"cpu_seconds_created", MetricType::gauge, "K."},
    kWaitCreated{"wait_seconds_created", MetricType::gauge, "K."},
    kGcCreated{"gc_seconds_created", MetricType::gauge, "K."};

TEST(OpenMetrics, Families) {
  struct Case {
    const char* name;
    Emit emit;
    std::string want;
  };
  const Case cases[] = {
      {"a counter is named without its suffix", [](auto& o) { o.set(kCpu, 1.5, "idle"); },
       "# HELP cpu_seconds Say \\\"it\\\".\n# TYPE cpu_seconds counter\n# UNIT cpu_seconds seconds\n"
       "cpu_seconds_total{mode=\"idle\"} 1.5\n# EOF\n"},
      {"one that has none is unknown", [](auto& o) { o.set(kOdd, 2); },
       "# HELP odd_counter No suffix.\n# TYPE odd_counter unknown\nodd_counter 2\n# EOF\n"},
      {"untyped is unknown", [](auto& o) { o.set(kUntyped, 2); },
       "# HELP some_thing Thing.\n# TYPE some_thing unknown\nsome_thing 2\n# EOF\n"},
      {"a unit", [](auto& o) { o.set(kTemperature, 21.5); },
       "# HELP temperature_celsius T.\n# TYPE temperature_celsius gauge\n# UNIT temperature_celsius celsius\n"
       "temperature_celsius 21.5\n# EOF\n"},
      {"a unit that the name does not end with is left out", [](auto& o) { o.set(kWrongUnit, 1); },
       "# HELP speed S.\n# TYPE speed gauge\nspeed 1\n# EOF\n"},
      {"two families may not have one name", [](auto& o) { o.set(kBase, 1), o.set(kClash, 2); },
       "# HELP clash G.\n# TYPE clash gauge\nclash 1\n"
       "# HELP clash_total C.\n# TYPE clash_total unknown\nclash_total 2\n# EOF\n"},
      {"a gauge with the name of a counter's time of creation is left out",
       [](auto& o) { o.set(kCpuCreated, 5), o.set(kCpu, 1, "a"), o.set(kTemperature, 2); },
       "# HELP cpu_seconds Say \\\"it\\\".\n# TYPE cpu_seconds counter\n# UNIT cpu_seconds seconds\n"
       "cpu_seconds_total{mode=\"a\"} 1\n# HELP temperature_celsius T.\n# TYPE temperature_celsius gauge\n"
       "# UNIT temperature_celsius celsius\ntemperature_celsius 2\n# EOF\n"},
      {"a histogram's and a summary's, too",
       [](auto& o) {
         static const double kBounds[] = {1};
         static const std::uint64_t kCounts[] = {1, 2};
         o.histogram(kWait, {kBounds, kCounts, 1}, "a"), o.set(kWaitCreated, 5);
         o.set_labels(kGc, 3, {}, Part::sum), o.set_labels(kGc, 4, {}, Part::count), o.set(kGcCreated, 5);
       },
       "# HELP gc_seconds GC.\n# TYPE gc_seconds summary\ngc_seconds_sum 3\ngc_seconds_count 4\n"
       "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n"
       "wait_seconds_bucket{device=\"a\",le=\"1.0\"} 1\nwait_seconds_bucket{device=\"a\",le=\"+Inf\"} 3\n"
       "wait_seconds_sum{device=\"a\"} 1\nwait_seconds_count{device=\"a\"} 3\n# EOF\n"},
      {"alone it stays", [](auto& o) { o.set(kWaitCreated, 5); },
       "# HELP wait_seconds_created K.\n# TYPE wait_seconds_created gauge\nwait_seconds_created 5\n# EOF\n"},
      {"nothing", [](auto&) {}, "# EOF\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(open_metrics(c.emit), c.want);
  }
}

TEST(OpenMetrics, BoundsAsGoWritesThem) {
  struct Case {
    double bound;
    std::string want;
  };
  for (const auto& c : {Case{0.0001, "0.0001"}, Case{0.00009, "9e-05"}, Case{0.5, "0.5"}, Case{1, "1.0"},
                        Case{10, "10.0"}, Case{99999, "99999.0"}, Case{123456.5, "123456.5"}, Case{999999, "999999.0"},
                        Case{1000000, "1e+06"}, Case{1048576, "1.048576e+06"}, Case{1e21, "1e+21"}}) {
    const double bounds[] = {c.bound};
    const std::uint64_t counts[] = {1, 2};
    EXPECT_THAT(open_metrics([&](auto& o) {
                  o.histogram(kWait, {bounds, counts, 1}, "a,le=\"7");
                }),
                HasSubstr("wait_seconds_bucket{device=\"a,le=\\\"7\",le=\"" + c.want + "\"} 1\n"))
        << c.bound;
  }
  static constexpr MetricDesc kSummary{"gc_seconds", MetricType::summary, "GC."};
  EXPECT_THAT(open_metrics([](auto& o) {
                const Label zero[] = {{"quantile", "0"}}, half[] = {{"quantile", "0.5"}};
                o.set_labels(kSummary, 1, zero);
                o.set_labels(kSummary, 2, half);
                o.set_labels(kSummary, 3, {}, Part::sum);
                o.set_labels(kSummary, 4, {}, Part::count);
              }),
              HasSubstr("gc_seconds{quantile=\"0.0\"} 1\ngc_seconds{quantile=\"0.5\"} 2\ngc_seconds_sum 3\n"
                        "gc_seconds_count 4\n"));
}

TEST(OpenMetrics, CreatedLines) {
  const double bounds[] = {1};
  const std::uint64_t counts[] = {1, 2};
  const auto emit = [&](BatchWriter& o) {
    o.set(kCpu, 1.5, "idle");
    o.set(kCpu, 2.5, "user");
    o.set(kTemperature, 3);
    o.set(kOdd, 1);
    o.histogram(kWait, {bounds, counts, 1}, "a");
  };
  const auto text = open_metrics(emit, PromText::Format::open_metrics_created);
  EXPECT_THAT(text, HasSubstr("cpu_seconds_total{mode=\"idle\"} 1.5\n"
                              "cpu_seconds_created{mode=\"idle\"} 1700000000.25\n"
                              "cpu_seconds_total{mode=\"user\"} 2.5\n"
                              "cpu_seconds_created{mode=\"user\"} 1700000000.25\n"));
  EXPECT_THAT(text,
              HasSubstr("wait_seconds_count{device=\"a\"} 3\nwait_seconds_created{device=\"a\"} 1700000000.25\n"));
  EXPECT_THAT(text, Not(HasSubstr("odd_counter_created")));
  EXPECT_THAT(text, Not(HasSubstr("celsius_created")));
  EXPECT_THAT(open_metrics(emit), Not(HasSubstr("_created")));
}

TEST(OpenMetrics, Exemplars) {
  const double bounds[] = {0.5, 4};
  const std::uint64_t counts[] = {3, 1, 2};
  const auto line = [](const char* le, const std::string& rest) {
    return std::string("wait_seconds_bucket{device=\"a\",le=\"") + le + "\"} " + rest + "\n";
  };
  struct Case {
    const char* name;
    std::vector<Exemplar> given;
    std::string low, middle, high;
  };
  const Case cases[] = {
      {"none", {}, "3", "4", "6"},
      {"labels and a time in seconds",
       {{1, 2.5, 1'700'000'000'007, {{"comm", "fio"}, {"pid", "12"}}}},
       "3",
       "4 # {comm=\"fio\",pid=\"12\"} 2.5 1700000000.007",
       "6"},
      {"what has to be escaped",
       {{0, 0.25, 1'000, {{"comm", "a\"b\\c\nd} # "}}}},
       "3 # {comm=\"a\\\"b\\\\c\\nd} # \"} 0.25 1.000",
       "4",
       "6"},
      {"of each bucket, without labels, without a time",
       {{0, 0, 1'000, {}}, {1, 4, 0, {}}, {2, 1e9, 2'500, {{"comm", "x"}}}},
       "3 # {} 0 1.000",
       "4 # {} 4",
       "6 # {comm=\"x\"} 1000000000 2.500"},
  };
  for (const auto format :
       {PromText::Format::open_metrics, PromText::Format::open_metrics_created, PromText::Format::text}) {
    BatchWriter writer("test");
    PromText encoder(format);  // one for all: nothing of the one before stays
    for (const auto& c : cases) {
      SCOPED_TRACE(c.name);
      writer.begin(kSecond, 1'700'000'000'250'000'000);
      writer.set(kTemperature, 1);
      writer.histogram(kWait, {bounds, counts, 1, c.given}, "a");
      writer.histogram(kWait, {bounds, counts, 1}, "b");
      std::string text;
      encoder.encode({1, kSecond, 0, {writer.finish({}, 0, 0)}}, text);
      if (format == PromText::Format::text) {
        EXPECT_THAT(text, HasSubstr(line("0.5", "3") + line("4", "4") + line("+Inf", "6")));
        EXPECT_THAT(text, Not(HasSubstr("# {")));
        continue;
      }
      EXPECT_THAT(text, HasSubstr(line("0.5", c.low) + line("4.0", c.middle) + line("+Inf", c.high)));
      EXPECT_THAT(text, HasSubstr("{device=\"b\",le=\"0.5\"} 3\n"));
      EXPECT_TRUE(text.ends_with("# EOF\n"));
    }
  }
}

TEST(NativeHistogram, Schemes) {
  struct Case {
    const char* name;
    int first, step;
    std::size_t bounds;
    std::optional<std::pair<int, int>> want;  // schema, first
  };
  for (const auto& c :
       {Case{"doubling", -20, 1, 27, std::pair(0, -20)}, Case{"times four", -20, 2, 11, std::pair(-1, -10)},
        Case{"times four, but between the bounds of schema -1", -19, 2, 11, std::nullopt},
        Case{"times sixteen", -16, 4, 9, std::pair(-2, -4)}, Case{"too few", 0, 1, 7, std::nullopt},
        Case{"times eight", 0, 3, 9, std::nullopt}}) {
    SCOPED_TRACE(c.name);
    std::vector<double> upper;
    for (std::size_t i = 0; i < c.bounds; ++i) upper.push_back(std::ldexp(1.0, c.first + static_cast<int>(i) * c.step));
    const auto got = native_scheme(upper);
    ASSERT_EQ(got.has_value(), c.want.has_value());
    if (got) {
      EXPECT_EQ(std::pair(got->schema, got->first), *c.want);
    }
  }
  EXPECT_FALSE(native_scheme(std::vector<double>{1, 2, 4, 8, 16, 32, 64, 129}));
}

TEST(NativeHistogram, SpansAndDeltas) {
  struct Case {
    const char* name;
    std::vector<double> cumulative;
    std::vector<std::pair<int, unsigned>> spans;
    std::vector<std::int64_t> deltas;
    std::uint64_t count;
  };
  const Case cases[] = {
      {"empty", {0, 0, 0}, {}, {}, 0},
      {"in one row", {1, 3, 3.0, 4}, {{-5, 2}, {1, 1}}, {1, 1, -1}, 4},
      {"a gap of two", {0, 5, 5, 5, 6}, {{-4, 1}, {2, 1}}, {5, -4}, 6},
      {"only the last", {0, 0, 7}, {{-3, 1}}, {7}, 7},
      {"what falls is of another time", {4, 2, 5}, {{-5, 1}, {1, 1}}, {4, -3}, 5},
      {"no counts", {std::nan(""), -3, 2}, {{-3, 1}}, {2}, 2},
  };
  NativeBuckets buckets;  // one for all: nothing of the one before stays
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    buckets.set(-5, c.cumulative);
    std::vector<std::pair<int, unsigned>> spans;
    for (const auto& s : buckets.spans) spans.emplace_back(s.offset, s.length);
    EXPECT_EQ(spans, c.spans);
    EXPECT_EQ(buckets.deltas, c.deltas);
    EXPECT_EQ(buckets.count, c.count);
  }
}

// ---- protobuf

constexpr std::uint32_t kMetricField = 4;

struct Message {
  std::multimap<std::uint32_t, proto::Field> fields;
  explicit Message(std::string_view bytes) {
    proto::Reader reader(bytes);
    proto::Field field;
    while (reader.next(field)) fields.emplace(field.number, field);
    EXPECT_FALSE(reader.broken());
  }
  [[nodiscard]] const proto::Field& one(std::uint32_t number) const {
    EXPECT_EQ(fields.count(number), 1U) << number;
    return fields.find(number)->second;
  }
  [[nodiscard]] std::vector<proto::Field> all(std::uint32_t number) const {
    std::vector<proto::Field> out;
    for (auto [at, end] = fields.equal_range(number); at != end; ++at) out.push_back(at->second);
    return out;
  }
};
std::int64_t unzigzag(std::uint64_t v) { return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1); }

std::vector<std::string> families_of(std::string_view bytes) {
  std::vector<std::string> out;
  while (!bytes.empty()) {
    proto::Reader reader(bytes);
    const auto size = reader.varint();
    const auto head = proto::varint_size(size);
    if (reader.broken() || size > bytes.size() - head) {
      ADD_FAILURE() << "the length of a message is wrong";
      break;
    }
    out.emplace_back(bytes.substr(head, size));
    bytes.remove_prefix(head + size);
  }
  return out;
}

TEST(PromProto, NativeBesideClassic) {
  std::vector<double> bounds;
  for (int i = 0; i < 8; ++i) bounds.push_back(std::ldexp(1.0, i - 3));
  std::vector<std::uint64_t> counts(9, 0);
  PromProto encoder;
  BatchWriter writer("test");
  std::string bytes;
  for (const bool empty : {true, false}) {
    SCOPED_TRACE(empty);
    if (!empty) counts[1] = 3, counts[3] = 2, counts[8] = 300;
    writer.begin(kSecond, 1'700'000'000'250'000'000);
    writer.set(kCpu, empty ? 1 : 2.5, "idle");
    writer.histogram(kWait, {bounds, counts, 7.5}, "sda");
    encoder.encode({1, kSecond, 0, {writer.finish({}, 0, 0)}}, bytes);
    const auto families = families_of(bytes);
    ASSERT_EQ(families.size(), 2U);
    const Message cpu(families[0]), metric(cpu.one(4).bytes), counter(metric.one(3).bytes),
        created(counter.one(3).bytes);
    EXPECT_EQ(cpu.one(1).bytes, "cpu_seconds_total");
    EXPECT_EQ(cpu.one(3).value, 0U);
    EXPECT_EQ(cpu.one(5).bytes, "seconds");
    EXPECT_EQ(counter.one(1).real(), empty ? 1 : 2.5);
    EXPECT_EQ(created.one(1).value, 1'700'000'000U);
    EXPECT_EQ(created.one(2).value, 250'000'000U);

    const Message wait(families[1]), wait_metric(wait.one(4).bytes), h(wait_metric.one(7).bytes);
    EXPECT_EQ(wait.one(3).value, 4U);
    const Message label(wait_metric.one(1).bytes);
    EXPECT_EQ(label.one(1).bytes, "device");
    EXPECT_EQ(label.one(2).bytes, "sda");
    EXPECT_EQ(h.one(1).value, empty ? 0U : 305U);
    EXPECT_EQ(h.one(2).real(), 7.5);
    EXPECT_EQ(unzigzag(h.one(5).value), 0);
    EXPECT_EQ(h.one(6).real(), 0x1p-128);  // also while it is empty
    std::vector<std::uint64_t> classic;
    for (const auto& b : h.all(3)) classic.push_back(Message(b.bytes).one(1).value);
    std::vector<std::pair<std::int64_t, std::uint64_t>> spans;
    for (const auto& s : h.all(12)) {
      const Message span(s.bytes);
      spans.emplace_back(unzigzag(span.one(1).value), span.one(2).value);
    }
    std::vector<std::int64_t> deltas;
    for (const auto& d : h.all(13)) deltas.push_back(unzigzag(d.value));
    if (empty) {
      EXPECT_THAT(classic, testing::Each(0));
      EXPECT_THAT(spans, IsEmpty());
    } else {
      EXPECT_THAT(classic, ElementsAre(0, 3, 3, 5, 5, 5, 5, 5));
      EXPECT_THAT(spans, ElementsAre(std::pair(-2, 1U), std::pair(1, 1U), std::pair(4, 1U)));
      EXPECT_THAT(deltas, ElementsAre(3, -1, 298));
    }
  }
}

TEST(PromProto, WhatIsNotKnownIsNoZero) {
  static constexpr MetricDesc kNoSum{"a", MetricType::summary, ""}, kNoCount{"b", MetricType::summary, ""},
      kHistogram{"c", MetricType::histogram, ""};
  std::string bytes;
  PromProto().encode(snapshot_of([](auto& o) {
                       o.set_labels(kNoSum, 4, {}, Part::count);
                       o.set_labels(kNoCount, 4, {}, Part::sum);
                       const Label end[] = {{"le", "+Inf"}};
                       o.set_labels(kHistogram, 3, end, Part::bucket);
                       o.set_labels(kHistogram, 3, {}, Part::count);
                     }),
                     bytes);
  const auto families = families_of(bytes);
  ASSERT_EQ(families.size(), 2U);  // without a count there is nothing to say
  const Message summary(Message(Message(families[0]).one(kMetricField).bytes).one(4).bytes),
      histogram(Message(Message(families[1]).one(kMetricField).bytes).one(7).bytes);
  EXPECT_EQ(summary.one(1).value, 4U);
  EXPECT_TRUE(std::isnan(summary.one(2).real()));
  EXPECT_EQ(histogram.one(1).value, 3U);
  EXPECT_TRUE(std::isnan(histogram.one(2).real()));
}

TEST(PromProto, Exemplars) {
  struct Case {
    const char* name;
    int bounds;
    std::vector<std::uint32_t> buckets;
    std::size_t classic, of_native;
  };
  for (const auto& c : {Case{"classic", 3, {1}, 3, 0}, Case{"classic, also of +Inf", 3, {1, 3}, 4, 0},
                        Case{"native beside classic", 8, {0, 1, 8}, 9, 3}, Case{"none", 8, {}, 8, 0}}) {
    SCOPED_TRACE(c.name);
    std::vector<double> bounds;
    for (int i = 0; i < c.bounds; ++i) bounds.push_back(std::ldexp(1.0, i));
    const std::vector<std::uint64_t> counts(bounds.size() + 1, 1);
    std::vector<Exemplar> exemplars;
    for (const auto at : c.buckets)
      exemplars.push_back(
          {at, at < bounds.size() ? bounds[at] : 1e6, 1'700'000'000'250, {{"comm", "fio"}, {"pid", "1"}}});
    std::string bytes;
    PromProto().encode(snapshot_of([&](auto& o) { o.histogram(kWait, {bounds, counts, 1, exemplars}, "sda"); }), bytes);
    const auto families = families_of(bytes);
    const Message wait(families.at(0)), metric(wait.one(4).bytes), h(metric.one(7).bytes);
    const auto check = [&](std::string_view message, double value) {
      const Message e(message), label(e.all(1).at(0).bytes), time(e.one(3).bytes);
      EXPECT_EQ(e.all(1).size(), 2U);
      EXPECT_EQ(label.one(1).bytes, "comm");
      EXPECT_EQ(label.one(2).bytes, "fio");
      EXPECT_EQ(e.one(2).real(), value);
      EXPECT_EQ(time.one(1).value, 1'700'000'000U);
      EXPECT_EQ(time.one(2).value, 250'000'000U);
    };
    const auto buckets = h.all(3), of_native = h.all(16);
    ASSERT_EQ(buckets.size(), c.classic);
    for (std::uint32_t at = 0; at < buckets.size(); ++at) {
      const Message bucket(buckets[at].bytes);
      EXPECT_EQ(bucket.one(1).value, at + 1);
      const auto given = std::ranges::find(exemplars, at, &Exemplar::at);
      ASSERT_EQ(bucket.all(3).size(), given == exemplars.end() ? 0U : 1U);
      if (given != exemplars.end()) check(bucket.one(3).bytes, given->value);
    }
    ASSERT_EQ(of_native.size(), c.of_native);
    for (std::size_t i = 0; i < of_native.size(); ++i) check(of_native[i].bytes, exemplars[i].value);
  }
}

TEST(PromProto, SeriesThatComeAndGo) {
  PromProto kept;
  BatchWriter writer("test");
  for (const int count : {3, 1, 0, 5}) {
    writer.begin(kSecond, 1);
    for (int i = 0; i < count; ++i) writer.set(kCpu, i, std::to_string(i));
    writer.set(kTemperature, count);
    const Snapshot snapshot{1, kSecond, 0, {writer.finish({}, 0, 0)}};
    std::string got, fresh;
    kept.encode(snapshot, got);
    PromProto().encode(snapshot, fresh);
    EXPECT_EQ(got, fresh);
    EXPECT_EQ(families_of(got).size(), count == 0 ? 1U : 2U);
  }
}

TEST(Zstd, ComesBack) {
  if (const auto usable = zstd_usable(); !usable) GTEST_SKIP() << usable.error().text;
  void* library = dlopen("libzstd.so.1", RTLD_NOW);
  const auto decompress = reinterpret_cast<std::size_t (*)(void*, std::size_t, const void*, std::size_t)>(
      dlsym(library, "ZSTD_decompress"));
  Zstd zstd;
  std::string text, packed = "what was there before";
  for (const std::size_t size : {0UL, 1UL, 100UL, 300'000UL, 5UL}) {
    text.clear();
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i * i % 23);
    ASSERT_TRUE(zstd.compress(text, packed));
    std::string back(size + 1, '\0');
    back.resize(decompress(back.data(), back.size(), packed.data(), packed.size()));
    EXPECT_EQ(back, text);
    if (size > 1000) {
      EXPECT_LT(packed.size(), size / 10);
    }
  }
}

}  // namespace
}  // namespace vitald
