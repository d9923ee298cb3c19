// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/pipeline.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <stdexcept>

#include "agent/config/flags.h"
#include "agent/report.h"
#include "core/deriver.h"
#include "exporters/deliver/command.h"
#include "tests/agent/snapshot_text.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr MetricDesc kCalls[] = {{"test_calls", MetricType::counter, "C."}};
constexpr MetricDesc kMoods{"test_moods", MetricType::gauge, "M."};
constexpr MetricDesc kRemoteCalls{"test_calls_remote", MetricType::counter, "C."};
constexpr FlagSpec kFlags[] = {{"collector.counting.step", FlagType::number, "1", "step"}};

int g_made = 0;                // "counting" collectors made
std::atomic<int> g_calls = 0;  // of collect() of "counting"
bool g_absent = false;         // what "late" finds on this machine
bool g_emits = false;          // "moody", too
Result<> g_outcome;            // of "moody"
std::vector<Error> g_problems;

struct Counting final : Collector {
  explicit Counting(double s) : step(s) {}
  Result<> collect(BatchWriter& out) override {
    ++g_calls;
    out.set(kCalls[0], value += step);
    return {};
  }
  std::string status() const override { return "counts"; }
  double step, value = 0;
};
struct Throwing final : Collector {
  Result<> collect(BatchWriter&) override { throw std::runtime_error("boom"); }
};
struct Moody final : Collector {
  Result<> collect(BatchWriter& out) override {
    for (const auto& p : g_problems) out.problem(p);
    if (g_emits) out.set(kMoods, 3);
    return g_outcome;
  }
};
struct Empty final : Collector {
  Result<> collect(BatchWriter&) override { return {}; }
};

constexpr std::string_view kOthersFlags[] = {"collector.moody"};
constexpr CollectorInfo kCounting{
    kCalls, kFlags,
    [](const Host&, const Options& o) -> Result<std::unique_ptr<Collector>> {
      ++g_made;
      return std::make_unique<Counting>(static_cast<double>(o.number("collector.counting.step")));
    },
    kOthersFlags};
template <class C>
constexpr CollectorInfo kPlain{
    {}, {}, [](const Host&, const Options&) -> Result<std::unique_ptr<Collector>> { return std::make_unique<C>(); }};
constexpr CollectorInfo kLate{{}, {}, [](const Host&, const Options&) -> Result<std::unique_ptr<Collector>> {
                                if (g_absent) return fail(Errc::absent, "no such hardware");
                                return std::make_unique<Empty>();
                              }};
constexpr CollectorInfo kDenied{{}, {}, [](const Host&, const Options&) -> Result<std::unique_ptr<Collector>> {
                                  return fail(Errc::denied, "CAP_BPF is missing");
                                }};

constexpr CollectorEntry kAll[] = {
    {"counting", "proc", DefaultState::on, Runs::here, &kCounting},
    {"throwing", "proc", DefaultState::on, Runs::here, &kPlain<Throwing>},
    {"moody", "proc", DefaultState::on, Runs::here, &kPlain<Moody>},
    {"late", "proc", DefaultState::detect, Runs::here, &kLate},
    {"optional", "proc", DefaultState::off, Runs::here, &kPlain<Empty>},
    {"probing", "bpf", DefaultState::detect, Runs::here, &kDenied},
    {"remote", "virt", DefaultState::on, Runs::worker, &kPlain<Empty>},
};

// A worker without a process: what a test wants it to do.
struct FakeWorker final : WorkerClient {
  FakeWorker() : WorkerClient({}) { live = this; }
  ~FakeWorker() override { live = nullptr; }
  void request(std::int64_t now) override {
    if (busy_) return;
    ++requests, busy_ = true, asked = now;
    if (prompt) answer(now);
  }
  void answer(std::int64_t now, Result<> outcome = {}) {
    BatchWriter writer("remote");
    writer.begin(now);
    writer.set(kRemoteCalls, 42);
    next = writer.finish(outcome, 7'000'000, 0);
    eventfd_write(event.get(), 1);
  }
  int fd() const override { return event.get(); }
  bool advance(std::int64_t) override {
    eventfd_t n;
    if (eventfd_read(event.get(), &n) != 0) return false;
    busy_ = false;
    last = next;
    return true;
  }
  bool busy() const override { return busy_; }
  BatchPtr batch(std::int64_t) const override { return last; }
  Stats stats() const override { return {.starts = 1, .pid = 99}; }

  static inline FakeWorker* live = nullptr;
  static inline bool prompt = true;
  Fd event{eventfd(0, EFD_NONBLOCK)};
  int requests = 0;
  bool busy_ = false;
  std::int64_t asked = 0;
  BatchPtr last, next;
};

