// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/prom_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace vitald {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Emit = std::function<void(BatchWriter&)>;

// Collectors that live across cycles, as in the agent.
class Cycles {
 public:
  void emit(const std::string& collector, const Emit& emit) {
    auto& writer = writers_.try_emplace(collector, collector).first->second;
    writer.begin(1, 1);
    emit(writer);
    batches_[collector] = writer.finish({}, 0, 0);
  }
  void drop(const std::string& collector) { batches_.erase(collector); }
  std::string text(const std::function<bool(std::string_view)>& keep = {}) { return text_by(encoder, keep); }
  std::string text_by(PromText& by, const std::function<bool(std::string_view)>& keep = {}) {
    Snapshot s;
    for (const auto& [name, batch] : batches_) s.batches.push_back(batch);
    std::string out;
    by.encode(s, out, keep);
    return out;
  }
  PromText encoder;

 private:
  std::map<std::string, BatchWriter> writers_;
  std::map<std::string, BatchPtr> batches_;
};

constexpr MetricDesc kCpu{"node_cpu_seconds_total", MetricType::counter, "Seconds the CPUs spent in each mode.",
                          "cpu,mode"};
constexpr MetricDesc kLoad{"node_load1", MetricType::gauge, "1m load average."};
constexpr MetricDesc kNoHelp{"a_first", MetricType::untyped};
constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait.", "device"};
constexpr MetricDesc kHelp{"help", MetricType::gauge, "back\\slash, \"quote\" and\nnew line"};

TEST(PromText, FamiliesByNameSeriesByLabelValues) {
  Cycles c;
  c.emit("loadavg", [](auto& o) { o.set(kLoad, 0.25); });
  c.emit("cpu", [](auto& o) {
    for (const char* cpu : {"0", "10", "2"})
      for (const char* mode : {"user", "idle"}) o.set(kCpu, 1.5, cpu, mode);
    o.set(kNoHelp, 3);
  });
  EXPECT_EQ(c.text(),
            "# TYPE a_first untyped\n"
            "a_first 3\n"
            "# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n"
            "# TYPE node_cpu_seconds_total counter\n"
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1.5\n"
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1.5\n"
            "node_cpu_seconds_total{cpu=\"10\",mode=\"idle\"} 1.5\n"
            "node_cpu_seconds_total{cpu=\"10\",mode=\"user\"} 1.5\n"
            "node_cpu_seconds_total{cpu=\"2\",mode=\"idle\"} 1.5\n"
            "node_cpu_seconds_total{cpu=\"2\",mode=\"user\"} 1.5\n"
            "# HELP node_load1 1m load average.\n"
            "# TYPE node_load1 gauge\n"
            "node_load1 0.25\n");
  EXPECT_THAT(c.encoder.conflicts(), IsEmpty());
}

TEST(PromText, FamilyEmittedInSeveralPlacesIsTogether) {
  Cycles c;
  c.emit("cpu", [](auto& o) {
    o.set(kCpu, 1, "1", "idle");
    o.set(kLoad, 2);
    o.set(kCpu, 3, "0", "idle");
  });
  EXPECT_EQ(c.text(),
            "# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n"
            "# TYPE node_cpu_seconds_total counter\n"
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 3\n"
            "node_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} 1\n"
            "# HELP node_load1 1m load average.\n"
            "# TYPE node_load1 gauge\n"
            "node_load1 2\n");
}

TEST(PromText, ValuesFollowWhatChanges) {
  Cycles c;
  const std::string head = "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 ";
  for (const auto& [value, text] : std::map<double, std::string>{
           {0, "0"}, {1, "1"}, {1.25, "1.25"}, {-17, "-17"}, {1e300, "1e+300"}, {1.0 / 3, "0.3333333333333333"}}) {
    for (int twice = 0; twice < 2; ++twice) {
      c.emit("loadavg", [v = value](auto& o) { o.set(kLoad, v); });
      EXPECT_EQ(c.text(), head + text + "\n");
    }
  }
  using Limits = std::numeric_limits<double>;
  c.emit("loadavg", [](auto& o) { o.set(kLoad, Limits::quiet_NaN()); });
  EXPECT_EQ(c.text(), head + "NaN\n");
  c.emit("loadavg", [](auto& o) { o.set(kLoad, Limits::infinity()); });
  EXPECT_EQ(c.text(), head + "+Inf\n");
  c.emit("loadavg", [](auto& o) { o.set(kLoad, -Limits::infinity()); });
  EXPECT_EQ(c.text(), head + "-Inf\n");
}

