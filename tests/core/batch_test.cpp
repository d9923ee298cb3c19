// SPDX-License-Identifier: Apache-2.0
#include "core/batch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/layout_map.h"
#include "core/snapshot.h"

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

// A label that is empty is none, for whoever reads it: such a series is the one without.
TEST(Batch, AnEmptyLabelMakesNoOtherSeries) {
  BatchWriter w("t");
  for (int i = 0; i < 3; ++i) {
    const auto b = run(w, [&](auto& o) {
      o.set(kCpu, 1, "idle", ""), o.set(kCpu, 2, "", "0");
      if (i == 1) o.set(kUp, 1);  // another layout
      const Label mode[] = {{"mode", "idle"}}, cpu[] = {{"cpu", "0"}, {"mode", ""}, {"x", ""}};
      o.set_labels(kCpu, 3, mode), o.set_labels(kCpu, 4, cpu);
    });
    EXPECT_EQ(text(*b), std::string("cpu_seconds_total{cpu=\"\",mode=\"idle\"} 1\n"
                                    "cpu_seconds_total{cpu=\"0\",mode=\"\"} 2\n") +
                            (i == 1 ? "up 1\n" : ""));
    ASSERT_EQ(b->health.problems.size(), 2U);
    EXPECT_EQ(b->health.problems[0].text, "emitted twice, first one kept: cpu_seconds_total{mode=\"idle\"}");
  }
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

// Exemplar::at is the number of the bucket before and the index of its value after.
TEST(Batch, Exemplars) {
  const double bounds[] = {0.001, 1};
  const std::uint64_t counts[] = {3, 1, 2};
  using Labels = decltype(Exemplar::labels);
  const std::string long_name(120, 'x'), many_bytes = [] {
    std::string s;
    for (int i = 0; i < 100; ++i) s += "\u00fc";  // a character, two bytes
    return s;
  }();
  struct Case {
    const char* name;
    std::vector<Exemplar> given;
    std::vector<std::pair<std::uint32_t, Labels>> want;
    std::size_t problems;
  };
  const Case cases[] = {
      {"of two buckets", {{0, 0.001, 5, {{"comm", "a"}}}, {2, 1.5, 6, {}}}, {{1, {{"comm", "a"}}}, {3, {}}}, 0},
      {"the bound above is in it", {{1, 1, 5, {}}}, {{2, {}}}, 0},
      {"the bound below is not", {{1, 0.001, 5, {}}}, {}, 1},
      {"beyond its bucket", {{0, 0.5, 5, {}}, {1, 2, 5, {}}}, {}, 2},
      {"no number", {{0, NAN, 5, {}}, {2, NAN, 5, {}}}, {}, 2},
      {"no such bucket", {{3, 5, 5, {}}}, {}, 1},
      {"two of one bucket, and back", {{1, 0.5, 5, {}}, {1, 0.6, 5, {}}, {0, 0, 5, {}}}, {{2, {}}}, 2},
      {"what has no room is left out",
       {{1, 0.5, 5, {{"comm", "a"}, {"owner", long_name}, {"pid", "7"}}}},
       {{2, {{"comm", "a"}, {"pid", "7"}}}},
       0},
      {"128 characters have room",
       {{1, 0.5, 5, {{"12345678", long_name}, {"a", ""}}}},
       {{2, {{"12345678", long_name}}}},
       0},
      {"characters, not bytes", {{1, 0.5, 5, {{"owner", many_bytes}}}}, {{2, {{"owner", many_bytes}}}}, 0},
      {"any bytes", {{1, 0.5, 5, {{"comm", "a\xff\xfe\"\n"}}}}, {{2, {{"comm", "a\uFFFD\"\n"}}}}, 0},
  };
  BatchWriter w("t");
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto b = run(w, [&](auto& o) {
      o.set(kUp, 1);
      o.histogram(kLatency, {bounds, counts, 7.5, c.given}, "sda");
    });
    std::vector<std::pair<std::uint32_t, Labels>> got;
    for (const auto& e : b->exemplars) got.emplace_back(e.at, e.labels);
    EXPECT_EQ(got, c.want);
    EXPECT_EQ(b->health.problems.size(), c.problems);
    EXPECT_EQ(b->values[2], 4);
  }
  EXPECT_TRUE(run(w, [&](auto& o) { o.histogram(kLatency, {bounds, counts, 7.5}, "sda"); })->exemplars.empty());
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

TEST(Batch, HistogramsAreBlocksToo) {
  BatchWriter w("t");
  const double powers[] = {0.25, 0.5, 1}, odd[] = {0.1, 3};
  const std::uint64_t four[] = {1, 2, 3, 4}, three[] = {1, 2, 3};
  const auto emit = [&](auto& o) {
    o.set(kUp, 1);
    o.histogram(kLatency, {powers, four, 7.5}, "sda");
    o.histogram(kLatency, {powers, four, 7.5}, "sdb");
    const Label labels[] = {{"zone", "x"}};
    o.histogram_labels(kForeign, {odd, three, 1}, labels);
    o.histogram_labels(kForeign, {{}, std::span(three).first(1), 1}, {});
  };
  const auto b = run(w, emit);
  const auto blocks = b->layout->histograms();
  ASSERT_EQ(blocks.size(), 4U);
  EXPECT_EQ(blocks[0].first_sample, 1U);
  EXPECT_EQ(blocks[0].buckets, 4U);
  EXPECT_EQ(blocks[0].family, &kLatency);
  EXPECT_EQ(blocks[0].bounds->schema, 0);
  EXPECT_EQ(blocks[0].bounds->first, -2);  // the first bucket ends at 2^-2
  EXPECT_EQ(blocks[1].bounds, blocks[0].bounds);
  EXPECT_EQ(blocks[1].first_sample, 7U);
  EXPECT_EQ(blocks[2].bounds->schema, Bounds::kCustom);
  EXPECT_EQ(blocks[2].bounds->upper, (std::vector<double>{0.1, 3}));
  EXPECT_EQ(blocks[2].first_sample, 13U);
  EXPECT_EQ(blocks[3].buckets, 1U);
  EXPECT_EQ(b->layout->prefix(b->layout->samples()[13]), "h_bucket{le=\"0.1\",zone=\"x\"} ");
  // One more series before them: they move along.
  const auto c = run(w, [&](auto& o) { o.set(kCpu, 1, "idle", "0"), emit(o); });
  ASSERT_EQ(c->layout->histograms().size(), 4U);
  EXPECT_EQ(c->layout->histograms()[2].first_sample, 14U);
  // Without the first of them.
  const auto d = run(w, [&](auto& o) {
    o.set(kUp, 1);
    o.histogram(kLatency, {powers, four, 7.5}, "sdb");
  });
  ASSERT_EQ(d->layout->histograms().size(), 1U);
  EXPECT_EQ(d->layout->prefix(d->layout->samples()[d->layout->histograms()[0].first_sample]),
            "latency_seconds_bucket{device=\"sdb\",le=\"0.25\"} ");
}

// What is emitted is a list of numbers; lists that follow each other differ by what came and went.
constexpr MetricDesc kOwner{"owner_total", MetricType::counter, "Owner.", "owner,kind"};
constexpr MetricDesc kOwnerWait{"owner_wait_seconds", MetricType::histogram, "Owner.", "owner"};

void emit_owners(BatchWriter& o, const std::vector<int>& owners, double value) {
  const double bounds[] = {1, 2};
  const std::uint64_t counts[] = {static_cast<std::uint64_t>(value), 1, 1};
  for (const int n : owners) {
    const auto name = fmt::format("own\"er{}", n);
    for (const auto* kind : {"a", "b", "c"}) o.set(kOwner, value + n, name, kind);
    if (n % 5 == 0) o.histogram(kOwnerWait, {bounds, counts, value}, name);
    if (n % 97 == 0) o.set(kUp, value);
  }
}

TEST(Batch, WhatChangedIsMadeAnewAndTheRestIsShared) {
  std::uint32_t random = 1;
  const auto next = [&](std::uint32_t below) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % below;
  };
  std::vector<int> owners;
  for (int i = 1; i <= 60; ++i) owners.push_back(i);
  BatchWriter kept("t");
  BatchPtr before;
  std::size_t shared_layouts = 0, shared_samples = 0, samples = 0;
  for (int cycle = 0; cycle < 400; ++cycle) {
    for (auto changes = next(4); changes > 0; --changes) {
      const auto at = owners.begin() + next(static_cast<std::uint32_t>(owners.size()) + 1);
      switch (next(8)) {
        case 0: std::reverse(owners.begin(), at); break;
        case 1: owners.erase(at, at + next(static_cast<std::uint32_t>(owners.end() - at) + 1)); break;
        case 2:
        case 3:
          if (at != owners.end()) owners.erase(at);
          break;
        case 4:
          if (at != owners.end()) *at = static_cast<int>(next(500)) + 200;
          break;
        default: owners.insert(at, static_cast<int>(next(150)) + 1);  // sometimes one that is there: emitted twice
      }
    }
    const double value = cycle + 1;
    BatchWriter fresh("t");
    const auto batch = run(kept, [&](auto& o) { emit_owners(o, owners, value); });
    const auto want = run(fresh, [&](auto& o) { emit_owners(o, owners, value); });
    ASSERT_EQ(text(*batch), text(*want)) << cycle;
    ASSERT_EQ(batch->values, want->values);
    ASSERT_EQ(batch->health.problems, want->health.problems);
    ASSERT_EQ(batch->layout->value_count(), want->layout->value_count());
    ASSERT_EQ(batch->layout->histograms().size(), want->layout->histograms().size());
    for (std::size_t i = 0; i < want->layout->histograms().size(); ++i) {
      const auto &a = batch->layout->histograms()[i], &b = want->layout->histograms()[i];
      ASSERT_EQ(a.first_sample, b.first_sample);
      ASSERT_EQ(a.buckets, b.buckets);
      ASSERT_EQ(a.bounds->upper, b.bounds->upper);
    }
    ASSERT_EQ(*batch->layout->families(), *want->layout->families());
    for (std::size_t i = 0; i < want->layout->samples().size(); ++i) {
      const auto a = Layout::labels(batch->layout->samples()[i]), b = Layout::labels(want->layout->samples()[i]);
      ASSERT_TRUE(std::ranges::equal(a, b));
    }
    if (before) {
      // Applied to the layout before, the changes give this one.
      if (const auto changes = LayoutChange::between(*before->layout, *batch->layout)) {
        ++shared_layouts;
        std::vector<const SeriesInfo*> made;
        std::uint32_t from = 0;
        samples += batch->layout->samples().size();
        for (const auto& c : *changes) {
          for (; from < c.before; ++from) made.push_back(before->layout->samples()[from].series), ++shared_samples;
          ASSERT_EQ(made.size(), c.after);
          for (std::uint32_t i = 0; i < c.come; ++i) made.push_back(batch->layout->samples()[c.after + i].series);
          from += c.gone;
        }
        for (; from < before->layout->samples().size(); ++from)
          made.push_back(before->layout->samples()[from].series), ++shared_samples;
        ASSERT_EQ(made.size(), batch->layout->samples().size());
        for (std::size_t i = 0; i < made.size(); ++i) ASSERT_EQ(made[i], batch->layout->samples()[i].series);
      }
    }
    before = batch;
  }
  EXPECT_GT(shared_layouts, 60U);
  EXPECT_GT(shared_samples * 2, samples);
}

