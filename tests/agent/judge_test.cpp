// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/judge.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <mutex>
#include <new>

#include "agent/config/flags.h"
#include "agent/pipeline/keeper.h"
#include "agent/pipeline/pipeline.h"
#include "core/event.h"
#include "core/instruments.h"
#include "core/os/fd.h"
#include "core/os/state_dir.h"
#include "exporters/deliver/claimant.h"
#include "exporters/deliver/command.h"
#include "rules/history/store.h"
#include "rules/silences.h"
#include "tests/agent/snapshot_text.h"

namespace vitald {
namespace {

using testing::HasSubstr;

std::unique_ptr<RuleEngine> engine_of(std::string_view yaml, std::size_t history_bytes = 1 << 20) {
  const auto path = fmt::format("{}/judge_test_{}.yaml", testing::TempDir(), getpid());
  std::ofstream(path) << yaml;
  std::vector<std::string> problems;
  auto engine = RuleEngine::load({.files = {path}, .history_limit_bytes = history_bytes}, problems);
  std::filesystem::remove(path);
  EXPECT_TRUE(engine) << problems.front();
  return engine;
}

Snapshot snapshot_at(std::int64_t seconds) {
  Snapshot s;
  s.boot_ns = seconds * 1'000'000'000;
  s.wall_ns = s.boot_ns + 1'700'000'000'000'000'000;
  return s;
}

// What a scrape would carry.
std::string results(const Judge& judge) {
  Snapshot s;
  judge.add_results(s);
  return lines(s, "");
}

// A gate that rules wait at.
struct Gate {
  void open() {
    const std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex);
    reached = true;
    changed.notify_all();
    changed.wait(lock, [this] { return is_open; });
  }
  void wait_reached() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return reached; });
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = false, reached = false;
};

struct SlowRules final : RuleEngine {
  explicit SlowRules(Gate& g) : gate(g) {}
  BatchPtr evaluate(const Snapshot& snapshot) override {
    gate.pass();
    return RuleEngine::evaluate(snapshot);
  }
  bool empty() const override { return false; }
  Gate& gate;
};

struct ThrowingRules final : RuleEngine {
  BatchPtr evaluate(const Snapshot& snapshot) override {
    if (throws) throw std::bad_alloc();
    return RuleEngine::evaluate(snapshot);
  }
  bool empty() const override { return false; }
  bool throws = true;
};

TEST(Judge, ResultsAndViewAreOfTheLastRound) {
  Judge judge;
  EXPECT_EQ(judge.view(), nullptr);
  EXPECT_TRUE(judge.idle());
  judge.configure(engine_of("groups: [{name: g, rules: [{record: now, expr: time() - 1700000000}]}]"), {});
  EXPECT_FALSE(judge.idle());
  ASSERT_EQ(judge.view()->groups.size(), 1U) << "rules are shown before they were ever evaluated";
  EXPECT_EQ(judge.view()->groups[0].rules[0].health, "unknown");
  EXPECT_EQ(results(judge), "");
  judge.judge(snapshot_at(10));
  EXPECT_EQ(results(judge), "now 10\n");
  const auto view = judge.view();
  EXPECT_EQ(view->groups[0].rules[0].health, "ok");
  EXPECT_EQ(judge.view(), view) << "made once, not for everybody who asks";
  judge.judge(snapshot_at(20));
  EXPECT_EQ(results(judge), "now 20\n");
  EXPECT_EQ(view->groups[0].rules[0].last_evaluation_ms, 1'700'000'010'000) << "what was handed out never changes";
  EXPECT_EQ(judge.view()->groups[0].rules[0].declared, view->groups[0].rules[0].declared)
      << "what no evaluation changes is not copied by each";

  judge.configure(engine_of("groups: []"), {});
  EXPECT_EQ(results(judge), "");
  EXPECT_TRUE(judge.view()->groups.empty());
}

