// SPDX-License-Identifier: Apache-2.0
// Tasks that are moved to another cgroup while they run: the CPU time before is the old owner's, the one after the new
// one's, whether or not the slice has ended.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "sensors/owner/hierarchy.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

constexpr std::int64_t kPartNs = 120'000'000;
constexpr double kTick = 0.012;  // how old the run queue's clock may be: a tick is 1 to 10 ms

int last_cpu() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1; }

void run_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

// What child and test tell each other.
struct Board {
  volatile int go = 0, stop = 0, running = 0;
  volatile std::int64_t before_ns[8] = {}, after_ns[8] = {};  // CPU time of the process when it moved itself
};
using Shared = std::unique_ptr<Board, void (*)(Board*)>;
Shared shared_board() {
  auto* page = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return {new (page) Board, [](Board* b) { munmap(b, sizeof *b); }};
}

// How a child ends that may not have a real-time policy.
constexpr int kRefused = 3;
constexpr const char* kWhyNot = "SCHED_RR is refused here";

// False: the child has ended before it ran.
bool until_it_runs(const Child& child, const Board& board) {
  while (board.running == 0) {
    siginfo_t ended{};
    if (waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0)
      return board.running != 0;
    usleep(1000);
  }
  return true;
}

// Keeps its CPU from the beginning to the end, so that its slice need not end.
void keep_the_cpu(const Board& board) {
  const sched_param param{.sched_priority = 1};
  if (sched_setscheduler(0, SCHED_RR, &param) != 0) _exit(kRefused);
  const_cast<Board&>(board).running = 1;
  while (board.stop == 0) {
  }
}

struct MoveCase {
  std::string name;
  int moves;
  enum class By : std::uint8_t { another, itself } by = By::another;
  enum class What : std::uint8_t { process, threads, one_thread } what = What::process;
};

double cpu_of(const std::map<std::string, double>& series, const TestCgroup& cgroup) {
  const auto it =
      series.find(fmt::format("vitald_owner_cpu_seconds_total{{owner=\"{}\",owner_kind=\"other\"}}", cgroup.path()));
  return it == series.end() ? 0 : it->second;
}

void check_moves(const MoveCase& c, const Rung& rung) {
  LiveProbe probe("runq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const auto v1 = cpu_hierarchy(Host());
  std::vector<std::unique_ptr<TestCgroup>> cgroups;
  for (int i = 0; i <= c.moves; ++i)
    cgroups.push_back(std::make_unique<TestCgroup>(v1, fmt::format("vitald-move-{}-{}", getpid(), i)));
  run_on(0);
  const auto board = shared_board();
  Child child(*cgroups[0], last_cpu(), [&] {
    if (c.by == MoveCase::By::itself) {
      const sched_param param{.sched_priority = 1};
      if (sched_setscheduler(0, SCHED_RR, &param) != 0) _exit(kRefused);
      for (int i = 1; i <= c.moves + 1; ++i) {
        const auto end = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) + kPartNs;
        while (SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) < end) {
        }
        board->before_ns[i] = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID);
        if (i <= c.moves) cgroups[static_cast<std::size_t>(i)]->take(getpid());
        board->after_ns[i] = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID);
      }
      return;
    }
    if (c.what == MoveCase::What::process) return keep_the_cpu(*board);
    // Its first thread sleeps on another CPU.
    std::thread other([&] {
      run_on(last_cpu());
      if (c.what == MoveCase::What::one_thread) cgroups[0]->set("tasks", std::to_string(gettid()));
      board->go = gettid();
      keep_the_cpu(*board);
    });
    run_on(0);
    other.join();
  });
  // Its CPU time just before it was moved the i-th time, and just after: this process may have to wait there.
  std::vector<std::int64_t> early(static_cast<std::size_t>(c.moves) + 2), late(early);
  std::map<std::string, double> open;
  if (c.by == MoveCase::By::another) {
    if (!until_it_runs(child, *board)) {
      child.finish();
      ASSERT_EQ(WEXITSTATUS(child.status()), kRefused);
      GTEST_SKIP() << kWhyNot;
    }
    for (std::size_t i = 1; i <= static_cast<std::size_t>(c.moves); ++i) {
      usleep(kPartNs / 1000);
      early[i] = child.clock_ns();
      if (c.what == MoveCase::What::one_thread) cgroups[i]->set("tasks", std::to_string(board->go));
      else cgroups[i]->take(child.pid());
      late[i] = child.clock_ns();
    }
    usleep(kPartNs / 1000);
    early.back() = child.clock_ns();
    open = probe.collect();
    board->stop = 1;
    late.back() = child.clock_ns();
  }
  child.finish();
  if (WEXITSTATUS(child.status()) == kRefused) GTEST_SKIP() << kWhyNot;
  const auto after = probe.collect();
  if (c.by == MoveCase::By::itself)
    for (std::size_t i = 1; i < early.size(); ++i) early[i] = board->before_ns[i], late[i] = board->after_ns[i];
  for (std::size_t i = 1; i < early.size(); ++i) {
    // The first part has what the child did before as well, the last one what it did after.
    const auto least = static_cast<double>(early[i] - late[i - 1]) / 1e9 - kTick,
               most = static_cast<double>(late[i] - early[i - 1]) / 1e9 + kTick;
    const auto seen = cpu_of(after, *cgroups[i - 1]), seen_open = cpu_of(open, *cgroups[i - 1]);
    fmt::print("{}, {}: in {} {:.1f} ms of {:.1f} to {:.1f}{}\n", c.name, rung.name, i - 1, seen * 1e3,
               static_cast<double>(early[i] - late[i - 1]) / 1e6, static_cast<double>(late[i] - early[i - 1]) / 1e6,
               open.empty() ? "" : fmt::format(", {:.1f} before the slice had ended", seen_open * 1e3));
    EXPECT_GE(seen, least);
    EXPECT_LE(seen, most);
    if (!open.empty()) {
      EXPECT_GE(seen_open, least);
      EXPECT_LE(seen_open, most);
    }
  }
}