struct PipelineTest : testing::Test {
  PipelineTest() {
    g_made = 0, g_calls = 0, g_absent = false, g_emits = false, g_outcome = {}, g_problems.clear();
    FakeWorker::prompt = true;
  }
  PipelineConfig config(const std::vector<std::pair<std::string, std::string>>& flags = {}) {
    auto options = std::make_shared<Options>();
    options->declare(all_flags());
    options->declare(kFlags);
    for (const auto& entry : kAll) {
      names.push_back(switch_name(entry));
      const auto* fallback = entry.state == DefaultState::on ? "true" : entry.state == DefaultState::off ? "false" : "";
      options->declare(std::vector<FlagSpec>{{names.back(), FlagType::boolean, fallback}});
    }
    for (const auto& [flag, value] : flags) options->set(flag, value);
    return {std::move(options), nullptr, {}};
  }
  std::string text(const char* prefix) { return lines(*hub.latest(), prefix); }

  FakeClock clock;
  Host host{{}, &clock};
  SnapshotHub hub;
  std::deque<std::string> names;
  Pipeline pipeline{host, kAll, [](std::string_view) { return std::make_unique<FakeWorker>(); }, hub};
};

TEST_F(PipelineTest, OneCycle) {
  pipeline.configure(config());
  const auto snapshot = pipeline.cycle();
  EXPECT_EQ(snapshot, hub.latest());
  EXPECT_EQ(snapshot->sequence, 1U);
  EXPECT_EQ(snapshot->boot_ns, clock.boot);
  std::vector<std::string> order;
  for (const auto& b : snapshot->batches) order.push_back(b->collector);
  EXPECT_THAT(order, testing::ElementsAre("counting", "health", "late", "moody", "pipeline", "remote", "throwing"));
  EXPECT_EQ(text("test_calls"), "test_calls 1\ntest_calls_remote 42\n");
  EXPECT_EQ(text("node_scrape_collector_success"),
            "node_scrape_collector_success{collector=\"counting\"} 1\n"
            "node_scrape_collector_success{collector=\"late\"} 1\n"
            "node_scrape_collector_success{collector=\"moody\"} 1\n"
            "node_scrape_collector_success{collector=\"remote\"} 1\n"
            "node_scrape_collector_success{collector=\"throwing\"} 0\n");
  EXPECT_THAT(text("node_scrape_collector_duration"), HasSubstr("{collector=\"remote\"} 0.007\n"));
}

TEST_F(PipelineTest, AnExceptionIsCountedAndTheRestLives) {
  pipeline.configure(config());
  pipeline.cycle(), pipeline.cycle();
  EXPECT_EQ(text("vitald_collector_errors_total"),
            "vitald_collector_errors_total{collector=\"throwing\",kind=\"bug\"} 2\n");
  EXPECT_EQ(text("test_calls"), "test_calls 2\ntest_calls_remote 42\n");
}

// --- the derive stage: the second deriver sees the first one's numbers, the third is broken

constexpr MetricDesc kDoubled{"test_doubled", MetricType::gauge, "D."}, kSum{"test_sum", MetricType::gauge, "S."};
double number_of(const Snapshot& snapshot, std::string_view name) {
  for (const auto& batch : snapshot.batches)
    for (const auto& s : batch->layout->samples())
      if (s.family->name == name) return batch->values[s.value];
  return -1;
}
struct Doubling final : Deriver {
  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    out.set(kDoubled, 2 * number_of(so_far, "test_calls"));
    return {};
  }
};
struct Adding final : Deriver {
  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    out.set(kSum, number_of(so_far, "test_doubled") + number_of(so_far, "test_calls"));
    if (number_of(so_far, "test_calls") > 2) return fail(Errc::malformed, "too many");
    return {};
  }
};
struct Broken final : Deriver {
  Result<> derive(const Snapshot&, BatchWriter&) override { throw std::runtime_error("derived boom"); }
};
template <class D>
constexpr CollectorInfo kDeriver{
    {}, {}, nullptr, {}, [](const Host&, const Options&) -> Result<std::unique_ptr<Deriver>> {
      return std::make_unique<D>();
    }};
constexpr CollectorEntry kWithDerivers[] = {
    {"counting", "proc", DefaultState::on, Runs::here, &kCounting},
    {"z_first", "derived", DefaultState::on, Runs::after, &kDeriver<Doubling>},
    {"a_second", "derived", DefaultState::on, Runs::after, &kDeriver<Adding>},
    {"b_third", "derived", DefaultState::on, Runs::after, &kDeriver<Broken>},
    {"c_off", "derived", DefaultState::off, Runs::after, &kDeriver<Broken>},
};