TEST(PromText, HistogramInTheOrderOfItsBounds) {
  Cycles c;
  const double bounds[] = {0.5, 10, 100};
  const std::uint64_t counts[] = {1, 2, 0, 4};
  c.emit("bpf", [&](auto& o) {
    o.histogram(kWait, {bounds, counts, 7.5}, "sdb");
    o.histogram(kWait, {bounds, counts, 7.5}, "sda");
  });
  const auto block = [](const std::string& device) {
    const auto d = "device=\"" + device + "\"";
    return "wait_seconds_bucket{" + d + ",le=\"0.5\"} 1\nwait_seconds_bucket{" + d + ",le=\"10\"} 3\n" +
           "wait_seconds_bucket{" + d + ",le=\"100\"} 3\nwait_seconds_bucket{" + d + ",le=\"+Inf\"} 7\n" +
           "wait_seconds_sum{" + d + "} 7.5\nwait_seconds_count{" + d + "} 7\n";
  };
  EXPECT_EQ(c.text(), "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\n" + block("sda") + block("sdb"));
}

TEST(PromText, SummaryMadeElsewhere) {
  static constexpr MetricDesc kSummary{"s", MetricType::summary, "S."};
  Cycles c;
  c.emit("textfile", [](auto& o) {
    const Label b[] = {{"job", "b"}, {"quantile", "0.9"}}, b5[] = {{"job", "b"}, {"quantile", "0.5"}},
                bs[] = {{"job", "b"}};
    o.set_labels(kSummary, 9, b);
    o.set_labels(kSummary, 5, b5);
    o.set_labels(kSummary, 100, bs, Part::sum);
    o.set_labels(kSummary, 10, bs, Part::count);
    const Label a[] = {{"job", "a"}, {"quantile", "0.5"}}, as[] = {{"job", "a"}};
    o.set_labels(kSummary, 1, a);
    o.set_labels(kSummary, 2, as, Part::sum);
    o.set_labels(kSummary, 3, as, Part::count);
  });
  EXPECT_EQ(c.text(),
            "# HELP s S.\n# TYPE s summary\n"
            "s{job=\"a\",quantile=\"0.5\"} 1\ns_sum{job=\"a\"} 2\ns_count{job=\"a\"} 3\n"
            "s{job=\"b\",quantile=\"0.5\"} 5\ns{job=\"b\",quantile=\"0.9\"} 9\ns_sum{job=\"b\"} "
            "100\ns_count{job=\"b\"} 10\n");
}

TEST(PromText, FamilyOfTwoCollectorsIsMerged) {
  Cycles c;
  c.emit("a", [](auto& o) { o.set(kCpu, 1, "1", "idle"); });
  c.emit("b", [](auto& o) { o.set(kCpu, 2, "0", "idle"), o.set(kCpu, 3, "2", "idle"); });
  EXPECT_EQ(c.text(),
            "# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n"
            "# TYPE node_cpu_seconds_total counter\n"
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 2\n"
            "node_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} 1\n"
            "node_cpu_seconds_total{cpu=\"2\",mode=\"idle\"} 3\n");
  EXPECT_THAT(c.encoder.conflicts(), IsEmpty());
}

TEST(PromText, SameSeriesTwiceFirstCollectorWins) {
  Cycles c;
  for (const char* name : {"a", "b", "c"}) c.emit(name, [&](auto& o) { o.set(kCpu, name[0] - 'a', "0", "idle"); });
  EXPECT_THAT(c.text(), testing::EndsWith("counter\nnode_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 0\n"));
  EXPECT_THAT(c.encoder.conflicts(),
              ElementsAre("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}: b gives it too; left out",
                          "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}: c gives it too; left out"));
  c.drop("b"), c.drop("c");
  c.text();
  EXPECT_THAT(c.encoder.conflicts(), IsEmpty());
}

TEST(PromText, OtherTypeOrNameOfAPartIsLeftOut) {
  static constexpr MetricDesc kLoadCounter{"node_load1", MetricType::counter, "Other."};
  static constexpr MetricDesc kWaitSum{"wait_seconds_sum", MetricType::gauge, "Other."};
  Cycles c;
  const std::uint64_t counts[] = {3};
  c.emit("a", [&](auto& o) { o.set(kLoad, 1), o.histogram(kWait, {{}, counts, 1}, "d"); });
  c.emit("b", [](auto& o) { o.set(kLoadCounter, 2), o.set(kWaitSum, 2); });
  EXPECT_EQ(c.text(),
            "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 1\n"
            "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\n"
            "wait_seconds_bucket{device=\"d\",le=\"+Inf\"} 3\nwait_seconds_sum{device=\"d\"} 1\n"
            "wait_seconds_count{device=\"d\"} 3\n");
  EXPECT_THAT(
      c.encoder.conflicts(),
      ElementsAre("node_load1: b calls it a counter, a already a gauge; left out",
                  "wait_seconds_sum: b gives a family with the name of a histogram's or summary's part; left out"));
}