TEST(Judge, LastWordsAreOfWhatIsTold) {
  const auto log = fmt::format("{}/judge_test_{}.kmsg", testing::TempDir(), getpid());
  const auto said = [&log] {
    std::ifstream in(log);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  std::ofstream(log) << "";
  const Host host;
  const auto evidence = std::make_shared<Evidence>(nullptr, host);
  EvidenceSettings settings;
  settings.kernel_log = log;
  evidence->set(settings);
  const auto silences = std::make_shared<Silences>();
  auto matchers = parse_alert_matchers("alertname=\"Quiet\"");
  ASSERT_TRUE(matchers);
  const auto now_ms = snapshot_at(10).wall_ns / 1'000'000;
  ASSERT_TRUE(silences->put({"", *matchers, now_ms - 1000, now_ms + 3'600'000, 0, "test", ""}, now_ms));

  Judge judge;
  EventLog events;
  judge.set_events(&events);
  judge.set_evidence(evidence);
  judge.configure(
      engine_of("groups: [{name: g, rules: [{alert: Quiet, expr: vector(1), labels: {severity: critical}}]}]"), {},
      nullptr, nullptr, silences);
  judge.judge(snapshot_at(10));
  EXPECT_EQ(said(), "") << "it is silenced";
  ASSERT_EQ(events.newest(), 1U) << "it fires";
  const auto& fields = events.since(0, 1).front().event->fields;
  EXPECT_THAT(fields, testing::Contains(testing::Pair("uuid", testing::SizeIs(36))));
  judge.configure(engine_of("groups: [{name: g, rules: [{alert: Quiet, expr: vector(1), labels: {severity: critical}}, "
                            "{alert: Loud, expr: vector(2), labels: {severity: critical}}]}]"),
                  {}, nullptr, nullptr, silences);
  judge.judge(snapshot_at(20));
  EXPECT_THAT(said(), testing::StartsWith("<2>vitald: critical alert Loud{} = 2; "));
  judge.end();
  std::filesystem::remove(log);
}

// Writes down what it is told.
struct Notes {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> lines;
  std::vector<std::string> wait_for(std::size_t n) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(10), [&] { return lines.size() >= n; });
    return lines;
  }
};
struct NotedReceiver final : ReceiverOf<NotedReceiver> {
  std::shared_ptr<Notes> notes = std::make_shared<Notes>();
  bool operator==(const NotedReceiver&) const = default;
  [[nodiscard]] std::string text() const override { return "notes"; }
  [[nodiscard]] std::string body(const AlertTransition& t) const override {
    return fmt::format("{} {}", t.alert.labels.at("alertname"), t.firing ? "fires" : "ends");
  }
  struct Writer final : Destination {
    explicit Writer(std::shared_ptr<Notes> n) : notes(std::move(n)) {}
    Result<Sent> send(std::span<const Item> items, const Attempt&) override {
      const std::lock_guard lock(notes->mutex);
      for (const auto& item : items) notes->lines.push_back(item.body);
      notes->changed.notify_all();
      return Sent{items.size(), 0, 0};
    }
    std::shared_ptr<Notes> notes;
  };
  [[nodiscard]] std::unique_ptr<Destination> destination() const override { return std::make_unique<Writer>(notes); }
};

struct OwningReceiver final : ReceiverOf<OwningReceiver>, Claimant {
  bool operator==(const OwningReceiver&) const = default;
  [[nodiscard]] std::string text() const override { return "owner"; }
  [[nodiscard]] std::string body(const AlertTransition&) const override { return "x"; }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override {
    return std::make_unique<NotedReceiver::Writer>(std::make_shared<Notes>());
  }
  [[nodiscard]] std::string owns() const override { return "the node's conditions"; }
  [[nodiscard]] std::string farewell(std::string_view) const override { return {}; }
};

