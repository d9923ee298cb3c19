// SPDX-License-Identifier: Apache-2.0
// Alerts over a restart: nothing that fires is told as new or as over, nothing that waits waits longer than it must.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "rules/saved_alerts.h"
#include "tests/rules/rule_machine.h"

namespace vitald {
namespace {

using testing::HasSubstr;

Moment moment_of(const RuleMachine& m, std::string boot) {
  return {std::move(boot), m.clock.boot / 1'000'000, m.clock.wall / 1'000'000};
}

// As a run of this boot leaves them with its last round.
std::string file_of(const RuleMachine& m, std::vector<AlertTransition> untold = {}) {
  std::string out;
  EXPECT_TRUE(save(m.engine->alerts_to_save(std::move(untold)), moment_of(m, "one"),
                   [&out](std::string_view bytes) -> Result<> { return out += bytes, Result<>(); }));
  return out;
}

Result<LoadedAlerts> load(std::string_view file) { return load_alerts(source_of(file), file.size()); }

// Another run, `down_s` later; after a reboot boot time has begun again half a minute ago.
struct NextRun : RuleMachine {
  NextRun(std::string_view yaml, const RuleMachine& before, double down_s, bool reboot = false,
          std::vector<AlertTransition> untold = {}, RuleSettings settings = {})
      : RuleMachine(yaml, std::move(settings)) {
    clock = before.clock;
    clock.advance_ns(static_cast<std::int64_t>(down_s * 1e9));
    if (reboot) clock.boot = 30'000'000'000;
    auto loaded = load(file_of(before, std::move(untold)));
    EXPECT_TRUE(loaded) << loaded.error().text;
    if (loaded) engine->restore(std::move(*loaded), moment_of(*this, reboot ? "two" : "one"));
  }
  Alert alert(std::size_t i = 0) const { return engine->view()->groups.at(0).rules.at(0).alerts.at(i); }
};

constexpr std::string_view kHot = "groups: [{name: g, rules: [{alert: Hot, expr: temp > 70, for: 10s}]}]";
using Rows = std::vector<RuleMachine::Row>;
const Rows kBad{{"temp", "a", 80}}, kGood{{"temp", "a", 60}};

TEST(Restart, WhatFiresFiresOn) {
  for (const bool reboot : {false, true}) {
    SCOPED_TRACE(reboot);
    RuleMachine m(kHot);
    for (int i = 0; i < 4; ++i) m.cycle(kBad);
    ASSERT_EQ(m.transitions(), "Hot+a ");
    const auto before = m.engine->view()->groups[0].rules[0].alerts.at(0);
    NextRun run(kHot, m, 120, reboot);
    for (int i = 0; i < 10; ++i) {
      EXPECT_THAT(run.cycle(kBad), HasSubstr("firing"));
      EXPECT_EQ(run.transitions(), "") << "a receiver knows it";
      const auto now = run.alert();
      EXPECT_EQ(now.active_at_ms, before.active_at_ms);
      EXPECT_EQ(now.fired_at_ms, before.fired_at_ms) << "the key that a receiver knows it by";
      EXPECT_EQ(now.fingerprint, before.fingerprint);
    }
    EXPECT_EQ(run.cycle(kGood), "");
    EXPECT_EQ(run.transitions(), "Hot-a ");
    run.cycle(kGood);
    EXPECT_EQ(run.transitions(), "");
  }
}

// Samples may be missing: a rate has one, a worker is being started.
TEST(Restart, WhatGivesNothingYetIsHeld) {
  struct Case {
    const char* expr;
    double held_s;
  };
  for (const auto& c :
       {Case{"temp > 70", 15}, Case{"avg_over_time(temp[1m]) > 70", 60}, Case{"max_over_time(temp[2h]) > 70", 300}}) {
    SCOPED_TRACE(c.expr);
    const auto yaml =
        fmt::format("groups: [{{name: g, rules: [{{alert: Hot, expr: '{}'}}, {{alert: Slow, expr: '{}', for: 1h}}]}}]",
                    c.expr, c.expr);
    RuleMachine m(yaml);
    m.cycle(kBad);
    ASSERT_EQ(m.transitions(), "Hot+a ");
    NextRun run(yaml, m, 10);
    double passed_s = 0;
    for (; passed_s + 5 < c.held_s; passed_s += 5) {
      const auto out = run.cycle({});
      EXPECT_THAT(out, HasSubstr("firing"));
      EXPECT_THAT(out, HasSubstr("pending"));
      EXPECT_EQ(run.transitions(), "") << passed_s;
    }
    EXPECT_EQ(run.cycle({}), "");
    EXPECT_EQ(run.transitions(), "Hot-a ");
    // Seen once, it is like any other.
    NextRun seen(yaml, m, 10);
    seen.cycle(kBad);
    EXPECT_EQ(seen.transitions(), "");
    seen.cycle({{"temp", "b", 1}}, 301);
    EXPECT_EQ(seen.transitions(), c.held_s < 300 ? "Hot-a " : "");
  }
}

TEST(Restart, WhatWaitsHasWaited) {
  struct Case {
    const char* name;
    double waited_s, for_s, down_s;
    double left_s;  // from the start of the run on
  };
  const Case cases[] = {
      {"a short for", 40, 60, 30, 20},
      {"a short for, long down", 40, 60, 3000, 20},
      {"a long for", 600, 3600, 300, 3000},
      {"a long for that is nearly over", 3500, 3600, 300, 600},
      {"it would have fired", 3600, 3600, 30, 0},
  };
  for (const auto& c : cases)
    for (const bool reboot : {false, true}) {
      SCOPED_TRACE(c.name);
      const auto yaml =
          fmt::format("groups: [{{name: g, rules: [{{alert: Hot, expr: temp > 70, for: {}s}}]}}]", c.for_s);
      RuleMachine m(yaml);
      m.cycle(kBad);
      m.cycle(kBad, c.waited_s - 0.001);  // one that is due fires in this round
      ASSERT_EQ(m.transitions(), "");
      const auto began_ms = m.engine->view()->groups.at(0).rules.at(0).alerts.at(0).active_at_ms;
      m.clock.advance_ns(1'000'000);
      NextRun run(yaml, m, c.down_s, reboot);
      const auto begin = run.clock.wall;
      std::string wrote;
      while (run.transitions().empty() && run.clock.wall - begin < 7'200'000'000'000) wrote = run.cycle(kBad, 1);
      EXPECT_NEAR(static_cast<double>(run.clock.wall - begin) / 1e9, std::max(c.left_s, 1.0), 1.01);
      const auto a = run.alert();
      EXPECT_EQ(a.active_at_ms, began_ms) << "people know it by that";
      // What is down does not count: so Prometheus says it.
      constexpr std::string_view kForState = "ALERTS_FOR_STATE";
      const auto line = wrote.substr(wrote.find(kForState));
      const auto for_state = std::stod(line.substr(line.find("} ") + 2));
      EXPECT_NEAR(static_cast<double>(a.fired_at_ms) / 1e3 - for_state, c.left_s > 0 ? c.for_s : c.for_s + c.down_s + 1,
                  2.01);
    }
}

TEST(Restart, AfterALongOutageAllBeginsAnew) {
  RuleMachine m(kHot);
  for (int i = 0; i < 4; ++i) m.cycle({{"temp", "a", 80}});
  m.cycle({{"temp", "a", 80}, {"temp", "b", 80}});
  ASSERT_EQ(m.transitions(), "Hot+a ");
  for (const double down_s : {3599.0, 3601.0}) {
    NextRun run(kHot, m, down_s);
    const bool anew = down_s > 3600;
    EXPECT_EQ(run.transitions(), anew ? "Hot-a " : "") << "whoever was told of it hears that it is over";
    EXPECT_EQ(run.cycle({{"temp", "a", 80}, {"temp", "b", 80}}).find("firing") == std::string::npos, anew);
  }
  NextRun patient(kHot, m, 7000, false, {}, {.outage_tolerance_ms = 7'200'000});
  EXPECT_THAT(patient.cycle(kBad), HasSubstr("firing"));
}

TEST(Restart, KeepFiringFor) {
  constexpr std::string_view kYaml =
      "groups: [{name: g, rules: [{alert: Hot, expr: temp > 70, keep_firing_for: 60s}]}]";
  for (const bool reboot : {false, true}) {
    RuleMachine m(kYaml);
    m.cycle(kBad);
    ASSERT_EQ(m.transitions(), "Hot+a ");
    m.cycle(kGood);
    NextRun run(kYaml, m, 30, reboot);
    for (int s = 35; s < 60; s += 5) {
      EXPECT_THAT(run.cycle(kGood), HasSubstr("firing")) << s;
      EXPECT_EQ(run.transitions(), "");
    }
    EXPECT_EQ(run.cycle(kGood), "");
    EXPECT_EQ(run.transitions(), "Hot-a ");
  }
}

TEST(Restart, RulesThatWereEdited) {
  RuleMachine m(kHot);
  for (int i = 0; i < 4; ++i) m.cycle(kBad);
  ASSERT_EQ(m.transitions(), "Hot+a ");
  NextRun threshold("groups: [{name: g, rules: [{alert: Hot, expr: temp > 75, for: 10s}]}]", m, 10);
  EXPECT_THAT(threshold.cycle(kBad), HasSubstr("firing"));
  EXPECT_EQ(threshold.transitions(), "");
  NextRun gone("groups: [{name: g, rules: [{alert: Cold, expr: temp < 0}]}]", m, 10);
  EXPECT_EQ(gone.transitions(), "Hot-a ");
  EXPECT_EQ(gone.cycle(kBad), "");
  NextRun labels("groups: [{name: g, rules: [{alert: Hot, expr: temp > 70, for: 10s, labels: {severity: page}}]}]", m,
                 10);
  labels.cycle(kBad);
  EXPECT_EQ(labels.transitions(), "Hot-a Hot+a ") << "as after a reload: the other labels are another alert";
}

// Killed between saying what is to be told and having told it: it is told, with the same times.
TEST(Restart, WhatMayNotHaveBeenToldIsToldAgain) {
  RuleMachine m(kHot);
  for (int i = 0; i < 3; ++i) m.cycle(kBad);
  const auto untold = m.engine->take_transitions();
  ASSERT_EQ(untold.size(), 1U);
  NextRun run(kHot, m, 50, false, untold);
  const auto again = run.engine->take_transitions();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_TRUE(again[0].firing);
  EXPECT_EQ(again[0].alert.fired_at_ms, untold[0].alert.fired_at_ms);
  EXPECT_EQ(again[0].alert.labels, untold[0].alert.labels);
  EXPECT_EQ(again[0].alert.value, 80);
  EXPECT_EQ(again[0].alert.fingerprint, untold[0].alert.fingerprint);
  EXPECT_THAT(run.cycle(kBad), HasSubstr("firing"));
  EXPECT_EQ(run.transitions(), "");
}

TEST(Restart, AnotherVersionWhenSomethingIsToBeSaved) {
  RuleMachine m("groups: [{name: g, rules: [{alert: Hot, expr: temp > 70, for: 10s, keep_firing_for: 7s}]}]");
  std::vector<std::uint64_t> versions;
  const auto changed = [&](const Rows& rows) {
    m.cycle(rows);
    versions.push_back(m.engine->alerts_version());
    return versions.size() < 2 || versions.back() != versions[versions.size() - 2];
  };
  changed(kGood);
  EXPECT_EQ(versions[0], 0U);
  EXPECT_FALSE(changed(kGood));
  EXPECT_TRUE(changed(kBad)) << "pending";
  EXPECT_FALSE(changed({{"temp", "a", 85}})) << "a value alone is not worth a write";
  EXPECT_TRUE(changed(kBad)) << "firing";
  EXPECT_FALSE(changed(kBad));
  EXPECT_TRUE(changed({{"temp", "a", 80}, {"temp", "b", 80}}));
  EXPECT_TRUE(changed(kBad)) << "b is over";
  EXPECT_TRUE(changed(kGood)) << "it is kept firing";
  EXPECT_FALSE(changed(kGood));
  EXPECT_TRUE(changed(kGood)) << "over";
  EXPECT_EQ(versions.back(), 0U);
}

TEST(SavedAlerts, NothingThatIsTornOrChangedIsRead) {
  RuleMachine m(kHot);
  for (int i = 0; i < 4; ++i) m.cycle({{"temp", "a", 80}, {"temp", "b", 90}});
  const auto file = file_of(m, m.engine->take_transitions());
  ASSERT_TRUE(load(file));
  for (std::size_t size = 0; size < file.size(); ++size)
    ASSERT_FALSE(load(std::string_view(file).substr(0, size))) << size;
  auto changed = file;
  for (std::size_t i = 0; i < file.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
      ASSERT_FALSE(load(changed)) << i << " bit " << bit;
      changed[i] = file[i];
    }
}

}  // namespace
}  // namespace vitald