TEST(Batch, OneOfManyComesOrGoes) {
  constexpr int kOwners = 1000;
  struct Case {
    const char* name;
    std::vector<int> (*change)(std::vector<int>);
    std::uint32_t gone, come;  // of owners' samples
  };
  const Case cases[] = {
      {"at the front", [](auto v) { return v.insert(v.begin(), 1), v; }, 0, 3},
      {"in the middle", [](auto v) { return v.insert(v.begin() + 500, 1), v; }, 0, 3},
      {"at the end", [](auto v) { return v.push_back(1), v; }, 0, 3},
      {"the first goes", [](auto v) { return v.erase(v.begin()), v; }, 3, 0},
      {"one in the middle goes", [](auto v) { return v.erase(v.begin() + 500), v; }, 3, 0},
      {"the last goes", [](auto v) { return v.pop_back(), v; }, 3, 0},
      {"one for another", [](auto v) { return v[500] = 1, v; }, 3, 3},
      {"a hundred go", [](auto v) { return v.erase(v.begin() + 100, v.begin() + 200), v; }, 300, 0},
  };
  std::vector<int> owners;
  for (int i = 0; i < kOwners; ++i) owners.push_back(1001 + i * 500);  // no histogram, no `up`
  for (auto& n : owners)
    while (n % 5 == 0 || n % 97 == 0) ++n;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    BatchWriter w("t");
    const auto a = run(w, [&](auto& o) { emit_owners(o, owners, 1); });
    const auto b = run(w, [&](auto& o) { emit_owners(o, c.change(owners), 1); });
    const auto changes = LayoutChange::between(*a->layout, *b->layout);
    ASSERT_TRUE(changes);
    ASSERT_EQ(changes->size(), 1U);
    EXPECT_EQ((*changes)[0].gone, c.gone);
    EXPECT_EQ((*changes)[0].come, c.come);
    EXPECT_EQ(a->layout->families(), b->layout->families());
  }
}

