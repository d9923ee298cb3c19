// SPDX-License-Identifier: Apache-2.0
#include "core/batch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace vitald {
namespace {

constexpr MetricDesc kCpu{"cpu_seconds_total", MetricType::counter, "CPU.", "mode,cpu"};
constexpr MetricDesc kUp{"up", MetricType::gauge, "Up."};
constexpr MetricDesc kLatency{"latency_seconds", MetricType::histogram, "Latency.", "device"};

std::string text(const Batch& b) {
  std::string out;
  for (const auto& s : b.layout->samples()) out += fmt::format("{}{}\n", b.layout->prefix(s), b.values[s.value]);
  return out;
}

template <class F>
BatchPtr run(BatchWriter& w, F emit) {
  w.begin(1);
  emit(w);
  return w.finish({}, 0, 0);
}

TEST(Batch, LabelsAreSortedAndEscaped) {
  BatchWriter w("t");
  const auto b = run(w, [](auto& out) {
    out.set(kCpu, 1.5, "idle", "0");
    out.set(kCpu, 2, "a\"b\\c\nd", "\xff");
    out.set(kCpu, 3, "x\xff\xfe y\xc3", "\xe2\x82\xacz");
    out.set(kUp, 1);
  });
  EXPECT_EQ(text(*b),
            "cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1.5\n"
            "cpu_seconds_total{cpu=\"\xEF\xBF\xBD\",mode=\"a\\\"b\\\\c\\nd\"} 2\n"
            "cpu_seconds_total{cpu=\"\xE2\x82\xACz\",mode=\"x\xEF\xBF\xBD y\xEF\xBF\xBD\"} 3\n"
            "up 1\n");
  const auto labels = b->layout->labels(b->layout->samples()[1]);
  EXPECT_EQ(labels[1].value, "a\"b\\c\nd");
}

TEST(Batch, SteadyStateKeepsTheLayout) {
  BatchWriter w("t");
  const auto emit = [](auto& out) {
    out.set(kCpu, 1, "idle", "0");
    out.set(kUp, 1);
  };
  const auto a = run(w, emit), b = run(w, emit);
  EXPECT_EQ(a->layout, b->layout);
}

TEST(Batch, AnyChangeMakesANewLayout) {
  using Emit = void (*)(BatchWriter&);
  const Emit runs[] = {
      [](BatchWriter& o) { o.set(kCpu, 1, "idle", "0"), o.set(kUp, 2); },
      [](BatchWriter& o) { o.set(kCpu, 1, "idle", "1"), o.set(kUp, 2); },
      [](BatchWriter& o) { o.set(kUp, 2); },
      [](BatchWriter&) {},
      [](BatchWriter& o) { o.set(kUp, 2), o.set(kCpu, 1, "idle", "0"), o.set(kCpu, 1, "user", "0"); },
      [](BatchWriter& o) { o.set(kUp, 2), o.set(kCpu, 1, "idle", "0"); },
      [](BatchWriter& o) { o.set(kUp, 2), o.set(kCpu, 1, "idle", "0"), o.set(kCpu, 5, "user", "00"); },
  };
  BatchWriter kept("t");
  for (int i = 0; i < 50; ++i) {  // every order of neighbours, also equal ones
    const auto emit = runs[static_cast<std::size_t>(i * 5 + i / 7) % std::size(runs)];
    BatchWriter fresh("t");
    EXPECT_EQ(text(*run(kept, emit)), text(*run(fresh, emit))) << i;
  }
}

TEST(Batch, OldSnapshotsSurviveChange) {
  BatchWriter w("t");
  const auto a = run(w, [](auto& o) { o.set(kCpu, 1, "idle", "0"); });
  run(w, [](auto& o) { o.set(kUp, 1); });
  EXPECT_EQ(text(*a), "cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1\n");
}

TEST(Batch, DuplicateSeriesAreDroppedAndTold) {
  BatchWriter w("t");
  const auto b = run(w, [](auto& o) { o.set(kCpu, 1, "idle", "0"), o.set(kCpu, 2, "idle", "0"), o.set(kUp, 3); });
  EXPECT_EQ(text(*b), "cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1\nup 3\n");
  ASSERT_EQ(b->health.problems.size(), 1U);
  EXPECT_EQ(b->health.problems[0].text, "emitted twice, first one kept: cpu_seconds_total{cpu=\"0\",mode=\"idle\"}");
}

TEST(Batch, HistogramBecomesClassicSamples) {
  BatchWriter w("t");
  const double bounds[] = {0.001, 1};
  const std::uint64_t counts[] = {3, 0, 2};
  const auto b = run(w, [&](auto& o) { o.histogram(kLatency, {bounds, counts, 7.5}, "sda"); });
  EXPECT_EQ(text(*b),
            "latency_seconds_bucket{device=\"sda\",le=\"0.001\"} 3\n"
            "latency_seconds_bucket{device=\"sda\",le=\"1\"} 3\n"
            "latency_seconds_bucket{device=\"sda\",le=\"+Inf\"} 5\n"
            "latency_seconds_sum{device=\"sda\"} 7.5\n"
            "latency_seconds_count{device=\"sda\"} 5\n");
  EXPECT_EQ(b->layout->name(b->layout->samples()[0]), "latency_seconds_bucket");
}

TEST(Batch, RunTimeDescriptorsOutliveTheirPool) {
  BatchWriter w("t");
  BatchPtr b;
  {
    const auto pool = std::make_shared<DescPool>();
    b = run(w, [&](auto& o) {
      o.use(pool);
      const Label labels[] = {{"zone", "1"}, {"a", "x"}};
      o.set_labels(pool->get("made_up_bytes", MetricType::gauge, "Made up."), 4, labels);
    });
  }
  EXPECT_EQ(text(*b), "made_up_bytes{a=\"x\",zone=\"1\"} 4\n");
  EXPECT_EQ(b->layout->samples()[0].family->help, "Made up.");
}

constexpr MetricDesc kForeign{"h", MetricType::histogram, ""};

TEST(Batch, HistogramsMadeElsewhere) {
  BatchWriter w("t");
  const Label labels[] = {{"a", "x"}, {"le", "+Inf"}};
  BatchPtr b;
  for (int i = 0; i < 2; ++i)
    b = run(w, [&](auto& o) {
      o.set_labels(kForeign, 3, labels, Part::bucket);
      o.set_labels(kForeign, 1.5, std::span(labels).first(1), Part::sum);
      o.set_labels(kForeign, 3, std::span(labels).first(1), Part::count);
    });
  EXPECT_EQ(text(*b), "h_bucket{a=\"x\",le=\"+Inf\"} 3\nh_sum{a=\"x\"} 1.5\nh_count{a=\"x\"} 3\n");
  EXPECT_EQ(b->layout->samples()[1].part, Part::sum);
}

}  // namespace
}  // namespace vitald
