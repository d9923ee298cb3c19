// SPDX-License-Identifier: Apache-2.0
// What changed on a host of many series, most of which twitch all the time: the fault is among the first five.
#include "rules/explain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "core/clock.h"
#include "rules/history/store.h"

namespace vitald {
namespace {

constexpr std::int64_t kStepMs = 5'000, kHourMs = 3'600'000, kFaultMs = 300'000;

TEST(Explain, Distance) {
  struct Case {
    const char* name;
    std::vector<double> a, b;
    double want;
  };
  const Case cases[] = {
      {"the same", {1, 2, 3}, {3, 2, 1}, 0},      {"apart", {1, 2}, {3, 4, 5}, 1},
      {"half", {1, 1, 3, 3}, {3, 3, 3, 3}, 0.5},  {"of different sizes", {1, 2, 3, 4}, {1, 2}, 0.5},
      {"ties", {0, 0, 0, 5}, {0, 0, 5, 5}, 0.25}, {"one is empty", {}, {1}, 0},
  };
  for (auto c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_DOUBLE_EQ(ks_distance(c.a, c.b), c.want);
  }
}

struct Family {
  const char* name;
  bool counter = true, single = false;
  double level = 1, drift = 0;
  bool appears = false;
};
constexpr Family kFamilies[] = {
    {"cpu_seconds_total", true, false, 0.1},
    {"irq_total", true, false, 100},
    {"softirq_total", true, false, 30},
    {"disk_busy_seconds_total", true, false, 0.02},
    {"disk_bytes_total", true, false, 1e5},
    {"net_packets_total", true, false, 500},
    {"net_drop_total", true, false, 0},
    {"temp_celsius", false, false, 50},
    {"fan_rpm", false, false, 3000},
    {"node_vmstat_pgfault", true, true, 2000},
    {"node_vmstat_pswpin", true, true, 0},
    {"node_vmstat_oom_kill", true, true, 0},
    {"memory_available_bytes", false, true, 8e9},
    {"forks_total", true, true, 10},
    {"load1", false, true, 0.5},
    {"fs_avail_bytes", false, false, 0, 4096},  // grows for ever
    {"owner_cpu_seconds_total", true, false, 0, 0, true},
    {"mount_avail_bytes", false, false, 0, 0, true},
    {"new_a_bytes", false, true, 0, 0, true},
    {"new_b_bytes", false, true, 0, 0, true},
    {"new_c_bytes", false, true, 0, 0, true},
    {"new_d_bytes", false, true, 0, 0, true},
    {"new_e_bytes", false, true, 0, 0, true},
    {"new_f_bytes", false, true, 0, 0, true},
    {"new_info", false, true, 0, 0, true},
    {"process_cpu_seconds_total", true, true, 0.01},
    {"latency_seconds_sum", true, false, 0.3},
    {"latency_seconds_bucket", true, false, 0.3},
};

// A host, the fault in its last five minutes. `fault(family, item, in_fault)` may change a series' rate or level: what
// it gives is added.
class Host {
 public:
  using Fault = std::function<double(std::string_view family, int item)>;