constexpr MetricDesc kKernel{"kernel_total", MetricType::counter, "K.", "n", "", "/proc/stat"};

// One that takes another's place must not cost the others theirs: what they have cached of their series would go with
// it.
TEST(Batch, OneForAnotherAmongThousands) {
  struct Case {
    const char* name;
    std::size_t gone, come;  // of the rows at 100
  };
  constexpr std::size_t kRows = 6000;
  for (const auto& c : {Case{"one for one", 1, 1}, Case{"sixty for sixty", 60, 60}, Case{"twenty for one", 20, 1},
                        Case{"one for twenty", 1, 20}}) {
    SCOPED_TRACE(c.name);
    BatchWriter w("t");
    const auto emit = [](BatchWriter& o, std::size_t from, std::size_t to, std::string_view name) {
      for (auto i = from; i < to; ++i) o.set(kKernel, 1, fmt::format("{}{}", name, i));
    };
    const auto a = run(w, [&](auto& o) { emit(o, 0, kRows, "old"); });
    const auto b = run(w, [&](auto& o) {
      emit(o, 0, 100, "old");
      emit(o, 0, c.come, "new");
      emit(o, 100 + c.gone, kRows, "old");
    });
    const auto changes = LayoutChange::between(*a->layout, *b->layout);
    ASSERT_TRUE(changes);
    ASSERT_EQ(changes->size(), 1U);
    EXPECT_EQ((*changes)[0].gone, c.gone);
    EXPECT_EQ((*changes)[0].come, c.come);
  }
}