TEST(PromText, LayoutsComeAndGo) {
  Cycles c;
  const auto cpus = [&](int n) {
    c.emit("cpu", [&](auto& o) {
      for (int i = 0; i < n; ++i) o.set(kCpu, i, std::string(1, static_cast<char>('0' + i)), "idle");
    });
  };
  const auto lines = [&](std::string_view text) { return std::ranges::count(text, '\n'); };
  c.emit("loadavg", [](auto& o) { o.set(kLoad, 1); });
  for (const int n : {1, 3, 2, 0, 9, 9, 1}) {
    cpus(n);
    EXPECT_EQ(lines(c.text()), n + (n ? 2 : 0) + 3) << n;
  }
  c.drop("loadavg");
  EXPECT_EQ(lines(c.text()), 3);
}

// A plan that takes over what came and went says the same as one made anew.
TEST(PromText, WhatChangedIsAllThatChanges) {
  static constexpr MetricDesc kOwner{"owner_total", MetricType::counter, "Owner.", "owner,kind"};
  static constexpr MetricDesc kOwnerNow{"a_owner", MetricType::gauge, "", "owner"};
  static constexpr MetricDesc kInside{"inside", MetricType::gauge, "For derivers.", "owner", "", "", Shown::inside};
  static constexpr MetricDesc kOtherHelp{"help", MetricType::gauge, "Of another descriptor.", "owner"};
  std::uint32_t random = 7;
  const auto next = [&](std::uint32_t below) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % below;
  };
  Cycles c;
  std::map<std::string, std::vector<int>> owners{{"a", {1, 2, 3}}, {"b", {}}, {"c", {}}};
  for (int i = 0; i < 40; ++i) owners["b"].push_back(2 * i), owners["c"].push_back(2 * i + 201);
  PromText open(PromText::Format::open_metrics_created);
  int fell = 0;
  for (int cycle = 0; cycle < 120; ++cycle) {
    for (auto& [name, list] : owners) {
      for (auto changes = next(3); changes > 0; --changes) {
        const auto at = list.begin() + next(static_cast<std::uint32_t>(list.size()) + 1);
        if (next(2) == 0 && at != list.end()) list.erase(at);
        else if (next(9) == 0) list.insert(at, static_cast<int>(next(400)));  // now and then one that another has too
        else list.insert(at, (name[0] - 'a') * 1000 + static_cast<int>(next(900)));
      }
      fell += next(20) == 0 ? 1 : 0;
      const double value = cycle - 50 * fell;
      c.emit(name, [&](auto& o) {
        const double bounds[] = {1, 10};
        const std::uint64_t counts[] = {1, 1, static_cast<std::uint64_t>(cycle)};
        if (name != "c") o.set(kLoad, 1);  // two of them: the first one's stays
        if (name == "b" && cycle % 15 < 12) o.set(kHelp, value);
        if (name == "c") o.set(kOtherHelp, value, "c");
        for (const int n : list) {
          const auto owner = std::to_string(n);
          for (const auto* kind : {"x", "y"}) o.set(kOwner, value + n, owner, kind);
          o.set(kInside, n, owner);
          if (n % 3 == 0) o.histogram(kWait, {bounds, counts, value}, owner);
        }
        for (const int n : list) o.set(kOwnerNow, n, std::to_string(n));
      });
      if (cycle % 50 > 3) c.drop("a");  // then nothing is there twice, and what changes can be taken over
    }
    const auto got = c.text();
    const auto conflicts = std::vector(c.encoder.conflicts().begin(), c.encoder.conflicts().end());
    PromText fresh;
    ASSERT_EQ(got, c.text_by(fresh)) << cycle;
    PromText fresh_open(PromText::Format::open_metrics_created);
    ASSERT_EQ(c.text_by(open), c.text_by(fresh_open)) << cycle;
    ASSERT_TRUE(std::ranges::equal(conflicts, fresh.conflicts()));
    EXPECT_EQ(got.find("inside"), got.npos);
  }
}

TEST(PromText, FiltersDoNotDisturbEachOther) {
  Cycles c;
  const auto only = [&](std::string_view name) { return c.text([=](std::string_view n) { return n == name; }); };
  for (int cycle = 0; cycle < 3; ++cycle) {
    for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
      c.emit(name, [&](auto& o) { o.set(kCpu, cycle, name, "idle"); });
    }
    for (const char* name : {"a", "b", "c", "d", "e", "f"})
      EXPECT_THAT(only(name), testing::EndsWith("{cpu=\"" + std::string(name) + "\",mode=\"idle\"} " +
                                                std::to_string(cycle) + "\n"));
    EXPECT_EQ(std::ranges::count(c.text(), '\n'), 8);
  }
  EXPECT_EQ(only("unknown"), "");
}