// What a receiver owns is written down, and a disk that hangs there holds up no cycle: opening a FIFO to write waits
// until somebody reads it.
TEST(Judge, WhatReceiversOwnIsWrittenBesideTheCycle) {
  const auto folder = fmt::format("{}/judge_test_{}.state", testing::TempDir(), getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  auto opened = StateDir::open(folder);
  ASSERT_TRUE(opened) << opened.error().text;
  const std::shared_ptr<const StateDir> state = std::move(*opened);
  const Host host;
  const auto hung = folder + "/claims.new";
  ASSERT_EQ(mkfifo(hung.c_str(), 0600), 0);
  auto receiver = std::make_shared<OwningReceiver>();
  receiver->name = "node";
  {
    Judge judge;
    const auto keeper = std::make_shared<Keeper>(state, host);
    auto configuring =
        std::async(std::launch::async, [&] { judge.configure(engine_of("groups: []"), {receiver}, state, keeper); });
    EXPECT_EQ(configuring.wait_for(std::chrono::seconds(5)), std::future_status::ready) << "the cycle waits for a disk";
    EXPECT_FALSE(keeper->save(100'000'000)) << "it is not written yet";
    // The disk answers, and refuses (no fsync() of a FIFO); at the end it is tried again.
    const Fd reading(open(hung.c_str(), O_RDONLY | O_NONBLOCK));
    configuring.wait();
    EXPECT_TRUE(keeper->save(10'000'000'000));
    EXPECT_TRUE(keeper->save(10'000'000'000));
    judge.end();
  }
  const auto text = state->read("claims", 1000);
  ASSERT_TRUE(text && *text);
  EXPECT_THAT(**text, HasSubstr("the node's conditions"));
  std::filesystem::remove_all(folder);
}

TEST(Judge, AReceiverHearsWhatItsMatchersFit) {
  const auto receiver = [](std::string name, std::vector<std::string> matchers) {
    auto r = std::make_shared<NotedReceiver>();
    r->name = std::move(name);
    r->matchers = std::move(matchers);
    return r;
  };
  const auto all = receiver("all", {}), pager = receiver("pager", {"severity=\"critical\"", "alertname!=\"B\""}),
             nobody = receiver("nobody", {"team=~\"x|y\""}), lab = receiver("lab", {"cluster=lab", "severity=warning"});
  lab->external_labels = {{"cluster", "lab"}};
  Judge judge;
  const auto rules = [](int a) {
    return engine_of(
        fmt::format("groups: [{{name: g, rules: [{{alert: A, expr: vector({}) > 0, labels: {{severity: "
                    "critical}}}}, {{alert: B, expr: vector(1), labels: {{severity: critical}}}}, "
                    "{{alert: C, expr: vector(1), labels: {{severity: warning}}}}]}}]",
                    a));
  };
  judge.configure(rules(1), {all, pager, nobody, lab});
  judge.judge(snapshot_at(10));
  EXPECT_THAT(all->notes->wait_for(3), testing::UnorderedElementsAre("A fires", "B fires", "C fires"));
  EXPECT_THAT(pager->notes->wait_for(1), testing::ElementsAre("A fires"));
  EXPECT_THAT(lab->notes->wait_for(1), testing::ElementsAre("C fires")) << "by the labels that it is sent";
  judge.configure(rules(0), {all, pager, nobody, lab});
  judge.judge(snapshot_at(20));
  EXPECT_THAT(pager->notes->wait_for(2), testing::ElementsAre("A fires", "A ends"));
  EXPECT_EQ(all->notes->wait_for(4).back(), "A ends");
  judge.end();
  EXPECT_THAT(nobody->notes->lines, testing::IsEmpty());
}

// Two rules that make one alert: whoever is told hears of one, which begins with the first and ends with the last.
TEST(Judge, AnAlertOfTwoRulesIsOne) {
  const auto all = std::make_shared<NotedReceiver>(), unmuted = std::make_shared<NotedReceiver>();
  all->name = "all";
  unmuted->name = "unmuted";
  unmuted->mutes = false;
  EventLog events(100);
  Judge judge;
  judge.set_events(&events);
  const auto rules = [](int a, int b) {
    return engine_of(
        fmt::format("groups: [{{name: g, rules: [{{alert: T, expr: vector({}) > 0, labels: {{x: v}}}}]}}, "
                    "{{name: h, rules: [{{alert: T, expr: vector({}) > 0, labels: {{x: v}}}}]}}]",
                    a, b));
  };
  const auto round = [&](int seconds, int a, int b) {
    judge.configure(rules(a, b), {all, unmuted});
    judge.judge(snapshot_at(seconds));
    judge.judge(snapshot_at(seconds + 1));
    return events.newest();
  };
  EXPECT_EQ(round(10, 1, 1), 1U) << "both fire";
  EXPECT_EQ(round(20, 0, 1), 1U) << "the other fires on";
  EXPECT_EQ(round(30, 1, 1), 1U) << "it fired all the time";
  EXPECT_EQ(round(40, 1, 0), 1U);
  EXPECT_EQ(round(50, 0, 0), 2U) << "the last one is over";
  EXPECT_EQ(round(60, 0, 1), 3U);
  EXPECT_EQ(round(70, 0, 0), 4U);
  for (const auto& r : {all, unmuted})
    EXPECT_THAT(r->notes->wait_for(4), testing::ElementsAre("T fires", "T ends", "T fires", "T ends")) << r->name;
  judge.end();
  std::vector<std::string> uuids;
  for (const auto& entry : events.since(0, 10))
    for (const auto& [name, value] : entry.event->fields)
      if (name == "uuid") uuids.push_back(value);
  ASSERT_EQ(uuids.size(), 4U);
  EXPECT_EQ(uuids[0], uuids[1]) << "it ends as what began";
  EXPECT_EQ(uuids[2], uuids[3]);
  EXPECT_NE(uuids[0], uuids[2]) << "another time it is another one";
}

// The rule that was first is over, and the host starts again: it is who it was until its end.
TEST(Judge, AnAlertOfTwoRulesIsTheSameAfterARestart) {
  const auto folder = fmt::format("{}/judge_test_{}.state", testing::TempDir(), getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  auto opened = StateDir::open(folder);
  ASSERT_TRUE(opened) << opened.error().text;
  const std::shared_ptr<const StateDir> state = std::move(*opened);
  FakeClock clock;
  const Host host({"/proc", "/sys", "/", ""}, &clock);
  EventLog events(100);
  const auto rules = [](int a, int b) {
    return engine_of(
        fmt::format("groups: [{{name: g, rules: [{{alert: T, expr: vector({}) > 0, labels: {{x: v}}}}]}}, "
                    "{{name: h, rules: [{{alert: T, expr: vector({}) > 0, labels: {{x: v}}}}]}}]",
                    a, b));
  };
  struct Run {
    Judge judge;
    std::shared_ptr<Keeper> keeper;
  };
  const auto begin = [&] {
    auto run = std::make_unique<Run>();
    run->keeper = std::make_shared<Keeper>(state, host);
    run->judge.set_events(&events);
    return run;
  };
  const auto round = [&](Run& run, int seconds, int a, int b) {
    const auto now = snapshot_at(seconds);
    clock.boot = now.boot_ns;
    clock.wall = now.wall_ns;
    run.judge.configure(rules(a, b), {}, state, run.keeper);
    run.judge.judge(now);
    EXPECT_TRUE(run.keeper->save(10'000'000'000));
    const auto view = run.judge.view();
    return view->begins ? *view->begins : AlertBegins{};
  };
  auto run = begin();
  const auto told = round(*run, 10, 1, 0);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(round(*run, 20, 1, 1), told);
  EXPECT_EQ(round(*run, 30, 0, 1), told) << "the first rule is over, the alert is not";
  run = begin();
  EXPECT_EQ(round(*run, 40, 0, 1), told) << "after a restart";
  EXPECT_EQ(events.newest(), 1U);
  EXPECT_TRUE(round(*run, 50, 0, 0).empty());
  std::vector<std::string> uuids;
  for (const auto& entry : events.since(0, 10))
    for (const auto& [name, value] : entry.event->fields)
      if (name == "uuid") uuids.push_back(value);
  ASSERT_EQ(uuids.size(), 2U);
  EXPECT_EQ(uuids[0], uuids[1]) << "it ends as what began";
  run.reset();
  std::filesystem::remove_all(folder);
}

TEST(Judge, ResultsAreInTheirPlaceOfTheSnapshot) {
  Judge judge;
  judge.configure(engine_of("groups: [{name: g, rules: [{record: one, expr: vector(1)}]}]"), {});
  judge.judge(snapshot_at(10));
  Snapshot s;
  for (const char* name : {"pipeline", "stat"}) {
    BatchWriter writer(name);
    writer.begin(0);
    s.batches.push_back(writer.finish({}, 0, 0));
  }
  judge.add_results(s);
  std::string order;
  for (const auto& b : s.batches) order += b->collector + " ";
  EXPECT_EQ(order, "pipeline rules stat ");
}

TEST(Judge, AnExceptionCostsOneRound) {
  const auto failures = [] { return instruments().counter("vitald_rules_round_failures_total", "").Value(); };
  Judge judge;
  auto rules = std::make_unique<ThrowingRules>();
  auto& engine = *rules;
  judge.configure(std::move(rules), {});
  const auto before = failures();
  const auto log_of = [&](std::int64_t seconds) {
    testing::internal::CaptureStderr();
    judge.judge(snapshot_at(seconds));
    return testing::internal::GetCapturedStderr();
  };
  engine.throws = false;
  EXPECT_EQ(log_of(10), "");
  engine.throws = true;
  const auto batches = [&] {
    Snapshot s;
    judge.add_results(s);
    return s.batches.size();
  };
  EXPECT_THAT(log_of(20), HasSubstr("this round of the rules is lost\" err=\"out of memory\""));
  EXPECT_EQ(batches(), 1U) << "one lost round: what was found before is still fresh";
  EXPECT_EQ(log_of(30), "") << "said once";
  EXPECT_EQ(batches(), 0U);
  EXPECT_EQ(failures(), before + 2);
  engine.throws = false;
  EXPECT_THAT(log_of(40), HasSubstr("the rules work again"));
  EXPECT_EQ(batches(), 1U);
}

TEST(Judge, HistoryThatIsFullIsSaidOnce) {
  Judge judge;
  judge.configure(engine_of("groups: [{name: g, rules: [{record: now, expr: time()}]}]", 18'000), {});
  const auto evicted = [] { return instruments().counter("vitald_history_evicted_samples_total", "").Value(); };
  const auto before = evicted();
  testing::internal::CaptureStderr();
  for (int i = 1; i < 2000; ++i) judge.judge(snapshot_at(i * 5));
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("history.memory is reached"));
  EXPECT_EQ(log.find("history.memory"), log.rfind("history.memory"));
  const auto size = judge.history()->size();
  EXPECT_EQ(evicted() - before, static_cast<double>(size.evicted));
  EXPECT_GT(size.evicted, 0U);
  EXPECT_LE(size.sample_bytes + size.index_bytes, 18'000U);
  EXPECT_EQ(instruments().gauge("vitald_history_series", "").Value(), 4);  // now, up and two of the scrape
}

// With the pipeline around it: its thread, and scrapes beside it.
struct JudgeInPipeline : testing::Test {
  PipelineConfig config(std::unique_ptr<RuleEngine> rules, std::vector<ReceiverPtr> receivers = {}) {
    auto options = std::make_shared<Options>();
    options->declare(all_flags());
    return {std::move(options), std::move(rules), std::move(receivers)};
  }
  void published() {
    if (on_publish) on_publish();
    const std::lock_guard lock(mutex);
    newer.notify_all();
  }
  void wait_published(std::int64_t boot_ns) {
    std::unique_lock lock(mutex);
    newer.wait(lock, [&] { return hub.latest() && hub.latest()->boot_ns >= boot_ns; });
  }

  std::function<void()> on_publish;
  std::mutex mutex;
  std::condition_variable newer;
  SystemClock clock;
  Host host{{}, &clock};
  SnapshotHub hub;
  Pipeline pipeline{host, {}, {}, hub, [this] { published(); }};
};

TEST_F(JudgeInPipeline, AScrapeDuringASlowRuleIsOnTime) {
  Gate gate;
  ASSERT_TRUE(pipeline.start(config(std::make_unique<SlowRules>(gate))));
  gate.wait_reached();
  // The rule does not end before this does: each of these would hang if it waited for it.
  for (int i = 0; i < 100; ++i) {
    const auto now = clock.boot_ns();
    if (!pipeline.collect(now)) wait_published(now);
    EXPECT_GE(hub.latest()->boot_ns, now);
    EXPECT_NE(pipeline.rules(), nullptr);
  }
  gate.open();
  EXPECT_TRUE(pipeline.stop(5'000'000'000));
}

TEST_F(JudgeInPipeline, TheFirstRoundFollowsTheFirstCycleAtOnce) {
  Gate gate;
  gate.open();
  ASSERT_TRUE(pipeline.start(config(std::make_unique<SlowRules>(gate))));
  gate.wait_reached();  // the interval is 5 s
  EXPECT_LT(clock.boot_ns() - hub.latest()->boot_ns, 4'000'000'000);
  EXPECT_TRUE(pipeline.stop(5'000'000'000));
}

TEST_F(JudgeInPipeline, PublishedThenTold) {
  const auto told = fmt::format("{}/judge_test_told_{}", testing::TempDir(), getpid());
  std::filesystem::remove(told);
  CommandReceiver hook;
  hook.name = "test", hook.command = {"/bin/sh", "-c", "cat > " + told + ".new; mv " + told + ".new " + told};
  hook.user = "root";
  if (getuid() != 0) hook.user.clear();
  std::atomic<bool> early = false;
  std::atomic<int> cycles = 0;
  on_publish = [&] {
    const auto view = pipeline.rules();
    if (++cycles == 1) early = view->groups[0].rules[0].state != AlertState::inactive || std::filesystem::exists(told);
  };
  ASSERT_TRUE(
      pipeline.start(config(engine_of("groups: [{name: g, rules: [{alert: A, expr: vector(1)}]}]"), {hook.copy()})));
  for (int i = 0; i < 500 && !std::filesystem::exists(told); ++i) usleep(10'000);
  EXPECT_TRUE(std::filesystem::exists(told));
  EXPECT_FALSE(early) << "nothing was judged before it was published";
  EXPECT_EQ(cycles, 1);
  EXPECT_EQ(lines(*hub.latest(), "ALERTS"), "") << "the snapshot that was judged never changes";
  pipeline.collect(clock.boot_ns());
  EXPECT_THAT(lines(*hub.latest(), "ALERTS"), HasSubstr("ALERTS{alertname=\"A\",alertstate=\"firing\"} 1\n"));
  EXPECT_TRUE(pipeline.stop(5'000'000'000));
  std::filesystem::remove(told);
}

}  // namespace
}  // namespace vitald