constexpr MetricDesc kKernelGauge{"kernel_now", MetricType::gauge, "K.", "", "", "/proc/stat"};

TEST(Batch, SinceWhenASeriesCounts) {
  constexpr std::int64_t kS = 1'000'000'000, kWall = 1'700'000'000 * kS;
  const auto since = [](const Batch& b, std::size_t i) { return Layout::since_wall_ms(b.layout->samples()[i]) / 1000; };
  BatchWriter w("t");
  const auto cycle = [&](std::int64_t s, std::initializer_list<std::pair<const char*, double>> counters) {
    w.begin(100 * kS + s * kS, kWall + s * kS);
    w.set(kUp, -static_cast<double>(s));
    w.set(kKernelGauge, -static_cast<double>(s));
    for (const auto& [name, value] : counters) w.set(kKernel, value, name);
    return w.finish({}, 0, 0);
  };
  const auto a = cycle(0, {{"a", 5}, {"b", 5}});
  EXPECT_EQ(since(*a, 0), 1'700'000'000);        // ours: since it is seen
  EXPECT_EQ(since(*a, 1), 1'700'000'000);        // a gauge counts nothing
  EXPECT_EQ(since(*a, 2), 1'700'000'000 - 100);  // the kernel's: since boot
  const auto b = cycle(10, {{"a", 5}, {"b", 6}});
  EXPECT_EQ(b->layout, a->layout) << "falling gauges change nothing";
  const auto c = cycle(20, {{"a", 5}, {"n", 6}, {"b", 7}});
  EXPECT_EQ(since(*c, 3), 1'700'000'020) << "came later";
  EXPECT_EQ(since(*c, 4), 1'700'000'000 - 100);
  const auto d = cycle(30, {{"a", 4}, {"n", 6}, {"b", 7}});
  EXPECT_EQ(since(*d, 2), 1'700'000'030) << "fell";
  EXPECT_EQ(since(*c, 2), 1'700'000'000 - 100) << "what was published stays";
  EXPECT_EQ(since(*d, 3), 1'700'000'020);
  const auto e = cycle(40, {{"a", 5}, {"b", 6}});
  EXPECT_EQ(since(*e, 2), 1'700'000'030);
  EXPECT_EQ(since(*e, 3), 1'700'000'040) << "fell in a cycle in which another went";
  const auto f = cycle(50, {{"z", 1}, {"b", 7}, {"a", 5}, {"y", 1}, {"x", 1}, {"w", 1}});
  EXPECT_EQ(since(*f, 2), 1'700'000'050);
  EXPECT_EQ(since(*f, 3), 1'700'000'040) << "moved, not new";
  EXPECT_EQ(since(*f, 4), 1'700'000'030);

  BatchWriter given("t");
  given.begin(kS, 0);
  given.set(kUp, 1);
  given.since(1234);
  given.set(kKernel, 1, "a");
  const auto g = given.finish({}, 0, 0);
  EXPECT_EQ(Layout::since_wall_ms(g->layout->samples()[0]), 0) << "not known";
  EXPECT_EQ(Layout::since_wall_ms(g->layout->samples()[1]), 1234);
}

TEST(Batch, NamesThatNobodyCouldRead) {
  static constexpr MetricDesc kOdd{"pgfault-huge", MetricType::untyped, "Odd."};
  static constexpr MetricDesc kNone{"", MetricType::untyped, ""};
  static constexpr MetricDesc kDigit{"9lives", MetricType::untyped, "", "9th,a:b"};
  static constexpr MetricDesc kTwice{"twice", MetricType::gauge, "", "a,b,a"};
  static constexpr MetricDesc kMore{"more", MetricType::gauge, "", "a"};
  static constexpr MetricDesc kSummary{"s", MetricType::summary, ""};
  struct Case {
    const char* name;
    std::function<void(BatchWriter&)> emit;
    std::string_view want, problem;
  };
  const Label state[] = {{"alertstate", "firing"}, {"alertname", "x"}, {"alertstate", "pending"}},
              own[] = {{"__name__", "other"}}, le[] = {{"le", "1"}, {"a", "b"}}, no_number[] = {{"le", "x"}},
              quantile[] = {{"quantile", "0.5"}}, nul[] = {{"a", std::string_view("x\0y", 3)}};
  const double down[] = {2, 1}, infinite[] = {1, INFINITY};
  const std::uint64_t counts[] = {1, 2, 3};
  const Case cases[] = {
      {"a kernel's word", [](auto& o) { o.set(kOdd, 3); }, "pgfault_huge 3\n",
       "a metric named 'pgfault-huge', which has other characters than a-z, A-Z, 0-9, _ and :; leaves as pgfault_huge"},
      {"none", [](auto& o) { o.set(kNone, 3); }, "", "a metric without a name; left out"},
      {"digits first", [](auto& o) { o.set(kDigit, 3, "x", "y"); }, "_9lives{_9th=\"x\",a_b=\"y\"} 3\n",
       "a metric named '9lives', which has other characters than a-z, A-Z, 0-9, _ and :; leaves as _9lives"},
      {"a label twice", [](auto& o) { o.set(kTwice, 1, "x", "y", "z"); }, "twice{a=\"x\",b=\"y\"} 1\n",
       "twice: the label 'a' twice in one series; the first stays"},
      {"an alert on alerts", [&](auto& o) { o.set_labels(kMore, 1, state); },
       "more{alertname=\"x\",alertstate=\"firing\"} 1\n",
       "more: the label 'alertstate' twice in one series; the first stays"},
      {"more values than names", [](auto& o) { o.set(kMore, 1, "x", "y"); }, "",
       "more: a label without a name (value 'y'); left out"},
      {"the name as label", [&](auto& o) { o.set_labels(kMore, 1, own); }, "more 1\n",
       "more: a label named '__name__'; left out, it is the metric's own"},
      {"le is a label like others elsewhere", [&](auto& o) { o.set_labels(kMore, 1, le); },
       "more{a=\"b\",le=\"1\"} 1\n", ""},
      {"a bucket without a number", [&](auto& o) { o.set_labels(kForeign, 1, no_number, Part::bucket); }, "",
       "h: a bucket has le 'x' in place of a number; left out"},
      {"a bucket without a bound", [&](auto& o) { o.set_labels(kForeign, 1, {}, Part::bucket); }, "",
       "h: a bucket has le '' in place of a number; left out"},
      {"a quantile without one", [&](auto& o) { o.set_labels(kSummary, 1, {}); }, "",
       "s: a quantile has quantile '' in place of a number; left out"},
      {"a sum with le", [&](auto& o) { o.set_labels(kForeign, 1, le, Part::sum); }, "h_sum{a=\"b\"} 1\n",
       "h: a label named 'le'; left out, its sum and count have none"},
      {"a sum with a quantile", [&](auto& o) { o.set_labels(kSummary, 1, quantile, Part::sum); }, "s_sum 1\n",
       "s: a label named 'quantile'; left out, its sum and count have none"},
      {"a value in a histogram", [&](auto& o) { o.set(kForeign, 1); }, "",
       "h: a plain value in a family that is a histogram; left out"},
      {"a bucket in a gauge", [&](auto& o) { o.set_labels(kMore, 1, le, Part::bucket); }, "",
       "more: a bucket in a family that is a gauge; left out"},
      {"a histogram in a gauge",
       [&](auto& o) {
         o.histogram(kMore, {{}, std::span(counts).first(1), 1}, "x");
       },
       "", "more: a histogram in a family that is a gauge; left out"},
      {"bounds that fall",
       [&](auto& o) {
         o.histogram_labels(kForeign, {down, counts, 1}, {});
       },
       "", "h: its bounds do not rise (1 after 2); left out"},
      {"a bound that is infinite",
       [&](auto& o) {
         o.histogram_labels(kForeign, {infinite, counts, 1}, {});
       },
       "", "h: its bounds do not rise (inf after 1); left out"},
      {"NUL ends a lexer's text", [&](auto& o) { o.set_labels(kMore, 1, nul); }, "more{a=\"x\xEF\xBF\xBDy\"} 1\n", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    BatchWriter w("t");
    for (int twice = 0; twice < 2; ++twice) {
      const auto b = run(w, [&](auto& o) {
        o.set(kUp, 0);
        c.emit(o);
        o.set(kCpu, 7, "idle", twice == 0 ? "0" : "1");  // another layout the second time
      });
      EXPECT_EQ(text(*b), "up 0\n" + std::string(c.want) +
                              fmt::format("cpu_seconds_total{{cpu=\"{}\",mode=\"idle\"}} 7\n", twice));
      EXPECT_EQ(b->health.problems.empty() ? "" : b->health.problems[0].text, c.problem);
    }
  }
}

TEST(Batch, ManyBadNamesAreCounted) {
  BatchWriter w("t");
  const auto pool = std::make_shared<DescPool>();
  const auto b = run(w, [&](auto& o) {
    o.use(pool);
    for (int i = 0; i < 100; ++i) o.set(pool->get(fmt::format("odd-{}", i), MetricType::gauge, ""), i);
  });
  EXPECT_EQ(b->layout->samples().size(), 100U);
  ASSERT_EQ(b->health.problems.size(), 21U);
  EXPECT_EQ(b->health.problems.back().text, "and 80 more like these");
}

TEST(Batch, EventsAreBoundedAndTheRestCounted) {
  BatchWriter w("t");
  const auto a = run(w, [](auto& o) { o.event({"oom_kill", 7, "killed", {{"comm", "java"}}}); });
  ASSERT_EQ(a->events.size(), 1U);
  EXPECT_EQ(*a->events[0], (Event{"oom_kill", 7, "killed", {{"comm", "java"}}}));
  const auto b = run(w, [](auto& o) {
    for (std::size_t i = 0; i < Batch::kMaxEvents + 3; ++i) o.event({"x", 0, "", {}});
  });
  EXPECT_EQ(b->events.size(), Batch::kMaxEvents);
  EXPECT_EQ(b->events_left_out, 3U);
  const auto c = run(w, [](auto&) {});
  EXPECT_TRUE(c->events.empty());
  EXPECT_EQ(c->events_left_out, 0U);
}

TEST(EventLog, NumbersWhatComesOnce) {
  EventLog log(3);
  const auto snapshot = [](std::initializer_list<BatchPtr> batches) {
    Snapshot s;
    s.batches = batches;
    return s;
  };
  const auto batch = [](const char* collector, std::int64_t boot_ns, std::initializer_list<const char*> events,
                        std::uint64_t left_out = 0) {
    auto b = std::make_shared<Batch>();
    b->collector = collector;
    b->layout = std::make_shared<Layout>();
    b->collected_boot_ns = boot_ns;
    b->events_left_out = left_out;
    for (const auto* e : events) b->events.push_back(std::make_shared<Event>(Event{e, boot_ns, "", {}}));
    return b;
  };
  const auto seen = [&](std::uint64_t after, std::size_t most) {
    std::string text;
    for (const auto& e : log.since(after, most))
      text += fmt::format("{} {} {};", e.sequence, e.collector, e.event->type);
    return text;
  };
  EXPECT_EQ(seen(0, 9), "");
  const auto late = batch("b", 1, {"x"});
  log.append(snapshot({batch("a", 1, {"p", "q"}), late}));
  EXPECT_EQ(seen(0, 9), "1 a p;2 a q;3 b x;");
  log.append(snapshot({batch("a", 2, {}), late}));  // a worker that did not answer in time: its last batch stays
  EXPECT_EQ(log.newest(), 3U);
  log.append(snapshot({batch("a", 3, {"r"}, 5)}));
  EXPECT_EQ(seen(0, 9), "2 a q;3 b x;4 a r;");
  EXPECT_EQ(seen(2, 9), "3 b x;4 a r;");
  EXPECT_EQ(seen(2, 1), "3 b x;");
  EXPECT_EQ(seen(4, 9), "");
  EXPECT_EQ(log.left_out(), 5U);
}

TEST(Layout, WithoutSome) {
  BatchWriter w("t");
  const double bounds[] = {1};
  const std::uint64_t counts[] = {1, 2};
  const auto b = run(w, [&](auto& o) {
    o.set(kUp, 0);
    o.histogram(kLatency, {bounds, counts, 1}, "a");
    o.set(kCpu, 7, "idle", "0");
    o.histogram(kLatency, {bounds, counts, 1}, "b");
  });
  const std::uint32_t out[] = {0, 2};
  auto copy = *b;
  copy.layout = b->layout->without(out);
  EXPECT_EQ(text(copy),
            "latency_seconds_bucket{device=\"a\",le=\"1\"} 1\nlatency_seconds_sum{device=\"a\"} 1\n"
            "latency_seconds_count{device=\"a\"} 3\ncpu_seconds_total{cpu=\"0\",mode=\"idle\"} 7\n"
            "latency_seconds_bucket{device=\"b\",le=\"1\"} 1\nlatency_seconds_bucket{device=\"b\",le=\"+Inf\"} 3\n"
            "latency_seconds_sum{device=\"b\"} 1\nlatency_seconds_count{device=\"b\"} 3\n");
  ASSERT_EQ(copy.layout->histograms().size(), 1U);
  EXPECT_EQ(copy.layout->histograms()[0].first_sample, 4U);
  EXPECT_EQ(*copy.layout->families(), (Layout::Families{&kCpu, &kLatency}));
  EXPECT_EQ(copy.layout->value_count(), b->layout->value_count());
}

TEST(LayoutMap, ComputesOncePerLayout) {
  BatchWriter w("t");
  const auto a = run(w, [](auto& o) { o.set(kUp, 1); })->layout;
  const auto b = run(w, [](auto& o) { o.set(kUp, 1), o.set(kCpu, 1, "idle", "0"); })->layout;
  LayoutMap<std::size_t> map;
  int made = 0;
  const auto size = [&](const auto& layout) {
    return map.of(layout, [&](const Layout& l) { return ++made, l.samples().size(); });
  };
  EXPECT_EQ(size(a), 1U);
  EXPECT_EQ(size(a), 1U);
  EXPECT_EQ(size(b), 2U);
  EXPECT_EQ(made, 2);
  map.forget_unused();
  EXPECT_EQ(size(b), 2U);
  map.forget_unused();
  EXPECT_EQ(map.size(), 1U);
  EXPECT_EQ(size(a), 1U);
  EXPECT_EQ(made, 3);
}

}  // namespace
}  // namespace vitald