TEST_F(PipelineTest, DeriversSeeThisCycleAndThoseBeforeThem) {
  Pipeline with{host, kWithDerivers, [](std::string_view) { return nullptr; }, hub};
  auto settings = config();
  auto options = std::make_shared<Options>(*settings.options);
  options->declare(std::vector<FlagSpec>{{"collector.z_first", FlagType::boolean, "true"},
                                         {"collector.a_second", FlagType::boolean, "true"},
                                         {"collector.b_third", FlagType::boolean, "true"},
                                         {"collector.c_off", FlagType::boolean, "false"}});
  settings.options = options;
  with.configure(std::move(settings));
  for (int cycle = 1; cycle <= 3; ++cycle) {
    const auto snapshot = with.cycle();
    std::vector<std::string> order;
    for (const auto& b : snapshot->batches) order.push_back(b->collector);
    EXPECT_THAT(order, testing::ElementsAre("a_second", "b_third", "counting", "health", "pipeline", "z_first"));
    EXPECT_EQ(text("test_"), fmt::format("test_sum {}\ntest_calls {}\ntest_doubled {}\n", 3 * cycle, cycle, 2 * cycle));
    EXPECT_EQ(text("node_scrape_collector_success"),
              fmt::format("node_scrape_collector_success{{collector=\"a_second\"}} {}\n"
                          "node_scrape_collector_success{{collector=\"b_third\"}} 0\n"
                          "node_scrape_collector_success{{collector=\"counting\"}} 1\n"
                          "node_scrape_collector_success{{collector=\"z_first\"}} 1\n",
                          cycle > 2 ? 0 : 1));
  }
}

// --- what anybody may write is shown, and no deriver calculates with it, whatever names it uses

struct Hearing final : Deriver {
  void hear(std::span<const BatchPtr> from_anybody) override { heard_ = from_anybody.size(); }
  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    out.set(kDoubled, number_of(so_far, "test_moods"));
    out.set(kSum, static_cast<double>(heard_));
    return {};
  }
  std::size_t heard_ = 0;
};
constexpr CollectorEntry kWithAnybody[] = {
    {"textfile", "proc", DefaultState::on, Runs::here, &kPlain<Moody>},
    {"exec", "proc", DefaultState::on, Runs::here, &kPlain<Moody>},
    {"hearing", "derived", DefaultState::on, Runs::after, &kDeriver<Hearing>},
};

TEST_F(PipelineTest, DeriversDoNotSeeWhatAnybodyMayWrite) {
  Pipeline with{host, kWithAnybody, [](std::string_view) { return nullptr; }, hub};
  auto settings = config();
  auto options = std::make_shared<Options>(*settings.options);
  options->declare(std::vector<FlagSpec>{{"collector.textfile", FlagType::boolean, "true"},
                                         {"collector.exec", FlagType::boolean, "true"},
                                         {"collector.hearing", FlagType::boolean, "true"}});
  settings.options = options;
  g_emits = true;
  with.configure(std::move(settings));
  const auto snapshot = with.cycle();
  g_emits = false;
  EXPECT_EQ(number_of(*snapshot, "test_moods"), 3) << "it is in the snapshot";
  EXPECT_EQ(number_of(*snapshot, "test_doubled"), -1) << "not in what derivers see";
  EXPECT_EQ(number_of(*snapshot, "test_sum"), 2) << "batches given apart";
  std::vector<std::string> order;
  for (const auto& b : snapshot->batches) order.push_back(b->collector);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

struct Telling final : Collector {
  Result<> collect(BatchWriter& out) override {
    if (++run_ != 2) out.event({"test", run_, fmt::format("run {}", run_), {}});
    return {};
  }
  int run_ = 0;
};
constexpr CollectorEntry kTelling[] = {{"counting", "proc", DefaultState::on, Runs::here, &kPlain<Telling>}};

TEST_F(PipelineTest, EventsGoIntoTheLogOnce) {
  Pipeline with{host, kTelling, [](std::string_view) { return nullptr; }, hub};
  with.configure(config());
  for (int cycle = 0; cycle < 3; ++cycle) {
    with.cycle();
    clock.advance_ns(1'000'000'000);
  }
  const auto events = with.events().since(0, 10);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].event->text, "run 1");
  EXPECT_EQ(events[1].event->text, "run 3");
  EXPECT_EQ(events[1].sequence, 2U);
  EXPECT_EQ(events[1].collector, "counting");
}

struct Newsy final : Collector {
  Newsy() { made = this; }
  Result<> collect(BatchWriter& out) override {
    eventfd_t n;
    if (reads) eventfd_read(event.get(), &n);
    out.set(kCalls[0], ++calls);
    return {};
  }
  int news_fd() const override { return event.get(); }

  static inline std::atomic<Newsy*> made = nullptr;
  Fd event{eventfd(0, EFD_NONBLOCK)};
  std::atomic<bool> reads = true;
  std::atomic<int> calls = 0;
};
constexpr CollectorEntry kNewsy[] = {{"counting", "proc", DefaultState::on, Runs::here, &kPlain<Newsy>}};

