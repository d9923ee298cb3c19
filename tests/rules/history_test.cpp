// SPDX-License-Identifier: Apache-2.0
#include "rules/history/store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <thread>

#include "tests/rules/machine.h"

namespace vitald {
namespace {

using promql::Labels;

TEST(HistoryBlock, ReadsBackBitForBit) {
  std::mt19937_64 random(1);
  const auto around = [&](double step) { return std::floor(static_cast<double>(random() % 200) * step); };
  struct Case {
    const char* name;
    double (*next)(double, std::mt19937_64&);
    std::size_t most_bytes;  // of 64 samples
  };
  const Case cases[] = {
      {"constant", [](double v, std::mt19937_64&) { return v; }, 5},
      {"evenly growing", [](double v, std::mt19937_64&) { return v + 5; }, 9},
      {"clock", [](double v, std::mt19937_64&) { return v + 5e9; }, 16},
      {"packets", [](double v, std::mt19937_64& r) { return v + static_cast<double>(r() % 100); }, 66},
      {"pages in bytes",
       [](double v, std::mt19937_64& r) { return v + 4096.0 * (static_cast<double>(r() % 200) - 100); }, 80},
      {"bytes", [](double v, std::mt19937_64& r) { return v + static_cast<double>(r() % 30000); }, 130},
      {"cpu seconds",
       [](double v, std::mt19937_64& r) { return std::round((v + static_cast<double>(r() % 500) / 100) * 100) / 100; },
       86},
      {"nanoseconds",
       [](double v, std::mt19937_64& r) { return (std::round(v * 1e9) + static_cast<double>(r() % 1000000)) / 1e9; },
       176},
      {"a third", [](double, std::mt19937_64&) { return 1.0 / 3; }, 17},
      {"anything", [](double, std::mt19937_64& r) { return std::bit_cast<double>(r() & 0xbfffffffffffffff); }, 513},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    double in[history::kBlock], out[history::kBlock];
    double v = around(1);
    for (auto& x : in) x = v = c.next(v, random);
    for (const int holes : {0, 1}) {
      if (holes) {
        in[0] = history::none_marker();
        in[7] = promql::stale_marker();
        in[63] = history::none_marker();
      }
      for (const std::size_t count : {history::kBlock, std::size_t{33}, std::size_t{2}, std::size_t{1}}) {
        std::vector<std::uint8_t> packed;
        history::pack(in, count, packed);
        const auto size = packed.size();
        if (count == history::kBlock && !holes) {
          EXPECT_LE(size, c.most_bytes);
        }
        packed.resize(size + 8);
        EXPECT_EQ(history::unpack(packed.data(), count, out), packed.data() + size);
        for (std::size_t i = 0; i < count; ++i)
          ASSERT_EQ(std::bit_cast<std::uint64_t>(in[i]), std::bit_cast<std::uint64_t>(out[i])) << i << " of " << count;
      }
    }
  }
}

TEST(HistoryBlock, OddNumbers) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const std::vector<double> cases[] = {
      {-0.0, 0.0, -0.0},
      {std::nan(""), 1, kInf, -kInf},
      {1e300, 1, -1e300},
      {9007199254740991, -9007199254740991, 9007199254740991},
      {9007199254740994, 0, 0.1},
      {0.1, 0.2, 0.30000000000000004},
      {5e-324, 1.7976931348623157e308},
  };
  for (const auto& in : cases) {
    std::vector<std::uint8_t> packed;
    history::pack(in.data(), in.size(), packed);
    packed.resize(packed.size() + 8);
    double out[history::kBlock];
    history::unpack(packed.data(), in.size(), out);
    for (std::size_t i = 0; i < in.size(); ++i)
      EXPECT_EQ(std::bit_cast<std::uint64_t>(in[i]), std::bit_cast<std::uint64_t>(out[i])) << in[0] << " " << i;
  }
}

// The same numbers whether they lie in columns, rows, chunks or all of them, for the rules and for a view.
TEST(History, RangesAcrossChunks) {
  Machine m({.retention_ms = 30 * 60'000});
  Query count("count_over_time(x[25m])", m.live), sum("sum_over_time(x[25m])", m.live),
      rate("round(rate(x[1m]) * 1000)", m.live);
  for (int i = 1; i <= 1000; ++i) {
    m.cycle({{"a", i}});
    const int n = std::min(i, 300);
    const auto counted = "a=" + std::to_string(n) + " ",
               summed = "a=" + promql::number_text(n * (2.0 * i - n + 1) / 2) + " ";
    ASSERT_EQ(count.at(m.wall_ms()), counted) << i;
    ASSERT_EQ(sum.at(m.wall_ms()), summed) << i;
    if (i > 20) {
      ASSERT_EQ(rate.at(m.wall_ms()), "a=200 ") << i;
    }
    if (i % 7 == 0) {
      ASSERT_EQ(ask(m.h, "count_over_time(x[25m])", m.wall_ms()), counted) << i;
      ASSERT_EQ(ask(m.h, "sum_over_time(x[25m])", m.wall_ms()), summed) << i;
    }
  }
  // Half an hour at 5 s are 360 samples; what is older goes by whole chunks, every few minutes.
  EXPECT_LE(m.h.size().samples, 360u + 2 * 64);
  EXPECT_GE(m.h.size().samples, 360u);
}

// Of chosen series every so often a sample stays, for longer; of others all, or none.
TEST(History, KeepsFewerForLonger) {
  std::vector<promql::Problem> problems;
  const auto of = [&](std::string_view text) { return promql::parse_selector(text, problems)->matchers; };
  constexpr std::int64_t kMinute = 60'000, kHour = 60 * kMinute;
  Machine m({.retention_ms = 30 * kMinute,
             .keep = {{of("{device=\"coarse\"}"), 5 * kHour, 5 * kMinute},
                      {of("{device=\"fine\"}"), 2 * kHour, 0},
                      {of("{device=~\"coarse|gone\"}"), kHour, kMinute}}});
  Query window("count_over_time(x{device=\"coarse\"}[90m])",
               m.live);  // a rule looks back at it: all samples until then
  const auto begin = m.wall_ms();
  for (int i = 1; i <= 6 * 720; ++i) {
    Rows rows = {{"coarse", i}, {"fine", i}, {"plain", i}};
    if (i <= 720) rows.emplace_back("gone", i);
    m.cycle(rows);
  }
  EXPECT_EQ(window.at(m.wall_ms()), "coarse=1080 ");
  const auto end = m.wall_ms();
  const auto count = [&](std::string_view device, std::int64_t from, std::int64_t until) {
    const auto text =
        ask(m.h, fmt::format("count_over_time(x{{device=\"{}\"}}[{}])", device, promql::duration_text(until - from)),
            until);
    return text.empty() ? 0 : std::stoi(text.substr(text.find('=') + 1));
  };
  // As far as it is kept for sure; chunks go as wholes, some minutes later.
  EXPECT_EQ(count("coarse", end - 90 * kMinute, end), 1080);
  EXPECT_EQ(count("coarse", end - 4 * kHour, end - 2 * kHour), 24);
  EXPECT_EQ(count("coarse", end - 5 * kHour + 10 * kMinute, end - 4 * kHour), 10);
  EXPECT_EQ(count("coarse", begin, end - 5 * kHour - 50 * kMinute), 0);
  EXPECT_EQ(count("fine", end - 2 * kHour, end), 1440);
  EXPECT_EQ(count("fine", begin, end - 2 * kHour - 15 * kMinute), 0);
  EXPECT_EQ(count("plain", end - 30 * kMinute, end), 360);
  EXPECT_EQ(count("plain", begin, end - 45 * kMinute), 0);
  EXPECT_EQ(count("gone", begin, end), 0);
  // The value is the last one of its five minutes, at its own time.
  const auto at = (end - 3 * kHour) / 300'000 * 300'000;
  const auto boot = at - m.wall_offset_ms;
  const auto last = boot / 300'000 * 300'000 + 300'000 - 5000;  // of the stretch, on the clock of the samples
  EXPECT_EQ(ask(m.h, "x{device=\"coarse\"}", last + m.wall_offset_ms),
            fmt::format("coarse={} ", (last - 1'000'000) / 5000));
  // Some dozen chunks, not one for every five minutes.
  EXPECT_LE(m.h.size().samples, 1080u + 64 * 2 + 5 * 12 + 64 + 1440 + 64 * 2 + 360 + 64 * 2);
}

// The wall clock is slewed by some ms, and cut to ms otherwise in each round; a clock that is set moves all there is.
TEST(History, ASampleKeepsItsTime) {
  Machine m;
  m.cycle({{"a", 1}});
  const auto first = m.wall_ms();
  for (const std::int64_t slewed : {-1, 1, 0, 2, 9, -9}) {
    m.wall_offset_ms += slewed;
    m.cycle({{"a", 1}});
    const auto text = fmt::format("{:.3f}", static_cast<double>(first) / 1e3);
    EXPECT_EQ(ask(m.h, "timestamp(x @ " + text + ") == " + text, m.wall_ms()).substr(0, 2), "a=") << slewed;
  }
  m.wall_offset_ms += 3'600'000;
  m.cycle({{"a", 1}});
  EXPECT_EQ(ask(m.h, "count_over_time(x[1h])", first), "");
  EXPECT_EQ(ask(m.h, "count_over_time(x[30s])", m.wall_ms()), "a=6 ");
}

TEST(History, GapsResetsAndGoneSeries) {
  Machine m;
  Query now("x", m.live), past("x offset 10s", m.live), increase("increase(x[20s])", m.live),
      resets("resets(x[1m])", m.live);
  m.cycle({{"a", 10}, {"b", 1}});
  m.cycle({{"a", 20}, {"b", 2}});
  m.cycle({{"a", 5}});  // a was reset, b is gone
  EXPECT_EQ(now.at(m.wall_ms()), "a=5 ");
  EXPECT_EQ(past.at(m.wall_ms()), "a=10 b=1 ");
  EXPECT_EQ(resets.at(m.wall_ms()), "a=1 b=0 ");
  m.cycle({{"a", 6}, {"b", 9}});
  EXPECT_EQ(now.at(m.wall_ms()), "a=6 b=9 ");
  EXPECT_EQ(past.at(m.wall_ms()), "a=20 b=2 ");
  EXPECT_EQ(increase.at(m.wall_ms()), "a=21.333333333333332 b=9 ");
  m.cycle({{"a", 7}}, 40'000);  // a pause: the machine slept
  EXPECT_EQ(past.at(m.wall_ms()), "a=6 b=9 ");
  EXPECT_EQ(increase.at(m.wall_ms()), "");
  EXPECT_EQ(ask(m.h, "x offset 10s", m.wall_ms()), "a=6 b=9 ");
}

// A worker that does not answer: its last good batch is in every snapshot until it is too old to show.
TEST(History, ABatchThatWasSeenBringsNoSample) {
  Machine m;
  Query count("count_over_time(x{device='w'}[10m])", m.live), rate("irate(x{device='w'}[1m])", m.live),
      absent("absent(x{device='w'})", m.live), now("x{device='w'}", m.live), time("timestamp(x{device='w'})", m.live);
  for (int i = 0; i < 13; ++i) {
    m.collect("worker", {{"w", i * 5.0}});
    m.cycle({{"a", 1}});
  }
  EXPECT_EQ(rate.at(m.wall_ms()), "w=1 ");
  const auto last_ms = m.wall_ms() - 5000;  // it was asked before the cycle began
  for (int i = 0; i < 5; ++i) m.cycle({{"a", 1}});
  EXPECT_EQ(count.at(m.wall_ms()), "w=13 ");
  EXPECT_EQ(now.at(m.wall_ms()), "w=60 ") << "it is the newest there is";
  EXPECT_EQ(time.at(m.wall_ms()), "w=" + promql::number_text(static_cast<double>(last_ms) / 1000) + " ");
  EXPECT_EQ(rate.at(m.wall_ms()), "w=1 ") << "it did not stand still: nobody knows";
  EXPECT_EQ(ask(m.h, "count_over_time(x{device='w'}[10m])", m.wall_ms()), "w=13 ");
  EXPECT_EQ(absent.at(m.wall_ms()), "");
  m.drop("worker");
  m.cycle({{"a", 1}});
  EXPECT_EQ(absent.at(m.wall_ms()), "w=1 ");
  EXPECT_EQ(ask(m.h, "x", m.wall_ms()), "a=1 ");
  m.boot_ms += 1000;
  m.collect("worker", {{"w", 100}});
  m.cycle({{"a", 1}});
  EXPECT_EQ(now.at(m.wall_ms()), "w=100 ");
  EXPECT_EQ(count.at(m.wall_ms()), "w=14 ");
}

// What hangs is shown for a while, then not any more: its series end when the scrape's do.
TEST(History, ABatchThatIsDroppedEndsItsSeries) {
  for (const bool of_that_time : {true, false}) {
    Machine m;
    Query absent("absent(x{device='w'})", m.live), now("x", m.live),
        count("count_over_time(x{device='w'}[5m])", m.live);
    for (int i = 0; i < 3; ++i) {
      m.collect("worker", {{"v", i}, {"w", i}});
      m.cycle({{"a", 1}});
    }
    m.cycle({{"a", 1}});
    EXPECT_EQ(now.at(m.wall_ms()), "a=1 v=2 w=2 ");
    for (int i = 0; i < 3; ++i) {
      m.empty("worker", of_that_time);
      m.cycle({{"a", 1}});
      EXPECT_EQ(absent.at(m.wall_ms()), "w=1 ");
      EXPECT_EQ(now.at(m.wall_ms()), "a=1 ");
      EXPECT_EQ(ask(m.h, "x", m.wall_ms()), "a=1 ");
      EXPECT_EQ(ask(m.h, "x", m.wall_ms() - (i + 1) * 5000), "a=1 v=2 w=2 ");
    }
    m.collect("worker", {{"w", 7}});
    m.cycle({{"a", 1}});
    EXPECT_EQ(now.at(m.wall_ms()), "a=1 w=7 ");
    EXPECT_EQ(count.at(m.wall_ms()), "w=4 ");
    EXPECT_EQ(ask(m.h, "count_over_time(x{device='w'}[5m])", m.wall_ms()), "w=4 ");
  }
}

// Of two collectors with one series the first has it; when it has it no more, it is the other's, whose layout has not
// changed.
TEST(History, ASeriesThatMovesToAnotherCollector) {
  for (const std::string other : {"after", "zzz"}) {  // taken before "host", or after it
    SCOPED_TRACE(other);
    Machine m;
    Query now("x{device='w'}", m.live);
    m.cycle({{"a", 1}, {"w", 5}});
    for (int i = 0; i < 3; ++i) {
      m.collect(other, {{"b", 1}, {"w", 7}});
      m.cycle({{"a", 1}, {"w", 5}});
    }
    EXPECT_EQ(now.at(m.wall_ms()), "w=5 ");
    for (int i = 0; i < 3; ++i) {
      m.collect(other, {{"b", 1}, {"w", 7}});
      m.cycle({{"a", 1}});
    }
    EXPECT_EQ(now.at(m.wall_ms()), "w=7 ");
    EXPECT_EQ(ask(m.h, "x{device='w'}", m.wall_ms()), "w=7 ");
  }
}

TEST(History, WhatIsForDeriversOnlyIsNotInIt) {
  Machine m;
  m.inside = true;
  for (int i = 0; i < 100; ++i) m.cycle({{"a", i}, {"b" + std::to_string(i / 10), i}});
  EXPECT_EQ(ask(m.h, "x", m.wall_ms()), "a=99 b9=99 ");
  EXPECT_EQ(ask(m.h, "count_over_time(x{device='a'}[1h])", m.wall_ms()), "a=100 ");
  EXPECT_EQ(ask(m.h, "{device='a'}", m.wall_ms()), "a=99 ");
  EXPECT_EQ(ask(m.h, "y", m.wall_ms()), "");
}

TEST(History, ClockThatIsSetBendsNoRate) {
  Machine m;
  Query rate("rate(x[1m])", m.live), time("timestamp(x)", m.live);
  for (int i = 0; i < 30; ++i) m.cycle({{"a", i * 5.0}});
  EXPECT_EQ(rate.at(m.wall_ms()), "a=1 ");
  m.wall_offset_ms -= 3'600'000;
  m.cycle({{"a", 150}});
  EXPECT_EQ(rate.at(m.wall_ms()), "a=1 ");
  EXPECT_EQ(ask(m.h, "rate(x[1m])", m.wall_ms()), "a=1 ");
  EXPECT_EQ(time.at(m.wall_ms()), "a=" + promql::number_text(static_cast<double>(m.wall_ms()) / 1000) + " ");
}

TEST(History, EverySeriesIsThereForWhoeverAsksLater) {
  Machine m;
  for (int i = 0; i < 200; ++i) m.cycle({{"a", i}, {"b", 2.0 * i}, {"c", 3}});
  EXPECT_EQ(m.h.size().series, 3u);
  EXPECT_EQ(m.h.size().samples, 600u);
  EXPECT_EQ(ask(m.h, "x", m.wall_ms()), "a=199 b=398 c=3 ");
  EXPECT_EQ(ask(m.h, "x offset 15m", m.wall_ms()), "a=19 b=38 c=3 ");
  Query late("max_over_time(x[10m])", m.live);  // a rule that comes with a reload
  EXPECT_EQ(late.at(m.wall_ms()), "a=199 b=398 c=3 ");
  m.cycle({{"a", 0}, {"b", 0}, {"c", 0}});
  EXPECT_EQ(late.at(m.wall_ms()), "a=199 b=398 c=3 ");
}

// What a view shows never changes.
TEST(History, AViewIsOfItsMoment) {
  Machine m({.retention_ms = 60'000});
  for (int i = 0; i < 100; ++i) m.cycle({{"a", i}});
  const auto then = m.wall_ms();
  const auto view = m.h.view();
  EXPECT_EQ(view->now_wall_ms(), then);
  Query count("count_over_time(x[5m])", *view), now("x", *view);
  const auto before = count.at(then);
  for (int i = 0; i < 500; ++i) m.cycle({{"b" + std::to_string(i), i}});
  EXPECT_EQ(count.at(then), before);
  EXPECT_EQ(now.at(then), "a=99 ");
  EXPECT_EQ(ask(m.h, "x", m.wall_ms()), "b499=499 ");
}

TEST(History, ForgetsSeriesThatComeAndGo) {
  Machine m({.retention_ms = 120'000});
  Query q("sort_by_label(round(rate(x[5m]) * 3000), 'device')", m.live);
  for (int i = 0; i < 5000; ++i) {
    m.cycle({{"d" + std::to_string(i / 10), i}, {"stays", i}});
    if (i == 1000) {
      const auto size = m.h.size();
      EXPECT_LT(size.series, 40u);
    }
  }
  EXPECT_LT(m.h.size().series, 40u);
  EXPECT_LT(m.h.size().samples, 1000u);
  EXPECT_EQ(q.at(m.wall_ms()), "d494=105 d495=100 d496=100 d497=100 d498=100 d499=95 stays=600 ");
  EXPECT_EQ(ask(m.h, "sort_by_label(x, 'device')", m.wall_ms()), "d499=4999 stays=4999 ");
}

// A series' place and number are given to another one when it is gone: nobody may see the other's samples.
TEST(History, PlacesAreUsedAgain) {
  Machine m({.retention_ms = 200'000});
  std::mt19937 random(3);
  Query sum("sum_over_time(x[5m])", m.live), count("count_over_time(x[5m])", m.live);
  struct Sample {
    std::int64_t t_ms;
    double value;
  };
  std::map<std::string, std::vector<Sample>> truth;
  for (int i = 0; i < 1500; ++i) {
    Rows rows;
    for (int d = 0; d < 12; ++d)
      if (random() % 3 != 0) rows.emplace_back("d" + std::to_string((d + i / 40 * 5) % 97), i + d / 16.0);
    m.cycle(rows);
    for (const auto& [device, value] : rows) truth[device].push_back({m.wall_ms(), value});
    if (i % 17 != 0) continue;
    // Five minutes are more than is kept: what is still there is a suffix of the truth, and the same for both.
    const auto view = m.h.view();
    Query seen("count_over_time(x[150s])", *view), total("sum_over_time(x[150s])", *view);
    std::map<std::string, std::pair<int, double>> want;
    for (const auto& [device, samples] : truth)
      for (const auto& s : samples)
        if (s.t_ms > m.wall_ms() - 150'000) ++want[device].first, want[device].second += s.value;
    std::map<std::string, std::string> counts, totals;
    const auto fill = [&](Query& q, std::map<std::string, std::string>& out) {
      const auto v = q.evaluator.eval(m.wall_ms());
      ASSERT_TRUE(v) << v.error().text;
      for (const auto& s : v->vector->samples) {
        const auto [at, added] =
            out.emplace(std::string(v->vector->labels(s).get("device")), promql::number_text(s.value));
        ASSERT_TRUE(added) << at->first << " twice";
      }
    };
    fill(seen, counts);
    fill(total, totals);
    ASSERT_EQ(counts.size(), want.size()) << i;
    for (const auto& [device, w] : want) {
      ASSERT_EQ(counts[device], std::to_string(w.first)) << device << " " << i;
      ASSERT_EQ(totals[device], promql::number_text(w.second)) << device << " " << i;
    }
    Query live_count("count_over_time(x[150s])", m.live);
    std::map<std::string, std::string> live_counts;
    fill(live_count, live_counts);
    ASSERT_EQ(live_counts, counts) << i;
  }
}

TEST(History, KeepsLongerWhatARuleLooksBackAt) {
  Machine m({.retention_ms = 60'000});
  Query long_one("count_over_time(x{device='a'}[1h])", m.live);
  for (int i = 0; i < 1000; ++i) m.cycle({{"a", i}, {"b", i}});
  EXPECT_EQ(long_one.at(m.wall_ms()), "a=720 ");
  EXPECT_EQ(ask(m.h, "count_over_time(x[1h])", m.wall_ms()).substr(0, 6), "a=720 ");
  EXPECT_LT(m.h.size().samples, 720u + 64 + 64 + 200);
  EXPECT_EQ(m.h.evicted_until_ms(), INT64_MIN);
}

TEST(History, StaysBelowItsLimitAndSaysSo) {
  Machine m({.retention_ms = 86'400'000, .limit_bytes = 60'000});
  std::mt19937_64 random(1);
  const auto any = [&] { return static_cast<double>(random()) / 3; };
  for (int i = 0; i < 5000; ++i) {
    m.cycle({{"a", any()}, {"b", any()}, {"c", any()}});
    const auto size = m.h.size();
    ASSERT_LE(size.sample_bytes + size.index_bytes, 60'000u);
  }
  const auto size = m.h.size();
  EXPECT_GT(size.samples, 3000u);
  EXPECT_EQ(size.evicted + size.samples, 15'000u);
  EXPECT_GE(m.h.evicted_until_ms(), m.boot_ms - size.oldest_ms - 5000 * 64);
  EXPECT_LT(m.h.evicted_until_ms(), m.boot_ms - size.oldest_ms);
  EXPECT_EQ(ask(m.h, "count(x)", m.wall_ms()), "=3 ") << "the newest are there";
}

// Too small for anything: the newest sample of each series is left.
TEST(History, ALimitBelowOneRow) {
  Machine m({.limit_bytes = 1});
  Query now("x", m.live);
  for (int i = 0; i < 300; ++i) {
    m.cycle({{"a", i}, {"b", i}});
    ASSERT_EQ(now.at(m.wall_ms()), fmt::format("a={0} b={0} ", i));
    ASSERT_EQ(ask(m.h, "x", m.wall_ms()), fmt::format("a={0} b={0} ", i));
  }
}

TEST(History, SeriesLabels) {
  Machine m({.series_labels = {{"job", "node"}, {"device", "mine"}}});
  m.cycle({{"a", 1}});
  EXPECT_EQ(ask(m.h, "x{job=\"node\",device=\"mine\",exported_device=\"a\"}", m.wall_ms()), "mine=1 ");
}

// Queries read them on their own threads while a reload sets other limits.
TEST(History, SeriesLabelsStayWhereTheyAre) {
  History history({.series_labels = {{"job", "node"}}});
  const auto* job = &*history.settings().series_labels.begin();
  history.set({.series_labels = {{"job", "node"}}, .limit_bytes = 1 << 20});
  EXPECT_EQ(&*history.settings().series_labels.begin(), job);
  EXPECT_EQ(history.settings().limit_bytes, std::size_t{1} << 20);
}

// exported_device is taken: the two are two series, and no label is there twice.
TEST(History, ALabelOfTheTargetAndItsOtherNameInOneSeries) {
  static constexpr MetricDesc kDesc{"two", MetricType::gauge, "help", "device,exported_device", "", "test"};
  History history({.series_labels = {{"device", "mine"}}});
  BatchWriter writer("test");
  writer.begin(1'000'000'000);
  writer.set(kDesc, 1, "a", "b");
  writer.set(kDesc, 2, "b", "a");
  writer.set(kDesc, 3, "", "c");
  Snapshot s{0, 1'000'000'000, 1'000'000'000, {writer.finish({}, 0, 0)}};
  history.begin(s);
  history.end();
  const auto at = [&](const char* query) { return ask(history, query, 1000); };
  EXPECT_EQ(at("two{device=\"mine\",exported_device=\"b\",exported_exported_device=\"a\"}"), "mine=1 ");
  EXPECT_EQ(at("two{device=\"mine\",exported_device=\"a\",exported_exported_device=\"b\"}"), "mine=2 ");
  EXPECT_EQ(at("two{device=\"mine\",exported_device=\"c\",exported_exported_device=\"\"}"), "mine=3 ");
}

TEST(History, RecordedSeries) {
  Machine m;
  Query now("r", m.live), range("count_over_time(r[1m])", m.live);
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const Labels labels(Pairs{{"__name__", "r"}, {"device", "a"}});
  std::uint32_t id = History::kNobody;
  const auto round = [&](std::optional<double> value) {
    m.boot_ms += 5000;
    m.begin();
    if (id == History::kNobody) id = m.h.acquire(labels);
    if (value) m.h.record(id, *value);
    const auto seen = now.at(m.wall_ms());
    m.h.end();
    EXPECT_EQ(ask(m.h, "r", m.wall_ms()), seen);
    return seen;
  };
  for (int i = 0; i < 12; ++i)  // a group that is evaluated every third cycle
    EXPECT_EQ(round(i % 3 == 0 ? std::optional<double>(i) : std::nullopt), "a=" + std::to_string(i / 3 * 3) + " ");
  EXPECT_EQ(range.at(m.wall_ms()), "a=4 ");
  EXPECT_EQ(round(promql::stale_marker()), "");
  EXPECT_EQ(range.at(m.wall_ms()), "a=3 ");
  EXPECT_EQ(round(7), "a=7 ");
  // A collector's series of the same name is not the rules' to write.
  m.collect("host", {{"a", 1}});
  m.begin();
  EXPECT_EQ(m.h.acquire(Labels(Pairs{{"__name__", "x"}, {"device", "a"}})), History::kNobody);
  m.h.end();
  // New rules that do not record it: it ends with their first round.
  m.h.forget_users();
  m.boot_ms += 5000;
  m.begin();
  m.h.end();
  EXPECT_EQ(now.at(m.wall_ms()), "");
  EXPECT_EQ(ask(m.h, "r", m.wall_ms()), "");
  EXPECT_EQ(ask(m.h, "r", m.wall_ms() - 5000), "a=7 ");
}

// What an owner's coming and going costs: its own series are resolved, not the thousand others.
TEST(History, ManyOwnersOneComesOneGoes) {
  Machine m;
  const auto rows = [](int first) {
    Rows out;
    for (int i = first; i < first + 300; ++i) out.emplace_back("o" + std::to_string(i), i);
    return out;
  };
  for (int i = 0; i < 100; ++i) {
    const auto before = m.h.looked_up();
    m.cycle(rows(i));
    EXPECT_EQ(m.h.looked_up() - before, i == 0 ? 300u : 1u);
  }
  EXPECT_EQ(ask(m.h, "count(x)", m.wall_ms()), "=300 ");
  EXPECT_EQ(ask(m.h, "count(x offset 5s)", m.wall_ms()), "=300 ");
  EXPECT_EQ(ask(m.h, "sum(x)", m.wall_ms()), "=" + promql::number_text(300 * (99 + 398) / 2.0) + " ");
}

// Readers over everything while rounds go on, with series that come and go; clean under ThreadSanitizer.
TEST(History, ReadersBesideTheWriter) {
  Machine m({.retention_ms = 300'000, .limit_bytes = 200'000});
  m.cycle({{"stays", 0}});
  std::atomic<bool> stop = false;
  std::atomic<int> reads = 0;
  const auto read = [&] {
    while (!stop) {
      const auto view = m.h.view();
      Query count("count_over_time(x{device='stays'}[4m])", *view), sum("sum_over_time(x[4m])", *view);
      const auto t = view->now_wall_ms();
      const auto n = count.evaluator.eval(t);
      ASSERT_TRUE(n);
      ASSERT_EQ(n->vector->samples.size(), 1u);
      ASSERT_GE(n->vector->samples[0].value, 1);
      ASSERT_LE(n->vector->samples[0].value, 48);
      const auto before = sum.at(t);
      ASSERT_EQ(sum.at(t), before);
      ++reads;
    }
  };
  std::thread readers[] = {std::thread(read), std::thread(read)};
  for (int i = 0; i < 3000 || reads < 20; ++i)
    m.cycle({{"stays", i}, {"d" + std::to_string(i / 5), i}, {"e" + std::to_string(i / 70), i / 3.0}});
  stop = true;
  for (auto& r : readers) r.join();
  EXPECT_GE(reads, 20);
}

}  // namespace
}  // namespace vitald
