// SPDX-License-Identifier: Apache-2.0
// Rules that nobody would write, over series that come and go: whatever they are, what leaves is read by everybody, and
// a rule that fails says why. VITALD_SEED=N begins with another seed, VITALD_SECONDS=N goes on for longer than two.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "agent/pipeline/guard.h"
#include "core/clock.h"
#include "core/text/json.h"
#include "exporters/encode/prom_text.h"
#include "rules/engine.h"
#include "tests/exposition_reader.h"

namespace vitald {
namespace {

constexpr MetricDesc kWait{"wait_seconds", MetricType::histogram, "Wait.", "a"};
const std::vector<std::string> kGauges = {"m0", "m1", "node_load1"};
const std::vector<std::string> kLabels = {"a", "b", "le", "alertname", "alertstate", "job"};
const std::vector<std::string> kValues = {
    "x",       "y",     "", "0.5", "a\"b", "c\\d", "two\nlines", "\xc3\xa4", "{{ $labels.a }}", "{{ $value }}",
    "{{ .Bad", "firing"};
const std::vector<std::string> kRecords = {"r0",
                                           "r1",
                                           "r:2",
                                           "m0",
                                           "node_load1",
                                           "wait_seconds",
                                           "wait_seconds_bucket",
                                           "wait_seconds_count",
                                           "ALERTS",
                                           "ALERTS_FOR_STATE"};
constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  const std::string& of(const std::vector<std::string>& list) { return list[below(list.size())]; }

  double number() {
    constexpr double kOdd[] = {0, -0.0, 1, -1, 1e308, -1e308, 5e-324, kInf, -kInf, kNan, 4294967296.0, 0.1};
    return one_in(2) ? kOdd[below(std::size(kOdd))] : static_cast<double>(below(1000)) / 8;
  }

  std::string rules() {
    std::string out = "groups:\n";
    const auto groups = 1 + below(3);
    for (std::size_t g = 0; g < groups; ++g) {
      out += fmt::format("- name: g{}\n", g);
      if (one_in(3)) out += fmt::format("  limit: {}\n", 1 + below(4));
      if (one_in(3)) out += "  interval: 10s\n";
      out += "  rules:\n";
      const auto count = 1 + below(6);
      for (std::size_t r = 0; r < count; ++r) {
        const bool alert = one_in(2);
        out += fmt::format("  - {}: {}\n    expr: {}\n", alert ? "alert" : "record",
                           quoted(alert ? fmt::format("Alert{}", below(2)) : of(kRecords)), quoted(vector(3)));
        if (alert && one_in(3)) out += "    for: 5s\n";
        if (alert && one_in(3)) out += "    keep_firing_for: 10s\n";
        if (one_in(2)) out += fmt::format("    labels: {{{}: {}}}\n", of(kLabels), quoted(of(kValues)));
        if (alert) out += fmt::format("    annotations: {{summary: {}}}\n", quoted(of(kValues)));
      }
    }
    return out;
  }

 private:
  static std::string quoted(std::string_view text) {  // a JSON string is a YAML one
    std::string out;
    append_json_string(out, text);
    return out;
  }
  std::string selector() {
    std::string out = one_in(4) ? of(kRecords) : one_in(3) ? "wait_seconds_bucket" : of(kGauges);
    if (one_in(3)) {
      constexpr const char* kMatch[] = {"=", "!=", "=~", "!~"};
      out += fmt::format("{{{}{}\"{}\"}}", of(kLabels), kMatch[below(4)], one_in(2) ? "x" : ".*");
    }
    return out;
  }
  std::string vector(int depth) {
    if (depth == 0 || one_in(4)) return selector();
    switch (below(9)) {
      case 0: return fmt::format("sum by ({}) ({})", of(kLabels), vector(depth - 1));
      case 1: return fmt::format("max without ({}) ({})", of(kLabels), vector(depth - 1));
      case 2: return fmt::format("{} * {}", vector(depth - 1), below(5));
      case 3: return fmt::format("{} > {}", vector(depth - 1), below(5));
      case 4: return fmt::format("{} or {}", vector(depth - 1), vector(depth - 1));
      case 5: return fmt::format("{} / on (a) group_left {}", vector(depth - 1), vector(depth - 1));
      case 6: return fmt::format("rate({}[20s])", selector());
      case 7:
        return fmt::format("label_replace({}, \"{}\", \"{}\", \"{}\", \"(.*)\")", vector(depth - 1), of(kLabels),
                           one_in(2) ? "$1" : "q", of(kLabels));
      default: return one_in(2) ? fmt::format("absent({})", selector()) : fmt::format("vector({})", below(9));
    }
  }
  std::minstd_rand random_;
};

long environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atol(text) : otherwise;
}

