// SPDX-License-Identifier: Apache-2.0
// Why tasks waited and because of whom, peaks and migrations: loads with known answers.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "core/clock.h"
#include "sensors/bpf/block.h"
#include "sensors/bpf/sched.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

int last_cpu() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1; }

void spin_for_ms(int ms) {
  const auto end = SystemClock::read(CLOCK_MONOTONIC) + ms * 1'000'000ll;
  while (SystemClock::read(CLOCK_MONOTONIC) < end) {
  }
}

// Before all that is not: what else the machine does would be in every figure.
void go_first() {
  const sched_param param{.sched_priority = 1};
  if (sched_setscheduler(0, SCHED_RR, &param) != 0) _exit(3);
}

// So that all are first before one of them keeps the CPU.
class Start {
 public:
  Start()
      : flag_(static_cast<volatile int*>(
            mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Start() { munmap(const_cast<int*>(flag_), 4096); }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;
  void wait() const {
    go_first();
    while (*flag_ == 0) usleep(1000);
  }
  void give() const {
    usleep(200'000);
    *flag_ = 1;
  }

 private:
  volatile int* flag_;
};

std::string owner_labels_of(const TestCgroup& cgroup) {
  return fmt::format("owner=\"{}\",owner_kind=\"other\"}}", cgroup.path());
}
double wait_of(const std::map<std::string, double>& series, const TestCgroup& cgroup, std::string_view cause) {
  return value(series, fmt::format("vitald_owner_wait_seconds_total{{cause=\"{}\",", cause) + owner_labels_of(cgroup));
}
double blamed(const std::map<std::string, double>& series, const TestCgroup& cgroup, const std::string& culprit) {
  double sum = 0;
  for (const auto& [name, v] : series)
    if (name.starts_with("vitald_owner_blamed_wait_seconds_total{") &&
        name.find("culprit=\"" + culprit + "\"") != std::string::npos && name.ends_with(owner_labels_of(cgroup)))
      sum += v;
  return sum;
}
double blamed_on_all(const std::map<std::string, double>& series, const TestCgroup& cgroup) {
  double sum = 0;
  for (const auto& [name, v] : series)
    if (name.starts_with("vitald_owner_blamed_wait_seconds_total{") && name.ends_with(owner_labels_of(cgroup)))
      sum += v;
  return sum;
}

// Of the scheduler's last class beside a hog: it waits long. Its longest wait is the exemplar of its bucket, and stays
// it, with its own time, when all is quiet again.
void check_exemplar_of_a_long_wait(const Rung& rung) {
  LiveProbe probe("runq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-hog-{}", getpid())),
      b(cpu_hierarchy(Host()), fmt::format("vitald-starved-{}", getpid()));
  const auto pid = std::unique_ptr<int, void (*)(int*)>(
      static_cast<int*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
      [](int* p) { munmap(p, 4096); });
  const auto began_ns = SystemClock::read(CLOCK_REALTIME);
  Child starved(b, last_cpu(), [&] {
    *pid = getpid();
    prctl(PR_SET_NAME, "starv\"\xff d");
    const sched_param param{};
    if (sched_setscheduler(0, SCHED_IDLE, &param) != 0) _exit(3);
    const auto end = SystemClock::read(CLOCK_MONOTONIC) + 2'500'000'000;
    // It works each time: what it ran for weighs 340 times as much as the hog's, and so long it waits. Of some
    // microseconds that were less than the tick.
    while (SystemClock::read(CLOCK_MONOTONIC) < end) {
      spin_for_ms(1);
      usleep(20'000);
    }
  });
  Child hog(a, last_cpu(), [] { spin_for_ms(2500); });
  // Again and again: each look begins anew, and others of this machine may wait longer than it once.
  std::vector<std::pair<std::string, Exemplar>> found;
  auto its = found.rend();
  for (int i = 0; i < 120 && its == found.rend(); ++i) {
    usleep(20'000);
    probe.collect();
    found = probe.exemplars();
    its = std::ranges::find_if(found.rbegin(), found.rend(), [](const auto& one) {
      return label_of(one.second, "comm") == "starv\"\uFFFD d" && one.second.value > 0.01;
    });
  }
  const auto ended_ns = SystemClock::read(CLOCK_REALTIME);
  hog.finish();
  starved.finish();
  ASSERT_NE(its, found.rend()) << found.size() << " exemplars, none of it";
  const auto& e = its->second;
  fmt::print("{}: {}{:.3f} s, pid {}, owner {}\n", rung.name, its->first, e.value, label_of(e, "pid"),
             label_of(e, "owner"));
  EXPECT_EQ(label_of(e, "pid"), std::to_string(*pid));
  EXPECT_EQ(label_of(e, "owner"), b.path());
  EXPECT_EQ(label_of(e, "owner_kind"), "other");
  EXPECT_GT(e.wall_ms, began_ns / 1'000'000);
  EXPECT_LE(e.wall_ms, ended_ns / 1'000'000);
  EXPECT_TRUE(its->first.starts_with("vitald_sched_runqueue_latency_seconds_bucket{le=\"")) << its->first;
  usleep(50'000);
  probe.collect();
  const auto later = probe.exemplars();
  const auto same = std::ranges::find(later, its->first, [](const auto& one) { return one.first; });
  ASSERT_NE(same, later.end());
  if (same->second.value <= e.value) {  // otherwise somebody else waited longer meanwhile
    EXPECT_EQ(same->second.wall_ms, e.wall_ms);
    EXPECT_EQ(same->second.labels, e.labels);
  }
}

TEST_F(Probes, ExemplarOfALongWait) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (climb(rung)) until_seen_whole([&] { check_exemplar_of_a_long_wait(rung); });
  }
}

// Two hogs of two owners on one CPU: each waits because of the other.
void check_two_hogs(const Rung& rung) {
  LiveProbe probe("owner_waits");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-hog-a-{}", getpid())),
      b(cpu_hierarchy(Host()), fmt::format("vitald-hog-b-{}", getpid()));
  const Start start;
  const auto spin = [&] {
    start.wait();
    spin_for_ms(2000);
  };
  Child one(a, last_cpu(), spin), two(b, last_cpu(), spin);
  start.give();
  usleep(600'000);
  probe.collect();  // by now they have waited enough to be known
  const auto before = probe.collect();
  const auto truth = one.finish();
  two.finish();
  probe.collect();
  const auto after = probe.collect();
  const auto contention = wait_of(after, a, "contention") - wait_of(before, a, "contention");
  const auto throttled = wait_of(after, a, "throttled"), self = wait_of(after, a, "self");
  const auto by_b = blamed(after, a, b.path()) - blamed(before, a, b.path());
  fmt::print("{}: a waited {:.1f} ms ({:.1f} by the kernel, all of it), throttled {:.1f}, self {:.1f}, by b {:.1f}\n",
             rung.name, contention * 1e3, static_cast<double>(truth.delay_ns) / 1e6, throttled * 1e3, self * 1e3,
             by_b * 1e3);
  EXPECT_GT(contention, 0.3);
  EXPECT_NEAR(throttled, 0, 0.005);
  EXPECT_NEAR(self, 0, 0.005);
  // The kernel leaves a twentieth to those that are not first.
  EXPECT_GT(by_b, 0.85 * contention);
  EXPECT_LE(by_b, contention * 1.01);
  EXPECT_NEAR(blamed_on_all(after, a), wait_of(after, a, "contention"), 1e-3) << "the sum is the contention";
  // What no slice explains has a cause of its own.
  EXPECT_NEAR(wait_of(after, a, "contention") + wait_of(after, a, "unknown"), static_cast<double>(truth.delay_ns) / 1e9,
              0.1 + 0.05 * static_cast<double>(truth.delay_ns) / 1e9);
  // Of a tenth of a second each.
  const auto family = "vitald_owner_runqueue_latency_seconds_count{" + owner_labels_of(a);
  EXPECT_GE(value(after, family) - value(before, family), 3);
}

TEST_F(Probes, TwoHogsWaitForEachOther) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (climb(rung)) until_seen_whole([&] { check_two_hogs(rung); });
  }
}

// Two tasks of one owner: it waits for itself.
void check_self() {
  LiveProbe probe("owner_waits");
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-self-{}", getpid()));
  const Start start;
  const auto spin = [&] {
    start.wait();
    spin_for_ms(1200);
  };
  Child one(a, last_cpu(), spin), two(a, last_cpu(), spin);
  start.give();
  usleep(600'000);
  probe.collect();
  const auto before = probe.collect();
  one.finish();
  two.finish();
  const auto after = probe.collect();
  const auto self = wait_of(after, a, "self") - wait_of(before, a, "self"),
             contention = wait_of(after, a, "contention") - wait_of(before, a, "contention");
  fmt::print("self {:.1f} ms, contention {:.1f} ms\n", self * 1e3, contention * 1e3);
  EXPECT_GT(self, 0.2);
  EXPECT_LT(contention, self * 0.2);
}

TEST_F(Probes, AnOwnerThatWaitsForItself) { until_seen_whole(check_self); }

// Two cgroups of one unit: who waits for the other waits for its own.
void check_self_of_two_cgroups() {
  LiveProbe probe("owner_waits");
  probe.collect();
  const auto name = fmt::format("vitald-{}.service", getpid());
  const auto v1 = cpu_hierarchy(Host());
  const TestCgroup unit(v1, name), a(v1, name + "/a"), b(v1, name + "/b");
  const Start start;
  const auto spin = [&] {
    start.wait();
    spin_for_ms(1500);
  };
  Child one(a, last_cpu(), spin), two(b, last_cpu(), spin);
  start.give();
  usleep(600'000);
  probe.collect();
  const auto before = probe.collect();
  one.finish();
  two.finish();
  const auto after = probe.collect();
  const auto wait = [&](const auto& series, std::string_view cause) {
    return value(series, fmt::format("vitald_owner_wait_seconds_total{{cause=\"{}\",owner=\"{}\",owner_kind=\"unit\"}}",
                                     cause, name));
  };
  const auto self = wait(after, "self") - wait(before, "self"),
             contention = wait(after, "contention") - wait(before, "contention");
  fmt::print("two cgroups of a unit: self {:.1f} ms, contention {:.1f} ms\n", self * 1e3, contention * 1e3);
  EXPECT_GT(self, 0.3);
  EXPECT_LT(contention, self * 0.2);
}

TEST_F(Probes, AnOwnerOfTwoCgroupsThatWaitsForItself) { until_seen_whole(check_self_of_two_cgroups); }

// So many short slices that each wait is longer than those that are remembered: the rest is not somebody else's.
void check_short_slices() {
  LiveProbe probe("owner_waits", {{"bpf.budget", "0"}});
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-many-{}", getpid()));
  constexpr int kTasks = 100;
  Child one(a, last_cpu(), [] {
    go_first();
    const auto end = SystemClock::read(CLOCK_MONOTONIC) + 1'500'000'000ll;
    for (int i = 1; i < kTasks; ++i)
      if (fork() == 0) {
        while (SystemClock::read(CLOCK_MONOTONIC) < end) sched_yield();
        _exit(0);
      }
    while (SystemClock::read(CLOCK_MONOTONIC) < end) sched_yield();
    while (wait(nullptr) > 0) {
    }
  });
  one.finish();
  probe.collect();
  probe.collect();
  const auto after = probe.collect();
  const auto self = wait_of(after, a, "self"), contention = wait_of(after, a, "contention"),
             unknown = wait_of(after, a, "unknown");
  fmt::print("{} tasks: self {:.1f} s, unknown {:.1f} s, contention {:.3f} s\n", kTasks, self, unknown, contention);
  EXPECT_GT(self, 5);
  EXPECT_GT(unknown, self * 0.5) << "32 of 99 slices are remembered";
  EXPECT_LT(contention, 0.05 * (self + unknown));
  EXPECT_NEAR(self + contention + unknown, 1.5 * (kTasks - 1), 0.1 * 1.5 * kTasks) << "all but one wait, all the time";
  EXPECT_NEAR(blamed_on_all(after, a), contention, 1e-6);
}

TEST_F(Probes, AWaitOfMoreSlicesThanAreRemembered) { until_seen_whole(check_short_slices); }

// Shed while another signal goes on: what was waited meanwhile has no cause, and is nobody's.
void check_shed_waits() {
  FakeClock clock;
  const Host host(Host::Roots(), &clock);
  Options options;
  const FlagSpec flags[] = {{"probe.owner_waits", FlagType::boolean, "true"},
                            {"probe.runq_latency", FlagType::boolean, "true"}};
  options.declare(flags);
  options.declare(info_of("owner_waits").flags);
  options.set("bpf.budget", "0");
  auto waits = info_of("owner_waits").make(host, options), runq = info_of("runq_latency").make(host, options);
  ASSERT_TRUE(waits && runq);
  auto& budget = host.shared<ProbeBudget>();
  const auto collect = [&](Collector& collector, const char* name) {
    BatchWriter out(name);
    out.begin(0);
    EXPECT_TRUE(collector.collect(out));
    std::map<std::string, double> series;
    const auto batch = out.finish({}, 0, 0);
    for (const auto& s : batch->layout->samples()) {
      auto prefix = batch->layout->prefix(s);
      prefix.remove_suffix(1);
      series[std::string(prefix)] = batch->values[s.value];
    }
    return series;
  };
  collect(**waits, "owner_waits");
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-pause-a-{}", getpid())),
      b(cpu_hierarchy(Host()), fmt::format("vitald-pause-b-{}", getpid()));
  const Start start;
  const auto spin = [&] {
    start.wait();
    spin_for_ms(4500);
  };
  Child one(a, last_cpu(), spin), two(b, last_cpu(), spin);
  start.give();
  usleep(600'000);
  const auto all = [&](const std::map<std::string, double>& series) {
    double sum = 0;
    for (const auto cause : {"contention", "self", "throttled", "unknown"}) sum += wait_of(series, a, cause);
    return sum;
  };
  collect(**waits, "owner_waits");
  const auto before = all(collect(**waits, "owner_waits"));
  EXPECT_GT(before, 0.1);
  budget.set_limit(1e-9);
  collect(**waits, "owner_waits");
  usleep(1'100'000);
  for (int i = 0; i < 3 && !(*waits)->status().starts_with("shed"); ++i) collect(**waits, "owner_waits");
  ASSERT_TRUE((*waits)->status().starts_with("shed")) << (*waits)->status();
  const auto at_shed = SystemClock::read(CLOCK_MONOTONIC);
  usleep(1'500'000);
  budget.set_limit(100);
  auto after = collect(**waits, "owner_waits");
  ASSERT_TRUE((*waits)->status().starts_with("attached")) << (*waits)->status();
  const auto paused = static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - at_shed) / 1e9;
  after = collect(**waits, "owner_waits");
  fmt::print("waited {:.2f} s before, {:.2f} s after {:.2f} s of pause\n", before, all(after), paused);
  EXPECT_LT(all(after) - before, 1.1 / 2 + 0.35) << "half of the pause is what it waited in it";
  one.finish(), two.finish();
}

TEST_F(Probes, WhatWasWaitedWhileShedIsNobodys) { until_seen_whole(check_shed_waits); }

// Of whom no more is kept than sums: why he waits is known, because of whom is not, and nobody else pays for that.
void check_beyond_detailed() {
  LiveProbe probe("owner_waits", {{"owner.detailed", "1"}});
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-more-a-{}", getpid())),
      b(cpu_hierarchy(Host()), fmt::format("vitald-more-b-{}", getpid()));
  const Start start;
  const auto spin = [&] {
    start.wait();
    spin_for_ms(1500);
  };
  Child one(a, last_cpu(), spin), two(b, last_cpu(), spin);
  start.give();
  usleep(600'000);
  probe.collect();
  one.finish();
  two.finish();
  probe.collect();
  const auto after = probe.collect();
  EXPECT_GT(wait_of(after, a, "contention"), 0.2);
  EXPECT_NEAR(blamed_on_all(after, a), wait_of(after, a, "contention"), 1e-9);
  EXPECT_EQ(blamed(after, a, b.path()), 0);
  EXPECT_FALSE(after.contains("vitald_owner_runqueue_latency_seconds_count{" + owner_labels_of(a))) << "an empty one";
  double blamed_for_others = 0;
  for (const auto& [series, v] : after)
    if (series.starts_with("vitald_owner_blamed_wait_seconds_total{") &&
        series.ends_with("owner=\"other\",owner_kind=\"other\"}"))
      blamed_for_others += v;
  EXPECT_NEAR(
      blamed_for_others,
      value(after, "vitald_owner_wait_seconds_total{cause=\"contention\",owner=\"other\",owner_kind=\"other\"}"), 1e-9);
}

TEST_F(Probes, OwnersBeyondTheDetailed) { until_seen_whole(check_beyond_detailed); }

// cpu.max 10 %: what it waits for its limit is not somebody else's fault. Of one task alone it is what the group
// counts.
struct LimitedCgroup {
  explicit LimitedCgroup(const std::string& name)
      : v1(cpu_hierarchy(Host())), owner(v1, name), on_v2(v1.controller == V1Hierarchy::Controller::none) {
    if (on_v2) std::ofstream("/sys/fs/cgroup/cgroup.subtree_control") << "+cpu" << std::flush;
    if (!on_v2 && v1.controller != V1Hierarchy::Controller::cpu &&
        !std::filesystem::exists("/sys/fs/cgroup/cpu" + owner.path()))
      limit = std::make_unique<TestCgroup>(V1Hierarchy{V1Hierarchy::Controller::cpu, 0}, name);
    folder = (on_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu") + owner.path() + "/";
  }
  bool set_limit() const {
    if (on_v2) return static_cast<bool>(std::ofstream(folder + "cpu.max") << "10000 100000" << std::flush);
    return static_cast<bool>(std::ofstream(folder + "cpu.cfs_quota_us") << "10000" << std::flush);
  }
  void enter() const {
    if (limit) limit->set("cgroup.procs", std::to_string(getpid()));
  }
  double throttled_seconds() const {
    std::ifstream file(folder + "cpu.stat");
    double amount = 0;
    for (std::string word; file >> word >> amount;)
      if (word == "throttled_usec") return amount / 1e6;
      else if (word == "throttled_time") return amount / 1e9;
    return 0;
  }
  V1Hierarchy v1;
  TestCgroup owner;
  bool on_v2;
  std::unique_ptr<TestCgroup> limit;
  std::string folder;
};

void check_throttled(const Rung& rung) {
  LiveProbe probe("owner_waits");
  probe.collect();
  const LimitedCgroup a(fmt::format("vitald-limit-{}", getpid()));
  if (!a.set_limit()) GTEST_SKIP() << "no CPU limits in " << a.folder;
  Child one(a.owner, last_cpu(), [&] {
    a.enter();
    spin_for_ms(3000);
  });
  usleep(700'000);
  probe.collect();
  const auto before = probe.collect();
  const auto group_before = a.throttled_seconds();
  const auto truth = one.finish();
  const auto group = a.throttled_seconds() - group_before;
  const auto after = probe.collect();
  const auto throttled = wait_of(after, a.owner, "throttled") - wait_of(before, a.owner, "throttled"),
             contention = wait_of(after, a.owner, "contention") - wait_of(before, a.owner, "contention");
  fmt::print("{}: throttled {:.1f} ms (the group: {:.1f}), contention {:.1f} ms; waited {:.1f} ms from the start\n",
             rung.name, throttled * 1e3, group * 1e3, contention * 1e3, static_cast<double>(truth.delay_ns) / 1e6);
  EXPECT_GT(throttled, 1.0);
  EXPECT_NEAR(throttled, group, 0.1) << "the wait that was going on at one of the two moments is in only one";
  EXPECT_NEAR(
      wait_of(after, a.owner, "throttled") + wait_of(after, a.owner, "contention") + wait_of(after, a.owner, "unknown"),
      static_cast<double>(truth.delay_ns) / 1e9, 0.15);
}

TEST_F(Probes, AnOwnerAtItsCpuLimit) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_throttled(rung); });
    if (IsSkipped()) return;
  }
}

// 300 ms of work in three seconds: 10 % on average, a whole CPU at its peak.
void check_burst() {
  LiveProbe probe("owner_peaks");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-burst-{}", getpid()));
  Child one(a, last_cpu(), [] {
    go_first();
    usleep(1'000'000);
    spin_for_ms(300);
    usleep(1'000'000);
  });
  usleep(800'000);
  probe.collect();
  one.finish();
  const auto after = probe.collect();
  const auto peak = value(
      after, "vitald_owner_cpu_peak_ratio{" + ("owner=\"" + a.path() + "\"") + ",owner_kind=\"other\",stat=\"max\"}");
  fmt::print("burst of 300 ms: peak {:.3f}, of any CPU {:.3f}, of the host {:.3f}\n", peak,
             value(after, "vitald_cpu_peak_ratio{stat=\"max\"}"),
             value(after, "vitald_host_cpu_peak_ratio{stat=\"max\"}"));
  EXPECT_GT(peak, 0.9);
  EXPECT_LT(peak, 1.02);
  EXPECT_GT(value(after, "vitald_cpu_peak_ratio{stat=\"max\"}"), 0.98);
  EXPECT_LT(value(after, "vitald_cpu_peak_ratio{stat=\"max\"}"), 1.02);
  EXPECT_LE(value(after, "vitald_host_cpu_peak_ratio{stat=\"max\"}"), 1.02);
}

TEST_F(Probes, ABurstBetweenTwoScrapes) { until_seen_whole(check_burst); }

void check_migrations(const Rung& rung) {
  LiveProbe probe("migrations");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-moves-{}", getpid()));
  constexpr int kMoves = 400;
  Child one(a, last_cpu(), [] {
    for (int i = 0; i < kMoves; ++i) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<std::size_t>(i % 2 == 0 ? 0 : last_cpu()), &set);
      sched_setaffinity(0, sizeof set, &set);
    }
  });
  one.finish();
  const auto moved = value(probe.collect(), "vitald_owner_migrations_total{" + owner_labels_of(a));
  fmt::print("{}: {} migrations, {} were asked for\n", rung.name, moved, kMoves);
  EXPECT_GE(moved, kMoves * 0.99);
  EXPECT_LE(moved, kMoves * 1.05);
}

TEST_F(Probes, Migrations) {
  if (last_cpu() == 0) GTEST_SKIP() << "one CPU";
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_migrations(rung); });
  }
}

