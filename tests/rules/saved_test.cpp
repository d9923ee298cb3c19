// SPDX-License-Identifier: Apache-2.0
#include "rules/history/saved.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "tests/rules/machine.h"

namespace vitald {
namespace {

using history::Saved;
using promql::Labels;
using testing::HasSubstr;

constexpr std::size_t kPlenty = std::size_t{64} << 20;

Moment moment_of(const Machine& m, std::string boot = "one") { return {std::move(boot), m.boot_ms, m.wall_ms()}; }

std::string file_of(const Machine& m, const std::string& boot = "one") {
  std::string out;
  const auto done = history::save(m.h.view()->round(), m.h.settings().series_labels, moment_of(m, boot),
                                  [&out](std::string_view bytes) -> Result<> { return out += bytes, Result<>(); });
  EXPECT_TRUE(done) << done.error().text;
  return out;
}

Result<Saved> load(std::string_view file, const Moment& now, std::size_t most_bytes = kPlenty) {
  return history::load(source_of(file), file.size(), now, most_bytes);
}

// Goes on where `file` ends.
void restore(Machine& m, std::string_view file, const std::string& boot = "one") {
  auto saved = load(file, moment_of(m, boot));
  ASSERT_TRUE(saved) << saved.error().text;
  ASSERT_TRUE(m.h.restore(std::move(*saved)));
  m.live.attach(m.h);
}

std::string all_at(History& h, std::string_view text, std::int64_t t_ms) {
  const auto view = h.view();
  Query q(text, *view);
  const auto v = q.evaluator.eval(t_ms);
  if (!v) return v.error().text;
  std::vector<std::string> out;
  for (const auto& s : v->vector->samples)
    out.push_back(fmt::format("{} {}\n", v->vector->labels(s).text(), promql::number_text(s.value)));
  std::ranges::sort(out);
  return fmt::format("{}", fmt::join(out, ""));
}

constexpr std::string_view kQueries[] = {
    "x",
    "r",
    "timestamp(x)",
    "count_over_time(x[10m])",
    "sum_over_time(x[3m])",
    "last_over_time(x[1h])",
    "rate(x[2m])",
    "increase(r[1m])",
    "count(x) by (device)",
    "absent(x{device='w'})",
};

// What comes and goes, of every kind of number.
class RandomMachine : public Machine {
 public:
  explicit RandomMachine(unsigned seed) : Machine({.retention_ms = 20 * 60'000}), random(seed) {}

  void step() {
    boot_ms += 1000 + static_cast<std::int64_t>(random() % 9000);
    if (random() % 50 == 0) first += 3;
    Rows rows;
    for (int d = first; d < first + 12; ++d)
      if (random() % 8 != 0) rows.emplace_back("d" + std::to_string(d), value(d));
    collect("host", rows);
    if (random() % 3 != 0) collect("worker", {{"w", value(2)}});
    if (random() % 40 == 0) drop("worker");
    round(random() % 2 != 0);
  }
  void round(bool record) {
    begin();
    const auto id = h.acquire(Labels(std::vector<std::pair<std::string, std::string>>{{"__name__", "r"}}));
    if (record) h.record(id, random() % 10 == 0 ? promql::stale_marker() : value(1));
    h.end();
  }
  double value(int kind) {
    const auto n = static_cast<double>(random() % 100'000);
    switch (kind % 5) {
      case 0: return std::floor(n / 50'000);
      case 1: return n;
      case 2: return n / 100;
      case 3: return std::sqrt(n);
      default: return random() % 20 == 0 ? std::nan("") : static_cast<double>(boot_ms);
    }
  }

  std::mt19937 random;
  int first = 0;
};

TEST(SavedHistory, GivesTheSameAnswers) {
  for (unsigned seed = 1; seed <= 9; ++seed) {
    SCOPED_TRACE(seed);
    RandomMachine m(seed);
    const auto cycles = seed * seed * 5;
    for (unsigned i = 0; i < cycles; ++i) m.step();
    const auto file = file_of(m);
    Machine again(m.h.settings());
    again.boot_ms = m.boot_ms;
    restore(again, file);
    again.begin();
    again.h.end();
    for (int i = 0; i < 25; ++i) {
      const auto t = m.wall_ms() - static_cast<std::int64_t>(m.random() % 1'300'000);
      for (const auto q : kQueries) ASSERT_EQ(all_at(again.h, q, t), all_at(m.h, q, t)) << q;
    }
  }
}

// After it, both take the same cycles: columns, rows and chunks fit together.
// Chunks of a feed overlap where some of its series are kept coarser.
TEST(SavedHistory, WhatIsKeptCoarser) {
  std::vector<promql::Problem> problems;
  const History::Settings settings{
      .retention_ms = 10 * 60'000,
      .keep = {{promql::parse_selector("{device=\"a\"}", problems)->matchers, 5 * 3'600'000, 60'000}}};
  Machine m(settings), again(settings);
  Query window("count_over_time(x{device=\"b\"}[30m])", m.live);  // fine, beside the coarse ones
  for (int i = 0; i < 2 * 720; ++i) m.cycle({{"a", i}, {"b", i}, {"c", i}});
  again.boot_ms = m.boot_ms;
  restore(again, file_of(m));
  for (auto* each : {&m, &again}) each->cycle({{"a", 1440}, {"b", 1440}, {"c", 1440}});
  for (const auto& text :
       {"count_over_time(x[2h])", "sum_over_time(x[1h] offset 30m)", "x offset 90m", "rate(x[5m] offset 1h)"})
    EXPECT_EQ(all_at(again.h, text, m.wall_ms()), all_at(m.h, text, m.wall_ms())) << text;
  EXPECT_NE(all_at(m.h, "x offset 90m", m.wall_ms()), "");
  for (int i = 0; i < 720; ++i) again.cycle({{"a", i}, {"b", i}, {"c", i}});
  EXPECT_EQ(all_at(again.h, "count_over_time(x{device=\"a\"}[30m] offset 2h)", again.wall_ms()), "{device=\"a\"} 30\n");
}

TEST(SavedHistory, GoesOn) {
  Machine m({.retention_ms = 20 * 60'000}), again(m.h.settings());
  const std::string_view texts[] = {"rate(x[1m])", "count_over_time(x[10m])", "x offset 3m", "sum_over_time(x[30s])"};
  std::vector<Query> before, after;
  for (const auto t : texts) before.emplace_back(t, m.live), after.emplace_back(t, again.live);
  const auto rows = [](int i) { return Rows{{"a", i}, {"b", i * i}, {"c" + std::to_string(i / 50), i / 3.0}}; };
  for (int i = 0; i < 200; ++i) m.cycle(rows(i));
  again.boot_ms = m.boot_ms;
  restore(again, file_of(m));
  for (int i = 200; i < 600; ++i) {
    m.cycle(rows(i));
    again.cycle(rows(i));
    for (std::size_t q = 0; q < std::size(texts); ++q) {
      ASSERT_EQ(after[q].at(again.wall_ms()), before[q].at(m.wall_ms())) << texts[q] << " " << i;
      ASSERT_EQ(all_at(again.h, texts[q], again.wall_ms()), all_at(m.h, texts[q], m.wall_ms())) << texts[q] << " " << i;
    }
  }
}

TEST(SavedHistory, AGapIsAGapAndAResetIsAReset) {
  Machine m, again;
  for (int i = 1; i <= 24; ++i) m.cycle({{"a", i * 5.0}, {"b", i * 5.0}});
  const auto then = m.wall_ms();
  again.boot_ms = m.boot_ms + 180'000;
  restore(again, file_of(m));
  Query now("x", again.live), rate("rate(x[1m])", again.live), increase("increase(x[5m])", again.live),
      resets("resets(x[5m])", again.live), absent("absent(x{device='a'})", again.live);
  again.begin();  // no collector has answered yet
  EXPECT_EQ(now.at(again.wall_ms()), "a=120 b=120 ") << "the newest there is, for five minutes";
  again.h.end();
  again.cycle({{"a", 305}, {"b", 1}});
  EXPECT_EQ(now.at(again.wall_ms()), "a=305 b=1 ");
  EXPECT_EQ(rate.at(again.wall_ms()), "") << "one sample within the minute";
  EXPECT_EQ(resets.at(again.wall_ms()), "a=0 b=1 ");
  again.cycle({{"a", 310}, {"b", 6}});
  EXPECT_EQ(rate.at(again.wall_ms()), "a=0.125 b=0.1 ") << "of two samples, and b was 0 a second before the first";
  EXPECT_EQ(absent.at(again.wall_ms()), "");
  EXPECT_EQ(ask(again.h, "x", then), "a=120 b=120 ");
  EXPECT_EQ(ask(again.h, "count_over_time(x[1h])", again.wall_ms()), "a=26 b=26 ");
}

TEST(SavedHistory, WhatDoesNotComeBackEnds) {
  Machine m;
  for (int i = 0; i < 30; ++i) {
    m.collect("starting", {{"s", 1}});
    m.collect("other", {{"o", 1}});
    m.collect("worker", {{"w", i}, {"v", i}});
    m.cycle({{"a", i}, {"gone", i}});
  }
  Machine again;
  again.boot_ms = m.boot_ms;
  restore(again, file_of(m));
  Query now("x", again.live), absent("absent(x{device='gone'})", again.live);
  again.empty("starting", false);
  again.cycle({{"a", 1}});
  EXPECT_EQ(now.at(again.wall_ms()), "a=1 o=1 s=1 w=29 v=29 ") << "the others may only be late";
  EXPECT_EQ(absent.at(again.wall_ms()), "gone=1 ");
  EXPECT_EQ(ask(again.h, "x", again.wall_ms()), "a=1 o=1 s=1 w=29 v=29 ");
  again.collect("worker", {{"w", 2}});
  again.cycle({{"a", 1}});
  EXPECT_EQ(now.at(again.wall_ms()), "a=1 o=1 s=1 w=2 ");
  for (int i = 0; i < 12; ++i) {
    again.collect("worker", {{"w", 3}});
    again.cycle({{"a", 1}});
  }
  EXPECT_EQ(now.at(again.wall_ms()), "a=1 w=3 ") << "a minute without a word";
  // All of it is there until its time is over, and then gone.
  EXPECT_EQ(ask(again.h, "count_over_time(x[1h])", again.wall_ms()), "a=44 gone=30 o=30 s=30 w=43 v=30 ");
  again.drop("worker");
  for (int i = 0; i < 800; ++i) again.cycle({{"a", 1}});
  EXPECT_EQ(again.h.size().series, 1U);
  EXPECT_EQ(ask(again.h, "count(count_over_time(x[1d]))", again.wall_ms()), "=1 ");
}

// A new version of vitald may have it elsewhere.
TEST(SavedHistory, ASeriesMayMoveToAnotherCollector) {
  Machine m;
  m.collect("zone", {{"moves", 1}});
  m.cycle({{"a", 1}});
  Machine again;
  again.boot_ms = m.boot_ms;
  restore(again, file_of(m));
  Query now("x", again.live);
  for (int i = 2; i < 100; ++i) {
    again.collect("zone", {{"stays", 5}});
    again.cycle({{"a", 1}, {"moves", i}});
    ASSERT_EQ(now.at(again.wall_ms()), fmt::format("a=1 moves={} stays=5 ", i));
    ASSERT_EQ(ask(again.h, "sort_by_label(x, 'device')", again.wall_ms()), fmt::format("a=1 moves={} stays=5 ", i));
  }
}

TEST(SavedHistory, RecordedSeriesGoOn) {
  const auto of = [](const char* device) {
    return Labels(std::vector<std::pair<std::string, std::string>>{{"__name__", "r"}, {"device", device}});
  };
  Machine m, again;
  for (int i = 0; i < 10; ++i) {
    m.boot_ms += 5000;
    m.begin();
    for (const auto* device : {"a", "b"}) m.h.record(m.h.acquire(of(device)), i);
    m.h.end();
  }
  again.boot_ms = m.boot_ms + 5000;
  restore(again, file_of(m));
  Query now("r", again.live);
  again.begin();
  EXPECT_EQ(now.at(again.wall_ms()), "a=9 b=9 ") << "rules see what rules before them recorded last";
  const auto id = again.h.acquire(of("a"));
  again.h.record(id, 7);
  again.h.end();
  again.boot_ms += 5000;
  again.begin();
  again.h.record(id, 8);
  EXPECT_EQ(now.at(again.wall_ms()), "a=8 ") << "nobody records the other one any more";
  again.h.end();
  EXPECT_EQ(ask(again.h, "count_over_time(r[1h])", again.wall_ms()), "a=12 b=10 ");
}

// Boot time begins again; wall time says how long ago it was.
TEST(SavedHistory, AfterAReboot) {
  Machine m;
  for (int i = 1; i <= 100; ++i) m.cycle({{"a", i}});
  const auto file = file_of(m);
  Machine again;
  again.boot_ms = 20'000;
  again.wall_offset_ms = m.wall_ms() + 60'000 - again.boot_ms;  // it took a minute
  restore(again, file, "two");
  Query increase("increase(x[5m])", again.live), now("x", again.live);
  again.begin();
  EXPECT_EQ(now.at(again.wall_ms()), "a=100 ");
  again.h.end();
  for (const auto ago : {60'000, 65'000, 300'000, 500'000})
    EXPECT_EQ(ask(again.h, "x", again.wall_ms() - ago), ask(m.h, "x", again.wall_ms() - ago)) << ago;
  again.cycle({{"a", 1}});
  again.cycle({{"a", 2}});
  EXPECT_EQ(ask(again.h, "resets(x[10m])", again.wall_ms()), "a=1 ");
  EXPECT_EQ(ask(again.h, "x", m.wall_ms()), "a=100 ");

  // The kernel does not say which boot this is: wall time is all there is.
  Machine unknown;
  unknown.boot_ms = 5000;
  unknown.wall_offset_ms = m.wall_ms() - unknown.boot_ms;
  restore(unknown, file_of(m, ""), "");
  unknown.begin();
  unknown.h.end();
  EXPECT_EQ(ask(unknown.h, "x", m.wall_ms()), "a=100 ");
}

// In one boot a clock that was set meanwhile changes nothing.
TEST(SavedHistory, AClockThatIsSetMeanwhile) {
  Machine m, again;
  for (int i = 1; i <= 100; ++i) m.cycle({{"a", i * 5.0}});
  again.boot_ms = m.boot_ms;
  again.wall_offset_ms = m.wall_offset_ms - 7'200'000;
  restore(again, file_of(m));
  again.cycle({{"a", 505}});
  EXPECT_EQ(ask(again.h, "rate(x[1m])", again.wall_ms()), "a=1 ");
}

TEST(SavedHistory, NothingIsOfAFutureTime) {
  Machine m;
  for (int i = 1; i <= 200; ++i) m.cycle({{"a", i}, {"b" + std::to_string(i), i}});
  const auto file = file_of(m);
  const auto all = load(file, moment_of(m));
  ASSERT_TRUE(all) << all.error().text;
  EXPECT_EQ(all->in_future, 0U);
  for (const int back : {0, 1, 63, 64, 65, 120, 199, 200}) {
    const Moment now{"one", m.boot_ms - back * 5000, m.wall_ms()};
    auto saved = load(file, now);
    ASSERT_TRUE(saved) << saved.error().text;
    EXPECT_EQ(saved->in_future > 0, back > 0) << back;
    EXPECT_LE(saved->samples + saved->in_future, all->samples) << back;
    Machine again;
    again.boot_ms = now.boot_ms;
    ASSERT_TRUE(again.h.restore(std::move(*saved)));
    again.begin();
    again.h.end();
    EXPECT_EQ(ask(again.h, "max_over_time(x{device='a'}[1h])", again.wall_ms()),
              back == 200 ? "" : fmt::format("a={} ", 200 - back));
  }
}

TEST(SavedHistory, ALowerLimitKeepsTheNewest) {
  Machine m;
  for (int i = 1; i <= 600; ++i) m.cycle({{"a", std::sqrt(i)}, {"b", std::sqrt(i) / 3}});
  const auto file = file_of(m);
  auto saved = load(file, moment_of(m), 6000);
  ASSERT_TRUE(saved) << saved.error().text;
  EXPECT_EQ(saved->samples + saved->too_many, 1200U);
  EXPECT_GT(saved->samples, 300U);
  EXPECT_LT(saved->samples, 900U);
  Machine again;
  again.boot_ms = m.boot_ms;
  const auto until = saved->too_many_until_ms;
  ASSERT_TRUE(again.h.restore(std::move(*saved)));
  EXPECT_EQ(again.h.evicted_until_ms(), until);
  again.cycle({{"a", 1}, {"b", 1}});
  EXPECT_EQ(ask(again.h, "x offset 5s", again.wall_ms()), ask(m.h, "x", m.wall_ms()));
  EXPECT_EQ(again.h.size().oldest_ms, again.boot_ms - until - 5000);
}

TEST(SavedHistory, OtherLabelsOfAllSeriesBeginAnew) {
  Machine m({.series_labels = {{"job", "node"}}});
  m.cycle({{"a", 1}});
  Machine again;
  auto saved = load(file_of(m), moment_of(m));
  ASSERT_TRUE(saved) << saved.error().text;
  EXPECT_FALSE(again.h.restore(std::move(*saved)));
  again.cycle({{"a", 2}});
  EXPECT_EQ(ask(again.h, "x", again.wall_ms()), "a=2 ");
}

TEST(SavedHistory, NothingThatIsTornOrChangedIsRead) {
  RandomMachine m(5);
  for (int i = 0; i < 20; ++i) m.step();
  const auto file = file_of(m);
  const auto now = moment_of(m);
  ASSERT_TRUE(load(file, now));
  for (std::size_t size = 0; size < file.size(); ++size)
    ASSERT_FALSE(load(std::string_view(file).substr(0, size), now)) << size;
  auto changed = file;
  for (std::size_t i = 0; i < file.size(); ++i)
    for (int bit = 0; bit < 8; bit += i < 64 ? 1 : 3) {
      changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
      ASSERT_FALSE(load(changed, now)) << i << " bit " << bit;
      changed[i] = file[i];
    }
  EXPECT_THAT(load(file + "more", now).error().text, HasSubstr("bytes behind its end"));
}

TEST(SavedHistory, SaysWhatIsWrong) {
  Machine m;
  m.cycle({{"a", 1}});
  const auto file = file_of(m);
  const auto now = moment_of(m);
  const auto changed = [&](std::size_t at, std::string_view text) {
    auto out = file;
    out.replace(at, text.size(), text);
    return load(out, now).error().text;
  };
  EXPECT_EQ(changed(7, "2"), "it is of version '2', expected '1'");
  EXPECT_EQ(changed(0, "#!/bin/s"), "it is another kind of file");
  EXPECT_EQ(changed(20, "x"), "the checksum of the section at byte 8 is wrong");
  EXPECT_EQ(load("", now).error().text, "it ends at byte 0");
  EXPECT_THAT(load(file.substr(0, 30), now).error().text, HasSubstr("goes on beyond the file's end at 30"));
}

// With checksums that are right: a bug, or somebody who wants to know.
TEST(SavedHistory, SenselessFilesWithGoodChecksums) {
  Machine m;
  for (int i = 0; i < 3; ++i) m.cycle({{"a", i}, {"b", 1.5 * i}});
  std::vector<Section> sections;
  const auto file = file_of(m);
  SectionReader in("vitaldh1", source_of(file), file.size());
  for (auto next = in.next(); next && *next; next = in.next()) sections.push_back(std::move(**next));
  ASSERT_EQ(sections.size(), 4U);
  const auto load_of = [&](const std::vector<Section>& list) {
    std::string out;
    SectionWriter w("vitaldh1", [&out](std::string_view bytes) -> Result<> { return out += bytes, Result<>(); });
    for (const auto& s : list) w.put(s.tag, s.payload);
    EXPECT_TRUE(w.end());
    return load(out, moment_of(m));
  };
  ASSERT_TRUE(load_of(sections));
  struct Case {
    const char* name;
    std::function<void(std::vector<Section>&)> change;
  };
  const Case cases[] = {
      {"nothing", [](auto& s) { s.clear(); }},
      {"no head", [](auto& s) { s.erase(s.begin()); }},
      {"two heads", [](auto& s) { s.insert(s.begin(), s.front()); }},
      {"no series", [](auto& s) { s.erase(s.begin() + 1); }},
      {"series twice", [](auto& s) { s.insert(s.begin() + 1, s[1]); }},
      {"no ids", [](auto& s) { s.erase(s.begin() + 2); }},
      {"a chunk twice", [](auto& s) { s.push_back(s.back()); }},
      {"chunks before ids", [](auto& s) { std::swap(s[2], s[3]); }},
      {"a tag that nobody knows", [](auto& s) { s.back().tag = 9; }},
      {"one series less", [](auto& s) { --s[0].payload[s[0].payload.size() - 4]; }},
      {"one series more", [](auto& s) { ++s[0].payload[s[0].payload.size() - 4]; }},
      {"a series of no feed", [](auto& s) { s[1].payload[0] = 9; }},
      {"two series in one slot", [](auto& s) { s[1].payload[4] ^= 1; }},
      {"an id twice", [](auto& s) { s[2].payload[4] = s[2].payload[0]; }},
      {"an id of nobody", [](auto& s) { s[2].payload[0] = 9; }},
      {"a slot that belongs to nobody", [](auto& s) { s[2].payload.replace(0, 4, 4, '\xff'); }},
      {"a chunk of another feed", [](auto& s) { s[3].payload[0] ^= 1; }},
      {"a chunk of other ids", [](auto& s) { s[3].payload[4] = 7; }},
      {"65 rows", [](auto& s) { s[3].payload[8] = 65; }},
      {"no row", [](auto& s) { s[3].payload[8] = 0; }},
      {"thinned by two", [](auto& s) { s[3].payload[9] = 2; }},
      {"it begins after it ends", [](auto& s) { s[3].payload[10] ^= 0x40; }},
      {"times beyond all time", [](auto& s) { s[3].payload[17] ^= 0x40; }},
      {"a slot that is not there", [](auto& s) { s[3].payload[26] |= 4; }},
      {"a block less", [](auto& s) { s[3].payload[26] &= 1; }},
      {"half a block", [](auto& s) { s[3].payload.pop_back(); }},
      {"a byte more", [](auto& s) { s[3].payload += 'x'; }},
      {"a scale that nobody knows", [](auto& s) { s[3].payload[28] = 0x0f; }},
  };
  for (const auto& c : cases) {
    auto list = sections;
    c.change(list);
    const auto saved = load_of(list);
    ASSERT_FALSE(saved) << c.name;
    EXPECT_THAT(saved.error().text, HasSubstr("makes no sense, though the checksums are right")) << c.name;
  }
}

}  // namespace
}  // namespace vitald
