// SPDX-License-Identifier: Apache-2.0
#include "rules/silences.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/measured.h"
#include "rules/promql/parser.h"

namespace vitald {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kNow = 1'700'000'000'000;

Alert alert_of(LabelMap labels, std::int64_t since_ms = kNow - 1000) {
  Alert a;
  a.labels = std::move(labels);
  a.state = AlertState::firing;
  a.active_at_ms = a.fired_at_ms = since_ms;
  for (const auto& [name, value] : a.labels)
    a.fingerprint = a.fingerprint * 31 + std::hash<std::string>{}(name + value);
  return a;
}

Matchers matchers(std::string_view text) {
  auto parsed = parse_alert_matchers(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Matchers{};
}

Silence silence(std::string_view text, std::int64_t starts_ms = kNow, std::int64_t ends_ms = kNow + 60'000) {
  Silence s;
  s.matchers = matchers(text);
  s.starts_ms = starts_ms;
  s.ends_ms = ends_ms;
  s.created_by = "me";
  s.comment = "because";
  return s;
}

TEST(Silences, Matchers) {
  const LabelMap labels{{"alertname", "Disk"}, {"severity", "critical"}};
  const std::pair<const char*, bool> cases[] = {{"alertname=\"Disk\"", true},
                                                {"{alertname=\"Disk\", severity=~\"crit.*\"}", true},
                                                {"alertname=\"Dis\"", false},
                                                {"alertname=~\"Dis\"", false},
                                                {"alertname!=\"Disk\"", false},
                                                {"device=\"\"", true},
                                                {"device!=\"\",alertname=\"Disk\"", false},
                                                {"severity!~\"warn.*\"", true},
                                                {"alertname=Disk", true},  // as Alertmanager takes it
                                                {" severity != critical ", false},
                                                {"severity=~crit.*", true},
                                                {"device=", true},  // there is no such label
                                                {"device!=", false},
                                                {"severity=", false}};
  for (const auto& [text, want] : cases) {
    const auto parsed = parse_alert_matchers(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(fits(*parsed, labels), want) << text;
  }
  for (const auto* bad :
       {"", "alertname", "a=~\"(\"", "=\"x\"", "{a=\"b\"", "a=b c", "a=\"b", "__name__=\"x\"", "{\"Disk\"}"})
    EXPECT_FALSE(parse_alert_matchers(bad)) << bad;
  // As Alertmanager reads quotes: a backslash that means nothing is one.
  const std::pair<const char*, const char*> quoted[] = {{"path=\"C:\\dir\"", "C:\\dir"},
                                                        {"path = \"C:\\temp\\x41\" ", "C:\\temp\\x41"},
                                                        {"path=\"a\\n\\\"\\\\b\"", "a\n\"\\b"}};
  for (const auto& [text, value] : quoted) {
    const auto parsed = parse_alert_matchers(text);
    ASSERT_TRUE(parsed) << text;
    ASSERT_EQ(parsed->size(), 1U);
    EXPECT_EQ(parsed->front().value, value) << text;
    // As it is kept, and as the API has it.
    EXPECT_EQ(parse_alert_matchers(matchers_text(*parsed))->front().value, value) << text;
    EXPECT_EQ(alert_matcher("path", value, false, true)->value, value) << text;
  }
  const auto odd = alert_matcher("a", "quo\"te\\", true, false);
  ASSERT_FALSE(odd) << "a backslash at the end is no expression";
  const auto good = alert_matcher("a", "quo\"te\n", false, false);
  ASSERT_TRUE(good);
  EXPECT_TRUE(good->matches("x"));
  EXPECT_FALSE(good->matches("quo\"te\n"));
  EXPECT_FALSE(alert_matcher("a b", "x", false, true));
  EXPECT_FALSE(alert_matcher("a", "(", true, true));
}

TEST(Silences, MuteWhileTheyAreActive) {
  Silences all;
  EXPECT_TRUE(all.idle());
  const auto disk = alert_of({{"alertname", "Disk"}});
  const auto id = all.put(silence("alertname=\"Disk\"", kNow + 1000, kNow + 5000), kNow);
  ASSERT_TRUE(id);
  EXPECT_FALSE(all.idle());
  const std::pair<std::int64_t, bool> cases[] = {{0, false}, {999, false}, {1000, true}, {4999, true}, {5000, false}};
  for (const auto& [after_ms, want] : cases)
    EXPECT_EQ(all.muting(disk.labels, {}, {}, kNow + after_ms).muted(), want) << after_ms;
  EXPECT_FALSE(all.muting({{"alertname", "Other"}}, {}, {}, kNow + 2000).muted());
  ASSERT_TRUE(all.expire(*id, kNow + 2000));
  EXPECT_FALSE(all.muting(disk.labels, {}, {}, kNow + 2000).muted());
  EXPECT_STREQ(all.marks()->silences[0].state(kNow + 2000), "expired");
  EXPECT_EQ(all.expire("nothing", kNow).error().kind, Errc::absent);
}

TEST(Silences, AreChangedByTheirId) {
  Silences all;
  const auto id = all.put(silence("a=\"b\""), kNow);
  auto longer = silence("a=\"b\"", kNow, kNow + 600'000);
  longer.id = *id;
  EXPECT_EQ(all.put(longer, kNow + 10).value(), *id);
  ASSERT_EQ(all.marks()->silences.size(), 1u);
  EXPECT_EQ(all.marks()->silences[0].ends_ms, kNow + 600'000);
  // Of others it is another one, and the first ends.
  auto others = silence("a=\"c\"");
  others.id = *id;
  const auto second = all.put(others, kNow + 20);
  ASSERT_TRUE(second);
  EXPECT_NE(*second, *id);
  EXPECT_STREQ(all.marks()->silences[0].state(kNow + 20), "expired");
  others.id = "nothing";
  EXPECT_EQ(all.put(others, kNow).error().kind, Errc::absent);
}

TEST(Silences, BadOnesAreRefused) {
  Silences all;
  auto none = silence("a=\"b\"");
  none.matchers.clear();
  auto everything = silence("a=\"b\"");
  everything.matchers = {*alert_matcher("x", ".*", true, true), *alert_matcher("y", "", false, true)};
  const std::pair<Silence, const char*> cases[] = {{none, "no matcher"},
                                                   {everything, "no matcher that chooses"},
                                                   {silence("a=\"b\"", kNow + 10, kNow + 5), "before it starts"},
                                                   {silence("a=\"b\"", kNow - 10, kNow - 5), "before now"}};
  for (const auto& [bad, why] : cases) {
    const auto done = all.put(bad, kNow);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind, Errc::malformed);
    EXPECT_THAT(done.error().text, HasSubstr(why));
  }
  // One that only excludes chooses, too.
  for (const auto* text : {"severity!=\"critical\"", "severity!~\"a|b\"", "x=\"\",severity!=\"critical\""})
    EXPECT_TRUE(all.put(silence(text), kNow)) << text;
}

TEST(Silences, NothingChangesThatCannotBeKept) {
  bool full = false;
  Silences all([&full](const Marks&) -> Result<> {
    if (full) return fail(Errc::io, "disk full");
    return {};
  });
  const auto id = all.put(silence("a=\"b\""), kNow);
  full = true;
  EXPECT_THAT(all.put(silence("a=\"c\""), kNow).error().text, HasSubstr("disk full"));
  EXPECT_FALSE(all.expire(*id, kNow + 1));
  EXPECT_FALSE(all.acknowledge(alert_of({{"a", "b"}}), {"me", "", 0, 0}, kNow));
  EXPECT_EQ(all.marks()->silences.size(), 1u);
  EXPECT_STREQ(all.marks()->silences[0].state(kNow + 1), "active");
  EXPECT_TRUE(all.marks()->acknowledged.empty());
}

TEST(Silences, AnAcknowledgementIsOfOneOccurrence) {
  Silences all;
  const auto first = alert_of({{"alertname", "Disk"}}, kNow - 1000);
  ASSERT_TRUE(all.acknowledge(first, {"me", "on it", 0, kNow + 5000}, kNow));
  const auto marks = all.marks();
  ASSERT_TRUE(marks->acknowledgement(first, kNow + 10));
  EXPECT_EQ(marks->acknowledgement(first, kNow + 10)->by, "me");
  EXPECT_FALSE(marks->acknowledgement(first, kNow + 5000)) << "until";
  EXPECT_FALSE(marks->acknowledgement(alert_of({{"alertname", "Disk"}}, kNow + 20), kNow + 30)) << "it came again";
  // The clock was set back: the alert began in the future.
  const auto ahead = alert_of({{"alertname", "Ahead"}}, kNow + 3'600'000);
  ASSERT_TRUE(all.acknowledge(ahead, {"me", "", 0, 0}, kNow));
  EXPECT_TRUE(all.marks()->acknowledgement(ahead, kNow + 1));
  ASSERT_TRUE(all.withdraw(ahead, kNow + 2));
  EXPECT_EQ(all.withdraw(ahead, kNow + 3).error().kind, Errc::absent);
  EXPECT_FALSE(all.acknowledge(first, {"me", "", 0, kNow - 1}, kNow));
}

TEST(Silences, Inhibition) {
  Silences all;
  all.set_inhibit_rules({{matchers("severity=\"critical\""), matchers("severity=~\"warning|critical\""), {"device"}}});
  const auto critical = alert_of({{"alertname", "Down"}, {"severity", "critical"}, {"device", "sda"}});
  const auto other = alert_of({{"alertname", "Hot"}, {"severity", "critical"}, {"device", "sda"}});
  const std::vector<const Alert*> firing{&critical, &other};
  const struct {
    const char* name;
    LabelMap labels;
    std::size_t by;
  } cases[] = {
      {"the same device", {{"alertname", "Slow"}, {"severity", "warning"}, {"device", "sda"}}, 2},
      {"another device", {{"alertname", "Slow"}, {"severity", "warning"}, {"device", "sdb"}}, 0},
      {"no target", {{"alertname", "Slow"}, {"severity", "info"}, {"device", "sda"}}, 0},
      {"not itself, and no two each other", critical.labels, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(all.muting(c.labels, {}, firing, kNow).inhibited_by.size(), c.by);
  }
  // What neither has is the same for both.
  all.set_inhibit_rules({{matchers("severity=\"critical\""), matchers("severity=\"warning\""), {"rack"}}});
  EXPECT_TRUE(all.muting(cases[1].labels, {}, firing, kNow).muted());
}

TEST(Silences, OfManyThatInhibitSomeAreNamed) {
  Silences all;
  all.set_inhibit_rules(
      {{matchers("severity=\"critical\""), matchers("severity=~\"warning|critical\""), {"rack", "row"}}});
  std::vector<Alert> alerts;
  for (int i = 0; i < 100; ++i)
    alerts.push_back(alert_of({{"severity", i < 50 ? "critical" : "warning"},
                               {"rack", i % 2 == 0 ? "1" : "11"},
                               {"row", i % 2 == 0 ? "12" : "2"},  // together the same letters
                               {"device", std::to_string(i)}}));
  std::vector<const Alert*> firing;
  for (const auto& a : alerts) firing.push_back(&a);
  const LabelMap external;
  const auto mutes = all.mutes(external, firing, kNow);
  for (std::size_t i = 0; i < alerts.size(); ++i) {
    const auto muting = mutes.of(alerts[i].labels);
    EXPECT_EQ(muting.inhibited_by.size(), i < 50 ? 0 : Mutes::kMostNamed) << i;
    for (const auto fingerprint : muting.inhibited_by) {
      const auto by = std::ranges::find(alerts, fingerprint, &Alert::fingerprint);
      ASSERT_NE(by, alerts.end());
      EXPECT_EQ(by->labels.at("rack"), alerts[i].labels.at("rack"));
    }
  }
}

// Everybody's matchers are for what receivers are sent: with the external labels, where the alert has none of its own.
TEST(Silences, ExternalLabelsCount) {
  const LabelMap external{{"cluster", "west"}, {"rack", "7"}};
  const auto cause = alert_of({{"alertname", "Down"}, {"rack", "8"}}), other = alert_of({{"alertname", "Slow"}});
  const Alert* firing[] = {&cause};
  for (const auto& [text, cause_is, other_is] :
       {std::tuple("cluster=\"west\"", true, true), std::tuple("cluster!=\"west\"", false, false),
        std::tuple("rack=\"7\"", false, true)}) {
    SCOPED_TRACE(text);
    Silences all;
    ASSERT_TRUE(all.put(silence(text, kNow, kNow + 5000), kNow));
    EXPECT_EQ(all.muting(cause.labels, external, firing, kNow).muted(), cause_is);
    EXPECT_EQ(all.muting(other.labels, external, firing, kNow).muted(), other_is);
  }
  Silences all;
  all.set_inhibit_rules({{matchers("cluster=\"west\",alertname=\"Down\""), matchers("rack=\"7\""), {"cluster"}}});
  EXPECT_TRUE(all.muting(other.labels, external, firing, kNow).muted());
  all.set_inhibit_rules({{matchers("alertname=\"Down\""), matchers("rack=\"7\""), {"rack"}}});
  EXPECT_FALSE(all.muting(other.labels, external, firing, kNow).muted()) << "one has 8, the other one 7";
}

TEST(Silences, AsAFileAndBack) {
  Silences all;
  ASSERT_TRUE(all.put(silence("a=~\"b|\\\"c\", d!=\"\""), kNow));
  ASSERT_TRUE(all.put(silence("device!~\"sd.*\",x=\"y\"", kNow + 1, kNow + 2), kNow));
  const auto disk = alert_of({{"alertname", "Disk"}});
  ASSERT_TRUE(all.acknowledge(disk, {"me", "line\nfeed", 0, kNow + 9}, kNow));
  std::string file;
  ASSERT_TRUE(save(*all.marks(), [&file](std::string_view bytes) -> Result<> {
    file += bytes;
    return {};
  }));
  const auto loaded = load_marks(source_of(file), file.size());
  ASSERT_TRUE(loaded) << loaded.error().text;
  ASSERT_EQ(loaded->silences.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(loaded->silences[i].id, all.marks()->silences[i].id);
    EXPECT_EQ(matchers_text(loaded->silences[i].matchers), matchers_text(all.marks()->silences[i].matchers));
    EXPECT_EQ(loaded->silences[i].ends_ms, all.marks()->silences[i].ends_ms);
    EXPECT_EQ(loaded->silences[i].comment, "because");
  }
  EXPECT_EQ(loaded->acknowledged.at(disk.fingerprint).comment, "line\nfeed");
  // Whatever is torn or changed is not read.
  for (std::size_t n = 0; n < file.size(); ++n) EXPECT_FALSE(load_marks(source_of(file.substr(0, n)), n)) << n;
  for (std::size_t n = 0; n < file.size(); n += 7) {
    auto bad = file;
    bad[n] = static_cast<char>(bad[n] ^ 0x40);
    EXPECT_FALSE(load_marks(source_of(bad), bad.size())) << n;
  }
}

// Each start compiles what is saved, each look at the alerts tries it.
TEST(Silences, RegularExpressionsAreBounded) {
  Silences all;
  const auto put = [&all](const std::string& matchers) { return all.put(silence(matchers), kNow); };
  ASSERT_TRUE(put("a=~\"b.*\""));
  const auto large = put("a=~\"\\\\PL{333}\"");
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().kind, Errc::malformed);
  EXPECT_EQ(large.error().text, "its regular expressions are too large together");
  auto budget = Silences::budget();
  EXPECT_FALSE(alert_matcher("a", "\\PL{333}", true, true, &budget));
  // All of them together.
  const auto some = fmt::format("a=~\"{}\"", std::string(4'000, 'b') + "{9}");
  int fit = 0;
  while (put(some)) ++fit;
  EXPECT_EQ(fit, 12);
  EXPECT_TRUE(put("a=~\"c\""));
  // One that was saved before there was a bound is left out, the others are kept.
  Marks marks = *all.marks();
  marks.silences.insert(marks.silences.begin() + 1, silence("a=~\"\\\\PL{333}\""));
  std::string file;
  ASSERT_TRUE(save(marks, [&file](std::string_view bytes) -> Result<> {
    file += bytes;
    return {};
  }));
  const auto loaded = load_marks(source_of(file), file.size());
  ASSERT_TRUE(loaded) << loaded.error().text;
  ASSERT_EQ(loaded->silences.size(), 14u);
  EXPECT_EQ(matchers_text(loaded->silences[0].matchers), "{a=~\"b.*\"}");
  EXPECT_EQ(loaded->silences[13].id, marks.silences[14].id);
  // One that is over makes room, though it is still shown.
  EXPECT_FALSE(put(some));
  ASSERT_TRUE(all.expire(all.marks()->silences[1].id, kNow));
  EXPECT_TRUE(put(some));
  EXPECT_FALSE(put(some));
}

TEST(Silences, AUuidIsOfOneOccurrenceOnOneMachine) {
  const auto a = alert_of({{"alertname", "A"}});
  EXPECT_EQ(alert_uuid(a, "m"), alert_uuid(a, "m"));
  EXPECT_NE(alert_uuid(a, "m"), alert_uuid(a, "n"));
  EXPECT_NE(alert_uuid(a, "m"), alert_uuid(alert_of({{"alertname", "A"}}, kNow + 1), "m"));
  EXPECT_EQ(alert_uuid(a, "m").size(), 36u);
}

TEST(ThresholdOf, WhatIsComparedWithWhat) {
  const struct {
    const char *expr, *metric, *op;
    std::optional<double> value;
  } cases[] = {
      {"node_load1 > 10", "node_load1", ">", 10},
      {"10 < node_load1", "node_load1", ">", 10},
      {"node_load1 >= -5", "node_load1", ">=", -5},
      {"(a / b) < 0.05 and on () up == 1", "a / b", "<", 0.05},
      {"rate(x_total[5m]) * 8 > 1024 * 1024", "x_total", ">", 1048576},
      {"sum by (a) (rate({__name__=\"x\"}[1m])) != 0", "x", "!=", 0},
      {"a > 1 or b > 2", "a", ">", 1},
      {"(a) or b > 2", "b", ">", 2},
      {"a > b", "a", ">", {}},
      {"a / b < 0.1", "a / b", "<", 0.1},
      {"a / a offset 1h < 0.5", "a", "<", 0.5},
      {"0.9 < 1 - avail{m=\"/\"} / size and on () up", "1 - avail{m=\"/\"} / size", ">", 0.9},
      {"absent(up)", "", "", {}},
      {"vector(1)", "", "", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.expr);
    std::vector<promql::Problem> problems;
    const auto e = promql::compile(c.expr, problems);
    ASSERT_TRUE(e);
    const auto t = threshold_of(*e).value_or(Threshold{});
    EXPECT_EQ(t.metric, c.metric);
    EXPECT_EQ(t.op, c.op);
    EXPECT_EQ(t.value, c.value);
  }
  // Too long to be a name; the first of several would be a wrong one.
  std::vector<promql::Problem> problems;
  const auto e = promql::compile("a{x=\"" + std::string(300, 'x') + "\"} / b < 0.1", problems);
  ASSERT_TRUE(e);
  ASSERT_TRUE(threshold_of(*e));
  EXPECT_EQ(threshold_of(*e)->metric, "");
}

}  // namespace
}  // namespace vitald