// One object, one program, whichever of its signals goes first.
TEST_F(Probes, SignalsShareTheProgramOnSchedSwitch) {
  FakeClock clock;
  const Host host(Host::Roots(), &clock);
  Options options;
  const FlagSpec flags[] = {{"probe.owner_waits", FlagType::boolean, "true"},
                            {"probe.runq_latency", FlagType::boolean, "true"}};
  options.declare(flags);
  options.declare(info_of("owner_waits").flags);
  auto waits = info_of("owner_waits").make(host, options), runq = info_of("runq_latency").make(host, options);
  ASSERT_TRUE(waits && runq);
  ASSERT_TRUE((*runq)->status().starts_with("attached")) << (*runq)->status();
  const auto count = [&] {
    BatchWriter out("runq_latency");
    out.begin(0);
    EXPECT_TRUE((*runq)->collect(out));
    const auto batch = out.finish({}, 0, 0);
    for (const auto& s : batch->layout->samples())
      if (batch->layout->prefix(s).starts_with("vitald_sched_runqueue_latency_seconds_count"))
        return batch->values[s.value];
    return 0.0;
  };
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-left-{}", getpid()));
  auto before = count();
  auto truth = ping_pong(a, 1000, 1);
  EXPECT_LT(count() - before, 3.0 * static_cast<double>(truth.voluntary) + 5000) << "attached twice";
  waits->reset();
  before = count();
  truth = ping_pong(a, 1000, 1);
  EXPECT_GT(count() - before, 0.9 * static_cast<double>(truth.voluntary)) << "went with its neighbour";
}