TEST_F(Probes, MovedWhileItRuns) {
  const MoveCase cases[] = {
      {"by another", 1},
      {"by itself", 1, MoveCase::By::itself},
      {"three times", 3},
      {"three times by itself", 3, MoveCase::By::itself},
      {"a process of which a thread runs", 1, MoveCase::By::another, MoveCase::What::threads},
      {"one thread", 1, MoveCase::By::another, MoveCase::What::one_thread},
  };
  const bool has_threads = cpu_hierarchy(Host()).controller != V1Hierarchy::Controller::none;
  for (const auto& c : cases) {
    if (c.what == MoveCase::What::one_thread && !has_threads) {
      fmt::print("{}: not on v2, whose threads stay together\n", c.name);
      continue;
    }
    for (const auto& rung : kRungs) {
      SCOPED_TRACE(c.name + ", " + rung.name);
      if (climb(rung)) until_seen_whole([&] { check_moves(c, rung); });
    }
  }
}

// More often than is kept within a slice: the sum stays, and the owners in between are the ones that are wrong.
TEST_F(Probes, MovedMoreOftenThanIsKept) {
  until_seen_whole([] {
    LiveProbe probe("runq_latency");
    probe.collect();
    const auto v1 = cpu_hierarchy(Host());
    const TestCgroup a(v1, fmt::format("vitald-to-and-{}", getpid())), b(v1, fmt::format("vitald-fro-{}", getpid()));
    run_on(0);
    const auto board = shared_board();
    Child child(a, last_cpu(), [&] { keep_the_cpu(*board); });
    if (!until_it_runs(child, *board)) {
      child.finish();
      ASSERT_EQ(WEXITSTATUS(child.status()), kRefused);
      GTEST_SKIP() << kWhyNot;
    }
    for (int i = 0; i < 20; ++i) {
      usleep(20'000);
      (i % 2 == 0 ? b : a).take(child.pid());
    }
    const auto truth = static_cast<double>(child.clock_ns()) / 1e9;
    const auto open = probe.collect();
    const auto late = static_cast<double>(child.clock_ns()) / 1e9;
    board->stop = 1;
    child.finish();
    const auto after = probe.collect();
    fmt::print("20 times within {:.1f} ms: {:.1f} + {:.1f} ms, {:.1f} + {:.1f} in the end\n", truth * 1e3,
               cpu_of(open, a) * 1e3, cpu_of(open, b) * 1e3, cpu_of(after, a) * 1e3, cpu_of(after, b) * 1e3);
    EXPECT_GE(cpu_of(open, a) + cpu_of(open, b), truth - kTick);
    EXPECT_LE(cpu_of(open, a) + cpu_of(open, b), late + kTick);
    EXPECT_NEAR(cpu_of(after, a) + cpu_of(after, b), late, kTick + 0.01) << "and what its end takes";
  });
}

}  // namespace
}  // namespace vitald