  explicit Host(const Fault& fault, int width = 10, std::int64_t length_ms = 5 * kFaultMs + 60'000)
      : end_ms_(length_ms) {
    History::Settings settings;
    settings.limit_bytes = std::size_t{64} << 20;
    history = std::make_unique<History>(settings);
    std::mt19937 random(7);
    std::uniform_real_distribution<double> noise(0.8, 1.2);
    std::map<std::string, double> totals;
    for (std::int64_t t = kStepMs; t <= end_ms_; t += kStepMs) {
      const bool bad = t > end_ms_ - kFaultMs;
      writer_.begin(t * 1'000'000);
      writer_.use(pool_);
      for (const auto& f : kFamilies)
        for (int item = 0; item < (f.single ? 1 : width); ++item) {
          const auto more = bad ? fault(f.name, item) : 0;
          if (f.appears && more <= 0) continue;
          const double rate = std::max(0.0, f.level * noise(random) * (1 + 0.1 * item) + more);
          auto& total = totals[fmt::format("{} {}", f.name, item)];
          total += f.counter ? rate * static_cast<double>(kStepMs) / 1e3 : f.drift;
          const auto label = fmt::format("{}", item);
          const Label labels[] = {{"item", label}};
          writer_.set_labels(pool_->get(f.name, f.counter ? MetricType::counter : MetricType::gauge, "help"),
                             f.counter ? total : rate + total, labels);
        }
      Snapshot s;
      s.boot_ns = t * 1'000'000;
      s.wall_ns = t * 1'000'000;
      s.batches.push_back(writer_.finish({}, 0, 0));
      history->begin(s);
      history->end();
    }
  }

  Explanation changes(std::size_t limit = 5, std::function<void(ExplainAsk&)> change = {}) {
    ExplainAsk ask;
    ask.end_ms = end_ms_;
    ask.start_ms = end_ms_ - kFaultMs;
    ask.baseline_end_ms = ask.start_ms;
    ask.baseline_start_ms = ask.start_ms - 4 * kFaultMs;
    ask.limit = limit;
    if (change) change(ask);
    auto found = explain(ask, *history->view(), {});
    EXPECT_TRUE(found);
    return found ? std::move(*found) : Explanation{};
  }

  std::unique_ptr<History> history;

 private:
  std::int64_t end_ms_;
  BatchWriter writer_{"test"};
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

TEST(Explain, TheFaultIsAmongTheFirstFive) {
  struct Case {
    const char* name;
    std::string_view family;
    int item;
    double more;
  };
  // Of one of ten devices, the rest of which go on as before.
  const Case cases[] = {
      {"a hog on a CPU", "cpu_seconds_total", 3, 0.9},
      {"an owner that came with it", "owner_cpu_seconds_total", 5, 0.9},
      {"an interrupt storm", "irq_total", 7, 20'000},
      {"a disk that never rests", "disk_busy_seconds_total", 2, 0.9},
      {"packets that are dropped", "net_drop_total", 1, 40},
      {"heat", "temp_celsius", 4, 40},
      {"a fan that stands still", "fan_rpm", 6, -1e9},
      {"swapping", "node_vmstat_pswpin", 0, 500},
      {"memory goes", "memory_available_bytes", 0, -7e9},
      {"a fork storm", "forks_total", 0, 3000},
      {"slow answers", "latency_seconds_sum", 9, 30},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Host host([&](std::string_view family, int item) { return family == c.family && item == c.item ? c.more : 0; });
    const auto found = host.changes();
    ASSERT_FALSE(found.changes.empty());
    const auto at = std::ranges::find_if(found.changes, [&](const Change& change) {
      return change.labels.name() == c.family && change.labels.get("item") == fmt::format("{}", c.item);
    });
    ASSERT_NE(at, found.changes.end());
    EXPECT_EQ(at - found.changes.begin(), 0) << "nothing else happened";
    EXPECT_GT(at->score, 0.3);
    if (found.changes.size() > 1) {
      EXPECT_LT(found.changes[1].score, 0.25) << found.changes[1].labels.text();
    }
    EXPECT_EQ(at->appeared, c.family == "owner_cpu_seconds_total");
  }
}

// Kills every now and then leave most samples as they were; five other changes, each in all of its samples, are
// smaller.
TEST(Explain, WhatIsRareAndNewIsSeen) {
  const std::map<std::string_view, double> others = {{"cpu_seconds_total", 0.2},
                                                     {"irq_total", 200},
                                                     {"softirq_total", 60},
                                                     {"disk_busy_seconds_total", 0.05},
                                                     {"disk_bytes_total", 2e5}};
  for (const int times : {1, 2, 8}) {
    SCOPED_TRACE(times);
    int samples = 0;
    Host host([&](std::string_view family, int item) -> double {
      if (family == "node_vmstat_oom_kill") return ++samples % 7 == 1 && samples / 7 < times ? 0.2 : 0;
      const auto at = others.find(family);
      return at != others.end() && item == 3 ? at->second : 0;
    });
    const auto found = host.changes(8);
    const auto at = std::ranges::find(found.changes, "node_vmstat_oom_kill",
                                      [](const Change& change) { return change.labels.name(); });
    ASSERT_NE(at, found.changes.end());
    // One or two of so many samples may be chance.
    EXPECT_EQ(at - found.changes.begin(), times == 8 ? 0 : 5);
  }
}

// A service that starts brings many gauges; what it does to the others is no less among the first five.
TEST(Explain, ManyThatCameLeaveRoomForTheFault) {
  Host host([](std::string_view family, int item) {
    return family.starts_with("new") ? 1.0 : family == "temp_celsius" && item == 4 ? 9.0 : 0.0;
  });
  const auto found = host.changes(20);
  const auto place = [&](std::string_view family) {
    return std::ranges::find(found.changes, family, [](const Change& c) { return c.labels.name(); }) -
           found.changes.begin();
  };
  const auto came = std::ranges::count_if(found.changes, [](const Change& c) { return std::isnan(c.before); });
  EXPECT_EQ(came, 6) << "none is lost";
  EXPECT_LT(place("temp_celsius"), 2) << "one that came may stand before it";
  EXPECT_LE(std::count_if(found.changes.begin(), found.changes.begin() + 5,
                          [](const Change& c) { return std::isnan(c.before); }),
            1);
  EXPECT_EQ(place("new_info"), static_cast<std::ptrdiff_t>(found.changes.size())) << "it is 1, and says no more";
}
// A gauge that came with the trouble has no baseline.
TEST(Explain, AGaugeThatCameIsTold) {
  Host host([](std::string_view family, int item) {
    return family == "mount_avail_bytes" && item == 4 ? 4096 : family == "forks_total" ? 3000 : 0.0;
  });
  const auto found = host.changes();
  ASSERT_GE(found.changes.size(), 2U);
  EXPECT_EQ(found.changes[0].labels.name(), "forks_total") << "what changed for sure comes first";
  EXPECT_EQ(found.changes[1].labels.text(), "mount_avail_bytes{item=\"4\"}");
  EXPECT_TRUE(found.changes[1].appeared);
  EXPECT_TRUE(std::isnan(found.changes[1].before)) << "nobody knows";
  EXPECT_DOUBLE_EQ(found.changes[1].now, 4096);
  EXPECT_NEAR(found.changes[1].score, 0.4, 1e-9) << "it has not moved since";
  // The window begins two samples late.
  const auto later = host.changes(5, [](ExplainAsk& a) {
    a.start_ms += 2 * kStepMs;
    a.baseline_end_ms += 2 * kStepMs;
  });
  EXPECT_TRUE(std::ranges::any_of(
      later.changes, [](const Change& c) { return c.labels.name() == "mount_avail_bytes" && c.appeared; }));
}

// A collector or a probe that is turned on or off, or a vitald that has just begun, is no change of the host.
TEST(Explain, WhatCameWithItsCollectorDidNotAppear) {
  struct Case {
    const char* name;
    int from, to;                // rounds of the second feed; the window is the last 30 of 60
    int series_from, series_to;  // and of one of its counters and gauges
    int baseline_from;           // the first round of the baseline
    std::string_view want;
  };
  const Case cases[] = {
      {"the collector is turned on", 30, 60, 30, 60, 0, ""},
      {"and the series is late", 30, 60, 40, 60, 0, ""},
      {"it is turned off", 0, 31, 0, 31, 0, ""},
      {"and the series goes before", 0, 31, 0, 27, 0, ""},
      {"one sample in the baseline", 29, 60, 29, 60, 0, ""},
      {"that is all the baseline there is", 0, 60, 0, 60, 29, ""},
      {"the series comes", 0, 60, 33, 60, 0, "x_bytes appeared, x_total appeared"},
      {"with a sample in the baseline", 0, 60, 29, 60, 0, "x_bytes appeared, x_total appeared"},
      {"the series goes", 0, 60, 0, 29, 0, "x_total gone"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    History::Settings settings;
    settings.limit_bytes = std::size_t{64} << 20;
    History history(settings);
    BatchWriter one("one"), two("two");
    const auto pool = std::make_shared<DescPool>();
    for (int i = 0; i < 60; ++i) {
      Snapshot s;
      s.boot_ns = s.wall_ns = (i + 1) * kStepMs * 1'000'000;
      const auto set = [&](BatchWriter& writer, const char* name, MetricType type, double value) {
        writer.set_labels(pool->get(name, type, "help"), value, {});
      };
      one.begin(s.boot_ns);
      one.use(pool);
      set(one, "calm_total", MetricType::counter, 10.0 * i);
      s.batches.push_back(one.finish({}, 0, 0));
      if (i >= c.from && i < c.to) {
        two.begin(s.boot_ns);
        two.use(pool);
        set(two, "other_total", MetricType::counter, 10.0 * i);
        if (i >= c.series_from && i < c.series_to) {
          set(two, "x_total", MetricType::counter, 70.0 * i);
          set(two, "x_bytes", MetricType::gauge, 7 + i % 2);
        }
        s.batches.push_back(two.finish({}, 0, 0));
      }
      history.begin(s);
      history.end();
    }
    ExplainAsk ask;
    ask.baseline_start_ms = (c.baseline_from + 1) * kStepMs;
    ask.start_ms = ask.baseline_end_ms = 31 * kStepMs - 1;
    ask.end_ms = 60 * kStepMs;
    const auto claims_of = [&] {
      const auto found = explain(ask, *history.view(), {});
      EXPECT_TRUE(found);
      std::vector<std::string> claims;
      for (const auto& change : found ? found->changes : std::vector<Change>{})
        claims.push_back(fmt::format("{}{}", change.labels.name(),
                                     change.appeared ? " appeared"
                                     : change.gone   ? " gone"
                                                     : ""));
      std::ranges::sort(claims);
      return fmt::format("{}", fmt::join(claims, ", "));
    };
    EXPECT_EQ(claims_of(), c.want);
    // Asked for by name they did the same, and the others of their feed are no part of the answer.
    auto budget = promql::PatternBudget::of_request();
    for (const char* name : {"x_total", "x_bytes"}) ask.match.push_back(std::move(*parse_matchers(name, budget)));
    EXPECT_EQ(claims_of(), c.want) << "by name";
  }
}

TEST(Explain, ACalmHostHasNothingToExplain) {
  const auto found = Host([](auto, int) { return 0.0; }).changes();
  for (const auto& c : found.changes) EXPECT_LT(c.score, 0.2) << c.labels.text() << ' ' << c.distance << ' ' << c.size;
}

TEST(Explain, WhatIsAskedFor) {
  Host host([](std::string_view family, int item) {
    return family == "cpu_seconds_total" && item < 3 ? 0.9 - 0.2 * item
           : family == "process_cpu_seconds_total"   ? 1
                                                     : 0.0;
  });
  const auto plain = host.changes();
  EXPECT_EQ(plain.changes[0].labels.text(), "cpu_seconds_total{item=\"0\"}");
  EXPECT_EQ(plain.changes[0].others, 2U);
  EXPECT_TRUE(plain.changes[0].rate);
  EXPECT_NEAR(plain.changes[0].now, 1.0, 0.02);
  EXPECT_NEAR(plain.changes[0].before, 0.1, 0.01);
  EXPECT_EQ(
      std::ranges::count_if(plain.changes, [](const Change& c) { return c.labels.name() == "cpu_seconds_total"; }), 1);
  const auto each = host.changes(3, [](ExplainAsk& a) { a.each_series = true; });
  EXPECT_EQ(each.changes[2].labels.text(), "cpu_seconds_total{item=\"2\"}");
  const auto is_own = [](const Change& c) { return c.labels.name() == "process_cpu_seconds_total"; };
  EXPECT_TRUE(std::ranges::none_of(plain.changes, is_own));
  EXPECT_TRUE(std::ranges::any_of(host.changes(3, [](ExplainAsk& a) { a.self = true; }).changes, is_own));
  const auto chosen = host.changes(5, [](ExplainAsk& a) {
    auto budget = promql::PatternBudget::of_request();
    a.match.push_back(std::move(*parse_matchers("irq_total", budget)));
    a.each_series = true;
  });
  EXPECT_EQ(chosen.series, 10U);
  // Nothing is compared with a baseline of which there are no samples.
  const auto none = host.changes(5, [](ExplainAsk& a) {
    a.baseline_start_ms = -kHourMs;
    a.baseline_end_ms = -kHourMs / 2;
    auto budget = promql::PatternBudget::of_request();
    a.match.push_back(std::move(*parse_matchers("temp_celsius", budget)));
  });
  EXPECT_TRUE(none.changes.empty());
  EXPECT_EQ(none.too_short, 10U);
}

TEST(Explain, IsQuickAndEndsWhenNobodyWaits) {
  Host host([](std::string_view family, int) { return family == "cpu_seconds_total" ? 0.5 : 0; }, 100, kHourMs);
  // Of this thread: others may have the machine meanwhile.
  const auto begin_ns = SystemClock::read(CLOCK_THREAD_CPUTIME_ID);
  const auto found = host.changes();
  const auto took_ms = static_cast<double>(SystemClock::read(CLOCK_THREAD_CPUTIME_ID) - begin_ns) / 1e6;
  EXPECT_GE(found.series, 900U);
  fmt::print("{} series of an hour in {:.1f} ms of CPU\n", found.series, took_ms);
  EXPECT_LT(took_ms, 1'000) << "50 ms where it is optimized, which this may not be";
  ExplainAsk ask;
  ask.end_ms = kHourMs;
  ask.start_ms = kHourMs / 2;
  ask.baseline_end_ms = ask.start_ms;
  QueryLimits limits;
  limits.given_up = [] { return true; };
  const auto refused = explain(ask, *host.history->view(), limits);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, QueryError::Kind::given_up);
}

}  // namespace
}  // namespace vitald
