// SPDX-License-Identifier: Apache-2.0
#include "rules/history/store.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "rules/promql/eval.h"
#include "rules/promql/parser.h"

namespace vitald {
namespace {

using promql::Labels;

// One collector that emits `rows`, cycle by cycle.
class Host {
 public:
  void cycle(History& h, std::initializer_list<std::pair<const char*, double>> rows, std::int64_t after_ms = 5000,
             bool append = true) {
    boot_ms += after_ms;
    writer_.begin(boot_ms * 1'000'000);
    for (const auto& [device, value] : rows) writer_.set(kDesc, value, device);
    Snapshot s;
    s.boot_ns = boot_ms * 1'000'000;
    s.wall_ns = wall_ms() * 1'000'000;
    s.batches.push_back(writer_.finish({}, 0, 0));
    h.begin(s, append);
  }
  std::int64_t wall_ms() const { return boot_ms + wall_offset_ms; }

  std::int64_t boot_ms = 1'000'000, wall_offset_ms = 1'700'000'000'000;

 private:
  static constexpr MetricDesc kDesc{"x", MetricType::counter, "help", "device"};
  BatchWriter writer_{"host"};
};

struct Query {
  Query(std::string_view text, History& h) : expr(promql::compile(text, problems)), evaluator(*expr, h) {}
  // "a=1 b=2", "" when there is no result.
  std::string at(std::int64_t t_ms) {
    const auto v = evaluator.eval(t_ms);
    if (!v) return v.error().text;
    std::string out;
    for (const auto& s : v->vector->samples)
      out += std::string(v->vector->labels(s).get("device")) + "=" + promql::number_text(s.value) + " ";
    return out;
  }
  std::vector<promql::Problem> problems;
  promql::ExprPtr expr;
  promql::Evaluator evaluator;
};

TEST(HistoryBlock, ReadsBackBitForBit) {
  std::mt19937_64 random(1);
  const auto around = [&](double step) { return std::floor(static_cast<double>(random() % 200) * step); };
  struct Case {
    const char* name;
    double (*next)(double, std::mt19937_64&);
    std::size_t most_bytes;  // of 64 samples
  };
  const Case cases[] = {
      {"constant", [](double v, std::mt19937_64&) { return v; }, 32},
      {"packets", [](double v, std::mt19937_64& r) { return v + static_cast<double>(r() % 100); }, 96},
      {"pages in bytes",
       [](double v, std::mt19937_64& r) { return v + 4096.0 * (static_cast<double>(r() % 200) - 100); }, 96},
      {"bytes", [](double v, std::mt19937_64& r) { return v + static_cast<double>(r() % 30000); }, 160},
      {"cpu seconds",
       [](double v, std::mt19937_64& r) { return std::round((v + static_cast<double>(r() % 500) / 100) * 100) / 100; },
       160},
      {"anything", [](double, std::mt19937_64& r) { return std::bit_cast<double>(r() & 0xbfffffffffffffff); }, 544},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    double in[history::kBlock], out[history::kBlock];
    double v = around(1);
    for (auto& x : in) x = v = c.next(v, random);
    for (const int holes : {0, 1}) {
      if (holes) {
        in[0] = std::bit_cast<double>(history::kNoneBits);
        in[7] = promql::stale_marker();
        in[63] = std::bit_cast<double>(history::kNoneBits);
      }
      const auto b = history::Block::pack(in);
      EXPECT_LE(b.bytes(), c.most_bytes + (holes ? 16 : 0));
      b.unpack(out);
      for (std::size_t i = 0; i < history::kBlock; ++i)
        ASSERT_EQ(std::bit_cast<std::uint64_t>(in[i]), std::bit_cast<std::uint64_t>(out[i])) << i;
    }
  }
  double odd[history::kBlock] = {-0.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e300, 0.1, -1};
  double out[history::kBlock];
  history::Block::pack(odd).unpack(out);
  for (std::size_t i = 0; i < history::kBlock; ++i)
    EXPECT_EQ(std::bit_cast<std::uint64_t>(odd[i]), std::bit_cast<std::uint64_t>(out[i])) << i;
}

// The same numbers whether they lie in the head, in blocks or in both.
TEST(History, RangesAcrossBlocks) {
  History h({});
  Host host;
  Query count("count_over_time(x[25m])", h), sum("sum_over_time(x[25m])", h), rate("round(rate(x[1m]) * 1000)", h);
  for (int i = 1; i <= 1000; ++i) {
    host.cycle(h, {{"a", i}});
    const int n = std::min(i, 300);
    ASSERT_EQ(count.at(host.wall_ms()), "a=" + std::to_string(n) + " ") << i;
    ASSERT_EQ(sum.at(host.wall_ms()), "a=" + promql::number_text(n * (2.0 * i - n + 1) / 2) + " ") << i;
    if (i > 20) {
      ASSERT_EQ(rate.at(host.wall_ms()), "a=200 ") << i;
    }
  }
  // 25 min at 5 s are 300 samples: 5 or 6 blocks and the head.
  EXPECT_LE(h.sample_count(), 300u + 2 * 64 + 64);
}

TEST(History, GapsResetsAndGoneSeries) {
  History h({});
  Host host;
  Query now("x", h), past("x offset 10s", h), increase("increase(x[20s])", h), resets("resets(x[1m])", h);
  host.cycle(h, {{"a", 10}, {"b", 1}});
  host.cycle(h, {{"a", 20}, {"b", 2}});
  host.cycle(h, {{"a", 5}});  // a was reset, b is gone
  EXPECT_EQ(now.at(host.wall_ms()), "a=5 ");
  EXPECT_EQ(past.at(host.wall_ms()), "a=10 b=1 ");
  EXPECT_EQ(resets.at(host.wall_ms()), "a=1 b=0 ");
  host.cycle(h, {{"a", 6}, {"b", 9}});
  EXPECT_EQ(now.at(host.wall_ms()), "a=6 b=9 ");
  EXPECT_EQ(past.at(host.wall_ms()), "a=20 b=2 ");
  EXPECT_EQ(increase.at(host.wall_ms()), "a=21.333333333333332 b=9 ");
  host.cycle(h, {{"a", 7}}, 40'000);  // a pause: the machine slept
  EXPECT_EQ(past.at(host.wall_ms()), "a=6 b=9 ");
  EXPECT_EQ(increase.at(host.wall_ms()), "");
}

TEST(History, ClockThatIsSetBendsNoRate) {
  History h({});
  Host host;
  Query rate("rate(x[1m])", h), time("timestamp(x)", h);
  for (int i = 0; i < 30; ++i) host.cycle(h, {{"a", i * 5.0}});
  EXPECT_EQ(rate.at(host.wall_ms()), "a=1 ");
  host.wall_offset_ms -= 3'600'000;
  host.cycle(h, {{"a", 150}});
  EXPECT_EQ(rate.at(host.wall_ms()), "a=1 ");
  EXPECT_EQ(time.at(host.wall_ms()), "a=" + promql::number_text(static_cast<double>(host.wall_ms()) / 1000) + " ");
}

TEST(History, KeepsOnlyWhatIsAskedFor) {
  History h({});
  Host host;
  Query now("x{device=\"a\"}", h), past("rate(x{device=\"b\"}[1m])", h);
  for (int i = 0; i < 100; ++i) host.cycle(h, {{"a", 1}, {"b", 2}, {"c", 3}});
  EXPECT_EQ(h.series_count(), 2u);
  EXPECT_LE(h.sample_count(), 128u);
  // Cycles between evaluations (a scrape) change the current value and leave no sample.
  const auto before = h.sample_count();
  host.cycle(h, {{"a", 7}, {"b", 2}, {"c", 3}}, 1000, false);
  EXPECT_EQ(h.sample_count(), before);
  EXPECT_EQ(now.at(host.wall_ms()), "a=7 ");
}

TEST(History, ForgetsSeriesThatComeAndGo) {
  History h({});
  Host host;
  Query q("rate(x[1m])", h);
  for (int i = 0; i < 2000; ++i) {
    const auto name = "d" + std::to_string(i / 10);
    host.cycle(h, {{name.c_str(), i}});
  }
  EXPECT_LT(h.series_count(), 40u);
  EXPECT_EQ(q.at(host.wall_ms()).substr(0, 4), "d198");
}

TEST(History, StaysBelowItsLimit) {
  History h({.limit_bytes = 60'000});
  Host host;
  Query q("sum_over_time(x[1d])", h);
  std::mt19937_64 random(1);
  const auto any = [&] { return static_cast<double>(random()) / 3; };
  for (int i = 0; i < 5000; ++i) host.cycle(h, {{"a", any()}, {"b", any()}, {"c", any()}});
  EXPECT_LT(h.bytes(), 60'000u);
  EXPECT_GT(h.sample_count(), 4000u);
}

TEST(History, SeriesLabels) {
  History h({.series_labels = {{"job", "node"}, {"device", "mine"}}});
  Host host;
  Query q("x{job=\"node\",device=\"mine\",exported_device=\"a\"}", h);
  host.cycle(h, {{"a", 1}});
  EXPECT_EQ(q.at(host.wall_ms()), "mine=1 ");
}

TEST(History, RecordedSeries) {
  History h({});
  Host host;
  Query now("r", h), range("count_over_time(r[1m])", h);
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(h.acquire(Labels(Pairs{{"__name__", "nobody_asks"}})), History::kNobody);
  const auto id = h.acquire(Labels(Pairs{{"__name__", "r"}, {"device", "a"}}));
  for (int i = 0; i < 12; ++i) {
    host.cycle(h, {});
    if (i % 3 == 0) h.record(id, i);  // a group that is evaluated every third cycle
    EXPECT_EQ(now.at(host.wall_ms()), "a=" + std::to_string(i / 3 * 3) + " ");
  }
  EXPECT_EQ(range.at(host.wall_ms()), "a=4 ");
  h.record(id, promql::stale_marker());
  EXPECT_EQ(now.at(host.wall_ms()), "");
}

}  // namespace
}  // namespace vitald