TEST(PromText, ReplacesAndNeedsNothing) {
  std::string out = "before\n";
  PromText().encode(Snapshot{}, out);
  EXPECT_EQ(out, "");
  Cycles c;
  c.emit("loadavg", [](auto& o) { o.set(kLoad, 1); });
  EXPECT_EQ(c.text(), c.text());
}

// --- read back by somebody else --------------------------------------------------------------------------

// The text format's grammar for one line, written from its specification and sharing no code with the encoder.
struct Row {
  std::string name;
  std::map<std::string, std::string> labels;
  std::string value;
};
std::optional<Row> parse_row(std::string_view line) {
  Row row;
  std::size_t i = 0;
  while (i < line.size() && line[i] != '{' && line[i] != ' ') row.name += line[i++];
  if (i < line.size() && line[i] == '{') {
    ++i;
    while (i < line.size() && line[i] != '}') {
      std::string name, value;
      while (i < line.size() && line[i] != '=') name += line[i++];
      if (i + 1 >= line.size() || line[i + 1] != '"') return std::nullopt;
      for (i += 2; i < line.size() && line[i] != '"'; ++i) {
        if (line[i] != '\\') {
          value += line[i];
          continue;
        }
        if (++i >= line.size()) return std::nullopt;
        if (line[i] == 'n') value += '\n';
        else if (line[i] == '\\' || line[i] == '"') value += line[i];
        else return std::nullopt;
      }
      if (i >= line.size() || !row.labels.emplace(name, value).second) return std::nullopt;
      if (++i < line.size() && line[i] == ',') ++i;
    }
    ++i;
  }
  if (i >= line.size() || line[i] != ' ') return std::nullopt;
  row.value = line.substr(i + 1);
  return row;
}

TEST(PromText, LabelValuesReadBack) {
  // Every text of up to three of the characters that matter.
  const std::string_view alphabet[] = {"\\", "\"", "\n", "n", "}", ",", "=", " ", "{", "#", "\xC3\xA9", "\t"};
  std::vector<std::string> values = {""};
  for (std::size_t from = 0, length = 0; length < 3; ++length) {
    const auto to = values.size();
    for (; from < to; ++from)
      for (const auto c : alphabet) values.push_back(values[from] + std::string(c));
  }
  ASSERT_EQ(values.size(), 1u + 12 + 144 + 1728);

  Cycles c;
  c.emit("cpu", [&](auto& o) {
    for (const auto& v : values) o.set(kCpu, 1, v, "x");
  });
  std::set<std::string> seen;
  const auto text = c.text();
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    if (line.starts_with("#")) continue;
    const auto row = parse_row(line);
    ASSERT_TRUE(row) << line;
    EXPECT_EQ(row->name, kCpu.name);
    EXPECT_EQ(row->labels.at("mode"), "x");
    EXPECT_EQ(row->value, "1");
    seen.insert(row->labels.at("cpu"));
  }
  EXPECT_TRUE(seen == std::set(values.begin(), values.end()));
}

TEST(PromText, HelpIsEscaped) {
  Cycles c;
  c.emit("x", [](auto& o) { o.set(kHelp, 1); });
  EXPECT_EQ(c.text(), "# HELP help back\\\\slash, \"quote\" and\\nnew line\n# TYPE help gauge\nhelp 1\n");
}

TEST(PromText, PromtoolReadsIt) {
  const char* const promtool = "/usr/bin/promtool";
  if (std::FILE* f = std::fopen(promtool, "r")) std::fclose(f);
  else GTEST_SKIP() << "no " << promtool << "; ./dev setup installs it (Debian package prometheus)";

  const double bounds[] = {0.001, 1};
  const std::uint64_t counts[] = {1, 2, 3};
  Cycles c;
  c.emit("all", [&](auto& o) {
    o.set(kLoad, 0.1);
    o.set(kHelp, std::numeric_limits<double>::quiet_NaN());
    o.set(kCpu, 1e300, "\"\\\n", "x");
    o.set(kCpu, -5, "\xff", "x");
    o.histogram(kWait, {bounds, counts, 0.5}, "sda");
  });
  const std::string path = testing::TempDir() + "/promtool-" + std::to_string(::getpid()) + ".prom";
  std::FILE* f = std::fopen(path.c_str(), "w");
  ASSERT_NE(f, nullptr);
  std::fputs(c.text().c_str(), f);
  std::fclose(f);
  // Lint (a counter's name, a missing unit) ends in 3; text that cannot be parsed in 1.
  EXPECT_EQ(std::system((std::string(promtool) + " check metrics < " + path).c_str()), 0);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace vitald