TEST(RandomRules, WhatLeavesIsReadByEverybody) {
  const auto path = testing::TempDir() + "/random_rules_" + std::to_string(getpid()) + ".yaml";
  const auto end_ns = SystemClock::read(CLOCK_MONOTONIC) + environment("VITALD_SECONDS", 2) * 1'000'000'000;
  auto seed = static_cast<unsigned>(environment("VITALD_SEED", 20261129));
  std::size_t loaded = 0, refused = 0, series = 0;
  for (; SystemClock::read(CLOCK_MONOTONIC) < end_ns && !testing::Test::HasFailure(); ++seed) {
    Maker make(seed);
    const auto yaml = make.rules();
    SCOPED_TRACE(fmt::format("VITALD_SEED={}\n{}", seed, yaml));
    std::ofstream(path) << yaml;
    std::vector<std::string> problems;
    const auto engine = RuleEngine::load({.files = {path}}, problems);
    EXPECT_EQ(engine == nullptr, !problems.empty());
    if (!engine) {
      ++refused;
      continue;
    }
    ++loaded;
    FakeClock clock;
    Guard guard;
    PromText encoder;
    BatchWriter writer("machine");
    auto pool = std::make_shared<DescPool>();
    for (int cycle = 0; cycle < 8; ++cycle) {
      clock.advance_ns(5'000'000'000);
      writer.begin(clock.boot_ns(), clock.wall_ns());
      writer.use(pool);
      for (const auto& name : kGauges)
        for (const char* a : {"x", "y", "z"})
          for (const char* b : {"", "1"}) {
            if (make.one_in(3)) continue;
            const Label labels[] = {{"a", a}, {"b", b}};
            writer.set_labels(pool->get(name, MetricType::gauge, "help"), make.number(),
                              std::span(labels).first(*b != 0 ? 2 : 1));
          }
      constexpr double kBounds[] = {0.5, 1};
      const std::uint64_t counts[] = {make.below(5), make.below(5), make.below(5)};
      writer.histogram(kWait, {kBounds, counts, 3}, "x");
      Snapshot s;
      s.boot_ns = clock.boot_ns();
      s.wall_ns = clock.wall_ns();
      s.batches.push_back(writer.finish({}, 0, 0));
      s.batches.push_back(engine->evaluate(s));
      guard.check(s.batches);
      std::string text;
      encoder.encode(s, text);
      ExpositionReader reader;
      EXPECT_EQ(reader.read(text), "") << text;
      EXPECT_EQ(encoder.conflicts().size(), 0U);
      series += reader.series();
      const auto view = engine->view();
      for (const auto& group : view->groups)
        for (const auto& rule : group.rules)
          EXPECT_TRUE(rule.health != "err" || !rule.last_error.empty()) << rule.declared->name;
      engine->take_transitions();
    }
  }
  std::filesystem::remove(path);
  RecordProperty("last_seed", static_cast<int>(seed - 1));
  fmt::print("seeds up to {}: {} sets of rules, {} refused, {} series\n", seed - 1, loaded, refused, series);
  EXPECT_GT(loaded, refused);
}

}  // namespace
}  // namespace vitald