// What a probe costs is counted by itself, and beyond the budget it is off and says so until there is room again.
void check_budget() {
  LiveProbe probe("runq_latency", {{"bpf.budget", "0"}});
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const std::string up = "vitald_probe_up{hook=\"tp_btf\",probe=\"runq_latency\"}",
                    shed =
                        "vitald_probe_up{hook=\"shed\",probe=\"runq_latency\",reason=\"probes cost more than "
                        "--bpf.budget; it is tried again later\"}",
                    cost = "vitald_probe_cost_seconds_total{probe=\"runq_latency\",program=\"on_switch\"}",
                    runs = "vitald_probe_runs_total{probe=\"runq_latency\",program=\"on_switch\"}";
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-cost-{}", getpid()));
  const auto load = [&] { return static_cast<double>(ping_pong(a, 20'000, 1).voluntary); };
  auto before = probe.collect();
  const auto switches = load();
  auto after = probe.collect();
  const auto ran = value(after, runs) - value(before, runs), took = value(after, cost) - value(before, cost);
  fmt::print("{} runs for {} switches, {:.0f} ns each\n", ran, switches, 1e9 * took / ran);
  EXPECT_GE(ran, switches * 0.99);
  EXPECT_LE(ran, switches * 3 + 20'000) << "the host has others, and its idle task";
  EXPECT_GT(took / ran, 10e-9);
  EXPECT_LT(took / ran, 5e-6);

  auto& budget = probe.host().shared<ProbeBudget>();
  budget.set_limit(1e-7);
  probe.collect();
  usleep(1'100'000);
  load();
  after = probe.collect();
  EXPECT_EQ(value(after, shed), 0);
  EXPECT_FALSE(after.contains(up));
  EXPECT_FALSE(after.contains("vitald_sched_runqueue_latency_seconds_count")) << "would look like a quiet host";
  EXPECT_TRUE(probe.status().starts_with("shed")) << probe.status();
  const auto off = value(after, runs);
  load();
  after = probe.collect();
  EXPECT_EQ(value(after, runs), off) << "is not called at all";

  budget.set_limit(1);
  after = probe.collect();
  EXPECT_EQ(value(after, up), 1);
  EXPECT_FALSE(after.contains(shed));
  before = after;
  const auto again = load();
  after = probe.collect();
  const std::string family = "vitald_sched_runqueue_latency_seconds_count";
  EXPECT_GE(value(after, family) - value(before, family), again * 0.9) << "goes on where it was";
}

TEST_F(Probes, ABudgetIsHeld) { until_seen_whole(check_budget); }

// A reload may make one of two that share an object anew while the other still has the old one.
void check_other_sizes(const char* first, std::size_t which_first, const char* second, std::size_t which_second,
                       auto use) {
  FakeClock clock;
  const Host host(Host::Roots(), &clock);
  Options options;
  options.declare(info_of(second).flags);
  const std::string names[] = {fmt::format("probe.{}", first), fmt::format("probe.{}", second)};
  const FlagSpec on[] = {{names[0].c_str(), FlagType::boolean, "true"}, {names[1].c_str(), FlagType::boolean, "true"}};
  options.declare(on);
  options.set("owner.limit", "100");
  auto stays = use(host, options, which_first);
  ASSERT_TRUE(stays);
  const auto made = [&] {
    auto again = use(host, options, which_second);
    EXPECT_TRUE(again) << again.error().text;
    struct {
      bool shared;
      std::uint32_t size, detailed;
    } got{&**again == &**stays, (*again)->owners->size(), (*again)->detailed};
    return got;
  };
  EXPECT_TRUE(made().shared);
  options.set("owner.limit", "200");
  EXPECT_EQ(made().size, 201u);
  options.set("owner.limit", "100");
  options.set("owner.detailed", "7");
  EXPECT_EQ(made().detailed, 7u);
}

TEST_F(Probes, AReloadWithAnotherLimit) {
  check_other_sizes("block_latency", kBlockLatency, "owner_io", kOwnerIo,
                    [](const Host& host, const Options& options, std::size_t which) {
                      return BlockObject::use(host, options, static_cast<BlockSignal>(which));
                    });
  check_other_sizes("migrations", kMigrations, "owner_waits", kOwnerWaits,
                    [](const Host& host, const Options& options, std::size_t which) {
                      return SchedObject::use(host, options, static_cast<SchedSignal>(which));
                    });
}

// A reload turns one off and on again, while another keeps what they share: what was meanwhile is nobody's.
void check_off_and_on() {
  FakeClock clock;
  const Host host(Host::Roots(), &clock);
  Options options;
  const FlagSpec flags[] = {{"probe.migrations", FlagType::boolean, "true"},
                            {"probe.runq_latency", FlagType::boolean, "true"}};
  options.declare(flags);
  options.declare(info_of("runq_latency").flags);
  // Made before the probes: while somebody has a program's link it stays attached.
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-off-{}", getpid()));
  const Start start;
  Child one(a, last_cpu(), [&] {
    start.wait();
    spin_for_ms(4000);  // a slow machine takes a second to load
  });
  auto migrations = info_of("migrations").make(host, options), runq = info_of("runq_latency").make(host, options);
  ASSERT_TRUE(migrations && runq);
  const auto cpu_of = [&](const std::string& owner) {
    BatchWriter out("runq_latency");
    out.begin(0);
    EXPECT_TRUE((*runq)->collect(out));
    const auto batch = out.finish({}, 0, 0);
    for (const auto& s : batch->layout->samples())
      if (const auto name = batch->layout->prefix(s);
          name.starts_with("vitald_owner_cpu_seconds_total") && name.find(owner) != std::string_view::npos)
        return batch->values[s.value];
    return 0.0;
  };
  start.give();
  usleep(300'000);
  EXPECT_GT(cpu_of(a.path()), 0.1);
  runq->reset();
  usleep(700'000);
  runq = info_of("runq_latency").make(host, options);
  ASSERT_TRUE(runq);
  EXPECT_TRUE((*runq)->status().starts_with("attached")) << (*runq)->status();
  const auto began = SystemClock::read(CLOCK_MONOTONIC);
  EXPECT_LT(cpu_of(a.path()), 0.1) << "what it did while nobody looked";
  one.finish();
  const auto seconds = static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - began) / 1e9;
  EXPECT_LT(cpu_of(a.path()), seconds + 0.05);
  EXPECT_GT(cpu_of(a.path()), 0.1);
}

TEST_F(Probes, ASignalThatIsTurnedOffAndOnAgain) { until_seen_whole(check_off_and_on); }

}  // namespace
}  // namespace vitald