// There are no rules, so no timer: what is collected is for the news.
TEST_F(PipelineTest, NewsDoNotWait) {
  const Host now;
  Pipeline with{now, kNewsy, [](std::string_view) { return nullptr; }, hub};
  ASSERT_TRUE(with.start(config()));
  const auto reach = [](int calls) {
    for (int i = 0; i < 10'000 && (!Newsy::made || Newsy::made.load()->calls < calls); ++i) usleep(1000);
    return Newsy::made ? Newsy::made.load()->calls.load() : 0;
  };
  ASSERT_EQ(reach(1), 1);
  auto& newsy = *Newsy::made;
  for (int i = 2; i < 6; ++i) {
    eventfd_write(newsy.event.get(), 1);
    EXPECT_EQ(reach(i), i);
  }
  // What comes in the pause after a cycle brings one cycle after it, and no more. All of it has to come in the pause,
  // which a machine at work may not let it.
  int calls = 5;
  for (int tries = 0; tries < 50; ++tries) {
    eventfd_write(newsy.event.get(), 1);
    ASSERT_EQ(reach(++calls), calls);
    const auto began_ns = now.clock().boot_ns();
    for (int i = 0; i < 3; ++i) {
      eventfd_write(newsy.event.get(), 1);
      usleep(1000);
    }
    const bool in_time = now.clock().boot_ns() - began_ns < 20'000'000;
    EXPECT_GE(reach(++calls), calls);
    usleep(200'000);
    if (in_time) {
      EXPECT_EQ(newsy.calls, calls);
      break;
    }
    calls = newsy.calls;
  }
  // One that does not read them is asked again, but not all the time.
  newsy.reads = false;
  const auto begin_ns = now.clock().boot_ns();
  eventfd_write(newsy.event.get(), 1);
  EXPECT_GE(reach(calls + 3), calls + 3);
  EXPECT_GE(now.clock().boot_ns() - begin_ns, 2 * 50'000'000);
  EXPECT_TRUE(with.stop(5'000'000'000));
}

// A probe that takes its time: the first numbers do not wait for it, and nobody need ask for those with it.
std::atomic<bool> g_may_load = false;
constexpr MetricDesc kProbed[] = {{"probed", MetricType::gauge, "1 once it is there.", "", "", "slow"}};
struct Probing final : Collector {
  Result<> collect(BatchWriter& out) override {
    out.set(kProbed[0], 1);
    return {};
  }
};
constexpr CollectorInfo kSlow{kProbed, {}, [](const Host&, const Options&) -> Result<std::unique_ptr<Collector>> {
                                while (!g_may_load) usleep(1000);
                                return std::make_unique<Probing>();
                              }};
constexpr CollectorEntry kWithProbes[] = {{"counting", "proc", DefaultState::on, Runs::here, &kCounting},
                                          {"probing", "bpf", DefaultState::detect, Runs::here, &kDenied},
                                          {"runq_latency", "bpf", DefaultState::on, Runs::here, &kSlow}};

TEST_F(PipelineTest, ProbesComeAfterTheFirstNumbers) {
  using enum CollectorStatus::State;
  const Host now;
  g_may_load = false;
  Pipeline with{now, kWithProbes, [](std::string_view) { return nullptr; }, hub};
  auto later = config();
  later.probes_later = true;
  ASSERT_TRUE(with.start(std::move(later)));
  ASSERT_TRUE(with.wait_for_configurations(1, 5'000'000'000));
  EXPECT_EQ(text("probed") + text("test_calls"), "test_calls 1\n");
  const auto state_of = [&](std::string_view name) {
    const auto rows = with.status();
    return std::ranges::find(*rows, name, &CollectorStatus::name)->state;
  };
  EXPECT_EQ(state_of("runq_latency"), starting);
  EXPECT_EQ(text("node_scrape_collector_success"), "node_scrape_collector_success{collector=\"counting\"} 1\n");
  g_may_load = true;
  for (int i = 0; i < 5'000 && (state_of("runq_latency") == starting || text("probed").empty()); ++i) usleep(1000);
  EXPECT_EQ(state_of("runq_latency"), on);
  EXPECT_EQ(state_of("probing"), failed);
  EXPECT_EQ(text("probed"), "probed 1\n");
  EXPECT_TRUE(with.stop(5'000'000'000));
}

TEST_F(PipelineTest, WhoAsksForAProbeByNameHasItInTheFirstNumbers) {
  const Host now;
  g_may_load = true;
  Pipeline with{now, kWithProbes, [](std::string_view) { return nullptr; }, hub};
  auto later = config({{"probe.runq_latency", "true"}, {"probe.probing", "false"}});
  later.probes_later = true;
  ASSERT_TRUE(with.start(std::move(later)));
  ASSERT_TRUE(with.wait_for_configurations(1, 5'000'000'000));
  EXPECT_EQ(text("probed") + text("test_calls"), "probed 1\ntest_calls 1\n");
  EXPECT_TRUE(with.stop(5'000'000'000));
}

// A reload while they are still coming does not make everybody wait for them at once.
TEST_F(PipelineTest, AReloadLeavesProbesThatAreStillToCome) {
  const Host now;
  g_may_load = true;
  Pipeline with{now, kWithProbes, [](std::string_view) { return nullptr; }, hub};
  auto later = config();
  later.probes_later = true;
  ASSERT_TRUE(with.start(std::move(later)));
  ASSERT_TRUE(with.reload(config({{"collector.counting.step", "2"}}), 5'000'000'000));
  for (int i = 0; i < 5'000 && text("probed").empty(); ++i) usleep(1000);
  EXPECT_EQ(text("probed"), "probed 1\n");
  EXPECT_TRUE(with.stop(5'000'000'000));
}

TEST_F(PipelineTest, AnErrorIsLoggedOncePerChange) {
  pipeline.configure(config({{"collector.throwing", "false"}}));
  const auto log_of = [&] {
    testing::internal::CaptureStderr();
    pipeline.cycle();
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(log_of(), "");
  g_outcome = fail(Errc::malformed, "line 1");
  EXPECT_THAT(log_of(), HasSubstr("line 1"));
  EXPECT_EQ(log_of(), "");
  g_outcome = fail(Errc::malformed, "line 2");
  EXPECT_THAT(log_of(), HasSubstr("line 2"));
  g_outcome = {};
  EXPECT_THAT(log_of(), HasSubstr("works again"));
  g_problems = {{Errc::io, 0, "disk a"}, {Errc::io, 0, "disk b"}};
  EXPECT_THAT(log_of(), testing::AllOf(HasSubstr("disk a"), HasSubstr("disk b")));
  EXPECT_EQ(log_of(), "");
  g_problems = {{Errc::io, 0, "disk b"}, {Errc::io, 0, "disk c"}};
  EXPECT_THAT(log_of(), testing::AllOf(HasSubstr("disk c"), Not(HasSubstr("disk b"))));
  EXPECT_EQ(text("vitald_collector_errors_total"),
            "vitald_collector_errors_total{collector=\"moody\",kind=\"malformed\"} 3\n"
            "vitald_collector_errors_total{collector=\"moody\",kind=\"io\"} 6\n");
}

TEST_F(PipelineTest, WhatIsOnAndWhyNot) {
  g_absent = true;
  pipeline.configure(config({{"collector.moody", "false"}}));
  pipeline.cycle();
  std::string rows;
  for (const auto& r : *pipeline.status()) rows += fmt::format("{} {} {}\n", r.name, static_cast<int>(r.state), r.text);
  EXPECT_EQ(rows,
            "counting 0 counts\n"
            "late 2 no such hardware\n"
            "moody 1 --no-collector.moody\n"
            "optional 1 off by default\n"
            "probing 3 CAP_BPF is missing\n"
            "remote 0 worker process 99\n"
            "throwing 3 bug, please report: exception 'boom'\n");

  pipeline.configure(config({{"collector.disable-defaults", "true"}, {"collector.counting", "true"}}));
  EXPECT_EQ(std::ranges::count(*pipeline.status(), CollectorStatus::State::on, &CollectorStatus::state), 1);
  pipeline.cycle();
  EXPECT_EQ(text("node_scrape_collector_success"), "node_scrape_collector_success{collector=\"counting\"} 1\n");

  // Asked for by name and not there: that is a failure, not a detail of the machine.
  pipeline.configure(config({{"collector.disable-defaults", "true"}, {"collector.late", "true"}}));
  pipeline.cycle();
  EXPECT_EQ(text("node_scrape_collector_success"), "node_scrape_collector_success{collector=\"late\"} 0\n");
}

TEST(Report, Reads) {
  using enum CollectorStatus::State;
  const std::vector<CollectorStatus> collectors{{"arp", "proc", false, off, "--no-collector.arp"},
                                                {"buddyinfo", "proc", false, off, "off by default"},
                                                {"cpu", "proc", false, on, ""},
                                                {"hwmon", "hwmon", true, unavailable, "no /sys/class/hwmon"},
                                                {"libvirt", "virt", true, on, "worker process 7"},
                                                {"nvme", "sys", false, unavailable, "no /sys/class/nvme"},
                                                {"oom_kills", "bpf", false, failed, "CAP_BPF is missing"},
                                                {"runq_latency", "bpf", false, on, "attached, tp_btf"},
                                                {"stat", "proc", false, failed, "line 1"},
                                                {"swap", "proc", false, off, "off by default"}};
  RulesView rules;
  rules.groups.emplace_back().rules.resize(3);
  CommandReceiver hook;
  hook.name = "pager", hook.command = {"/usr/bin/page", "--now"};
  const auto text = report({{"http://a:1/metrics", "http://b:2/metrics"},
                            collectors,
                            500,
                            &rules,
                            {"x.yaml"},
                            {hook.copy()},
                            false,
                            "/var/lib/vitald"});
  EXPECT_EQ(text.substr(text.find('\n') + 1),
            "  listening   http://a:1/metrics\n"
            "              http://b:2/metrics\n"
            "  collectors  1 on: cpu\n"
            "              1 not on this machine (vitald doctor says why): nvme\n"
            "              arp off: --no-collector.arp\n"
            "              2 off by default: buddyinfo swap\n"
            "              stat FAILED: line 1\n"
            "  sensors     hwmon not here: no /sys/class/hwmon\n"
            "  guests      libvirt: worker process 7\n"
            "  probes      oom_kills NOT attached: CAP_BPF is missing\n"
            "              runq_latency: attached, tp_btf\n"
            "  rules       3 in 1 groups from x.yaml\n"
            "  alerts      log, /api/v1/alerts, ALERTS in /metrics, command 'pager' (/usr/bin/page --now)\n"
            "  state       /var/lib/vitald\n"
            "  series      500\n");
}

TEST_F(PipelineTest, WhatWasAbsentIsTriedAgain) {
  g_absent = true;
  pipeline.configure(config());
  pipeline.cycle();
  g_absent = false;
  pipeline.cycle();
  EXPECT_THAT(text("node_scrape"), Not(HasSubstr("late")));
  clock.advance_ns(60'000'000'000);
  pipeline.cycle();
  EXPECT_THAT(text("node_scrape"), HasSubstr("late"));
}

TEST_F(PipelineTest, NothingToCollectIsLookedForRarely) {
  pipeline.configure(config());
  g_outcome = fail(Errc::absent, "no disks");
  pipeline.cycle();
  EXPECT_THAT(text("node_scrape_collector_success"), HasSubstr("{collector=\"moody\"} 0\n"));
  const auto rows = pipeline.status();
  EXPECT_EQ(std::ranges::find(*rows, "moody", &CollectorStatus::name)->state, CollectorStatus::State::unavailable);
  g_outcome = {};
  clock.advance_ns(Collectors::kRetryNs - 1);
  pipeline.cycle();
  EXPECT_THAT(text("node_scrape_collector_success"), HasSubstr("{collector=\"moody\"} 0\n"));
  EXPECT_THAT(text("vitald_collector_errors_total"), HasSubstr("{collector=\"moody\",kind=\"absent\"} 1\n"));
  clock.advance_ns(1);
  pipeline.cycle();
  EXPECT_THAT(text("node_scrape_collector_success"), HasSubstr("{collector=\"moody\"} 1\n"));
}

// Whatever a collector calls what it has not: the numbers it has are not set aside with it, and it is told.
TEST_F(PipelineTest, SomethingToCollectIsNotNothing) {
  pipeline.configure(config());
  g_outcome = fail(Errc::absent, "no disks");
  g_emits = true;
  for (int i = 0; i < 3; ++i) {
    pipeline.cycle();
    EXPECT_EQ(text("test_moods"), "test_moods 3\n");
    EXPECT_THAT(text("node_scrape_collector_success"), HasSubstr("{collector=\"moody\"} 0\n"));
    EXPECT_THAT(text("vitald_collector_left_out"), HasSubstr("{collector=\"moody\"} 1\n"));
    clock.advance_ns(1'000'000'000);
  }
  EXPECT_THAT(text("vitald_collector_errors_total"), HasSubstr("{collector=\"moody\",kind=\"io\"} 3\n"));
}

TEST_F(PipelineTest, AReloadKeepsWhatDidNotChange) {
  pipeline.configure(config());
  pipeline.cycle(), pipeline.cycle();
  pipeline.configure(config({{"collector.throwing", "false"}}));
  pipeline.cycle();
  EXPECT_EQ(g_made, 1);
  EXPECT_THAT(text("test_calls"), HasSubstr("test_calls 3\n"));
  pipeline.configure(config({{"collector.counting.step", "10"}}));
  pipeline.cycle();
  EXPECT_EQ(g_made, 2);
  EXPECT_THAT(text("test_calls"), HasSubstr("test_calls 10\n"));
  pipeline.configure(config({{"collector.counting.step", "10"}, {"collector.moody", "false"}}));
  pipeline.cycle();
  EXPECT_EQ(g_made, 3) << "reads that flag too";
}

TEST_F(PipelineTest, AHangingWorkerDelaysOneCycleOnly) {
  FakeWorker::prompt = false;
  pipeline.configure(config());
  constexpr std::int64_t kPatience = 20'000'000;
  pipeline.cycle(kPatience);  // waits in vain
  clock.advance_ns(kPatience);
  pipeline.cycle(kPatience);
  EXPECT_THAT(text("node_scrape_collector_success"), HasSubstr("{collector=\"remote\"} 0\n"));
  EXPECT_EQ(FakeWorker::live->requests, 1);  // not multiplied
  // From now on it is known to be slow: a cycle that would wait for ever returns.
  pipeline.cycle(std::int64_t{3600} * 1'000'000'000);

  FakeWorker::live->answer(clock.boot);
  pipeline.cycle(kPatience);
  EXPECT_THAT(text("test_calls"), HasSubstr("test_calls_remote 42\n"));
  EXPECT_THAT(text("node_scrape_collector_success"), HasSubstr("{collector=\"remote\"} 1\n"));
  clock.advance_ns(2'000'000'000);
  pipeline.cycle(kPatience);
  EXPECT_THAT(text("vitald_collector_age"), HasSubstr("{collector=\"remote\"} 2\n"));
}

TEST_F(PipelineTest, ThreadRunsOnlyWhenAskedAndRequestsShareACycle) {
  std::mutex mutex;
  std::condition_variable published;
  SystemClock system;
  Host real({}, &system);
  Pipeline threaded(real, std::span(kAll).first(1), {}, hub, [&] {
    const std::lock_guard lock(mutex);
    published.notify_all();
  });
  const auto wait_newer = [&](std::int64_t boot_ns) {
    std::unique_lock lock(mutex);
    published.wait(lock, [&] { return hub.latest() && hub.latest()->boot_ns >= boot_ns; });
  };
  const auto begin = system.boot_ns();
  ASSERT_TRUE(threaded.start(config()));
  wait_newer(begin);
  EXPECT_EQ(g_calls, 1);  // the first, unasked

  const auto now = system.boot_ns();
  std::vector<std::thread> scrapes;
  std::latch together(16);
  for (int i = 0; i < 16; ++i)
    scrapes.emplace_back([&] {
      together.arrive_and_wait();
      threaded.collect(now);
    });
  for (auto& s : scrapes) s.join();
  EXPECT_GE(hub.latest()->boot_ns, now);  // one of them ran it, the others found it done or under way
  EXPECT_EQ(g_calls, 2);
  EXPECT_TRUE(threaded.stop(5'000'000'000));
  EXPECT_EQ(g_calls, 2);
}

// Collectors that sleep in the agent until they are told to go on, as a read does that a driver does not answer.
constexpr MetricDesc kLast[] = {{"test_last", MetricType::gauge, "L."}};
constexpr FlagSpec kHangFlags[] = {{"collector.hangs.x", FlagType::number, "1", "x"}};
std::atomic<bool> g_hang[2], g_hang_making, g_throw_making;
std::atomic<int> g_inside = 0, g_hangs_made = 0;

void sleep_while(const std::atomic<bool>& flag) {
  ++g_inside;
  while (flag) usleep(1000);
  --g_inside;
}
template <int I>
struct Hangs final : Collector {
  Result<> collect(BatchWriter& out) override {
    sleep_while(g_hang[I]);
    if (I == 0) out.set(kLast[0], 1);
    return {};
  }
};
constexpr CollectorInfo kHangs{{}, kHangFlags, [](const Host&, const Options&) -> Result<std::unique_ptr<Collector>> {
                                 ++g_hangs_made;
                                 sleep_while(g_hang_making);
                                 if (g_throw_making) throw std::runtime_error("no make");
                                 return std::make_unique<Hangs<0>>();
                               }};
constexpr CollectorEntry kSome[] = {
    {"counting", "proc", DefaultState::on, Runs::here, &kCounting},
    {"hangs", "proc", DefaultState::on, Runs::here, &kHangs},
    {"hangs_too", "proc", DefaultState::on, Runs::here, &kPlain<Hangs<1>>},
    {"optional", "proc", DefaultState::on, Runs::here, &kPlain<Empty>},
};

struct HangTest : PipelineTest {
  static constexpr std::int64_t kSecond = 1'000'000'000;
  HangTest() { set(false, false), g_hang_making = g_throw_making = false, g_inside = g_hangs_made = 0; }
  ~HangTest() override { set(false, false), g_hang_making = false; }
  static void set(bool first, bool second) { g_hang[0] = first, g_hang[1] = second; }
  // Or the test's own thread might be the one that hangs.
  static void wait_inside() {
    while (g_inside == 0) usleep(1000);
  }
  PipelineConfig hang_config(const std::vector<std::pair<std::string, std::string>>& flags = {}) {
    auto given = flags;
    given.emplace_back("collector.optional", "true");
    auto made = config();
    auto options = std::make_shared<Options>(*made.options);
    options->declare(kHangFlags);
    for (const auto& entry : kSome)
      if (!options->spec(switch_name(entry))) {
        names.push_back(switch_name(entry));
        options->declare(std::vector<FlagSpec>{{names.back(), FlagType::boolean, "true"}});
      }
    for (const auto& [flag, value] : given) options->set(flag, value);
    made.options = options;
    return made;
  }
  // As the server does: asks, and waits for whoever does it.
  bool numbers_since(std::int64_t boot_ns, std::int64_t within_ns) {
    const auto until = system.boot_ns() + within_ns;
    while (system.boot_ns() < until) {
      if (threaded.collect(boot_ns)) return true;
      if (const auto latest = hub.latest(); latest && latest->boot_ns >= boot_ns) return true;
      usleep(1000);
    }
    return false;
  }
  bool comes(const char* line) {
    for (int i = 0; i < 200; ++i) {
      if (!numbers_since(system.boot_ns(), 5 * kSecond)) return false;
      if (lines(*hub.latest(), "").find(line) != std::string::npos) return true;
      usleep(10'000);
    }
    return false;
  }
  static constexpr auto* kBad = "node_scrape_collector_success{collector=\"hangs\"} 0\n";
  static constexpr auto* kGood = "node_scrape_collector_success{collector=\"hangs\"} 1\n";

  SystemClock system;
  Host real{{}, &system};
  Pipeline threaded{real, kSome, {}, hub};
};

TEST_F(HangTest, CostsItsOwnNumbersOnly) {
  ASSERT_TRUE(threaded.start(hang_config()));
  ASSERT_TRUE(threaded.wait_for_configurations(1, 10 * kSecond));
  EXPECT_EQ(text("test_last"), "test_last 1\n");
  testing::internal::CaptureStderr();
  set(true, true);
  const auto begin = system.boot_ns();
  std::thread scrape([&] { EXPECT_FALSE(threaded.collect(begin)) << "it is another thread's"; });
  wait_inside();
  ASSERT_TRUE(numbers_since(begin, 5 * kSecond));
  EXPECT_EQ(g_inside, 2);
  EXPECT_EQ(text("node_scrape_collector_success"),
            "node_scrape_collector_success{collector=\"counting\"} 1\n"
            "node_scrape_collector_success{collector=\"hangs\"} 0\n"
            "node_scrape_collector_success{collector=\"hangs_too\"} 0\n"
            "node_scrape_collector_success{collector=\"optional\"} 1\n");
  for (int i = 0; i < 20; ++i) {  // nobody waits any more
    const auto calls = g_calls.load();
    const auto asked = system.boot_ns();
    ASSERT_TRUE(numbers_since(asked, 5 * kSecond));
    EXPECT_LT(system.boot_ns() - asked, kSecond / 2) << "less than it takes to find out that two hang";
    EXPECT_GT(g_calls, calls);
  }
  EXPECT_EQ(text("test_last"), "test_last 1\n") << "its last numbers stay";
  EXPECT_THAT(text("vitald_collector_age"), testing::ContainsRegex("hangs\"} 0\\.[2-9]|hangs\"} [1-9]"));
  EXPECT_EQ(g_inside, 2);
  const auto rows = threaded.status();
  const auto row = std::ranges::find(*rows, "hangs", &CollectorStatus::name);
  EXPECT_EQ(row->state, CollectorStatus::State::failed);
  EXPECT_THAT(row->text, HasSubstr("hangs in the agent"));
  EXPECT_FALSE(threaded.stop(kSecond / 10)) << "only _exit() is left";

  set(false, false);
  scrape.join();
  const auto log = testing::internal::GetCapturedStderr();
  std::size_t told = 0;
  for (auto at = log.find("collector=hangs "); at != std::string::npos; at = log.find("collector=hangs ", at + 1))
    ++told;
  EXPECT_EQ(told, 1U) << log;
}

TEST_F(HangTest, ComesBackByItself) {
  ASSERT_TRUE(threaded.start(hang_config()));
  ASSERT_TRUE(threaded.wait_for_configurations(1, 10 * kSecond));
  for (int i = 0; i < 3; ++i) {
    set(true, false);
    const auto begin = system.boot_ns();
    std::thread scrape([&] { threaded.collect(begin); });
    wait_inside();
    ASSERT_TRUE(comes(kBad));
    set(false, false);
    scrape.join();
    ASSERT_TRUE(comes(kGood));
    ASSERT_TRUE(comes("vitald_collector_age_seconds{collector=\"hangs\"} 0\n")) << "on the round's thread again";
  }
  EXPECT_TRUE(threaded.stop(5 * kSecond));
}

TEST_F(HangTest, AReloadMakesNoSecondOneBesideIt) {
  set(true, false);
  ASSERT_TRUE(threaded.start(hang_config()));
  ASSERT_TRUE(threaded.wait_for_configurations(1, 10 * kSecond)) << "from the start, too";
  EXPECT_THAT(text("node_scrape"), HasSubstr(kBad));
  for (const char* x : {"2", "3", "4"}) {
    ASSERT_TRUE(threaded.reload(hang_config({{"collector.hangs.x", x}}), 10 * kSecond));
    EXPECT_THAT(text("node_scrape"), HasSubstr(kBad));
  }
  EXPECT_EQ(g_hangs_made, 1);
  EXPECT_EQ(g_inside, 1);
  set(false, false);
  ASSERT_TRUE(comes(kGood));
  EXPECT_EQ(g_hangs_made, 2) << "with the newest options";
  EXPECT_TRUE(threaded.stop(5 * kSecond));
}

TEST_F(HangTest, MakingItHangsOrThrows) {
  g_throw_making = true;
  ASSERT_TRUE(threaded.start(hang_config()));
  ASSERT_TRUE(threaded.wait_for_configurations(1, 10 * kSecond));
  EXPECT_THAT(text("node_scrape"), HasSubstr(kBad));
  auto rows = threaded.status();
  EXPECT_EQ(std::ranges::find(*rows, "hangs", &CollectorStatus::name)->text, "bug, please report: exception 'no make'");

  g_throw_making = false, g_hang_making = true;
  ASSERT_TRUE(threaded.reload(hang_config({{"collector.hangs.x", "2"}}), 10 * kSecond));
  EXPECT_THAT(text("node_scrape"), HasSubstr(kBad));
  rows = threaded.status();
  EXPECT_THAT(std::ranges::find(*rows, "hangs", &CollectorStatus::name)->text, HasSubstr("has not come back"));
  g_hang_making = false;
  ASSERT_TRUE(comes(kGood));
  EXPECT_TRUE(threaded.stop(5 * kSecond));
}

}  // namespace
}  // namespace vitald
