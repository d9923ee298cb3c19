// SPDX-License-Identifier: Apache-2.0
// Processes that begin and die in known numbers and ways.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

// Deaths by each cause; of the rest the child that runs this is one.
constexpr int kDeaths = 30;

// A thread that goes at the same moment as all others of its process.
void* wait_forever(void*) {
  for (;;) pause();
}

void die_in_many_ways() {
  const auto each = [](auto&& body) {
    for (int i = 0; i < kDeaths; ++i) {
      const pid_t pid = fork();
      if (pid == 0) {
        body();
        for (;;) pause();
      }
      waitpid(pid, nullptr, 0);
    }
  };
  const auto killed_by = [](int signal) {
    for (int i = 0; i < kDeaths; ++i) {
      const pid_t pid = fork();
      if (pid == 0)
        for (;;) pause();
      kill(pid, signal);
      waitpid(pid, nullptr, 0);
    }
  };
  each([] { _exit(0); });
  each([] { _exit(3); });
  each([] {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
  });
  killed_by(SIGKILL);
  killed_by(SIGTERM);
  killed_by(SIGABRT);  // not its own doing
  each([] {
    pthread_t thread;
    for (int i = 0; i < 8; ++i) pthread_create(&thread, nullptr, wait_forever, nullptr);
    _exit(0);
  });
}

void check_causes(const Rung& rung) {
  LiveProbe probe("process_life");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-deaths-{}", getpid()));
  Child child(cgroup, 0, die_in_many_ways);
  child.finish();
  EXPECT_TRUE(probe.has_news()) << "a death is told when it happens";
  const auto series = probe.collect();
  const auto labels = fmt::format("owner=\"{}\",owner_kind=\"other\"}}", cgroup.path());
  const auto deaths = [&](std::string_view cause) {
    return value(series, fmt::format("vitald_owner_process_deaths_total{{cause=\"{}\",{}", cause, labels));
  };
  fmt::print("{}: {} forks; exited {}, failed {}, crashed {}, killed {}, terminated {}\n", rung.name,
             value(series, "vitald_owner_forks_total{" + labels), deaths("exited"), deaths("failed"), deaths("crashed"),
             deaths("killed"), deaths("terminated"));
  EXPECT_EQ(value(series, "vitald_owner_forks_total{" + labels), 7 * kDeaths);
  EXPECT_EQ(deaths("exited"), 2 * kDeaths + 1) << "processes, not threads; and the child itself";
  EXPECT_EQ(deaths("failed"), kDeaths);
  EXPECT_EQ(deaths("crashed"), kDeaths);
  EXPECT_EQ(deaths("killed"), 2 * kDeaths) << "by SIGKILL, or by somebody's SIGABRT";
  EXPECT_EQ(deaths("terminated"), kDeaths);

  int killed = 0, aborted = 0, crashed = 0, terminated = 0, by_us = 0;
  for (const auto& event : probe.events()) {
    EXPECT_EQ(event->type, "process_death");
    std::map<std::string, std::string> fields(event->fields.begin(), event->fields.end());
    if (fields["owner"] != cgroup.path()) continue;
    killed += fields["signal"] == "SIGKILL" && fields["cause"] == "killed";
    aborted += fields["signal"] == "SIGABRT" && fields["cause"] == "killed";
    terminated += fields["signal"] == "SIGTERM";
    EXPECT_EQ(fields["cgroup"], cgroup.path());
    crashed += fields["signal"] == "SIGSEGV" && fields["cause"] == "crashed";
    by_us += fields["sender_comm"] == "bpf_test";
    EXPECT_EQ(fields["comm"], "bpf_test");
  }
  EXPECT_EQ(killed, kDeaths);
  EXPECT_EQ(aborted, kDeaths);
  EXPECT_EQ(crashed, kDeaths);
  EXPECT_EQ(terminated, 0) << "is how services stop";
  EXPECT_EQ(by_us, 3 * kDeaths) << "killed by its parent, or by itself";
}

TEST_F(Probes, CausesOfDeath) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_causes(rung); });
  }
}

// Off for what it costs: what was before is told, and nothing is left that would wake us again and again.
void check_shed() {
  LiveProbe probe("process_life", {{"bpf.budget", "0"}});
  probe.collect();
  probe.host().shared<ProbeBudget>().set_limit(1e-9);
  probe.collect();
  usleep(1'100'000);
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-shed-{}", getpid()));
  Child child(cgroup, 0, die_in_many_ways);
  child.finish();
  EXPECT_TRUE(probe.has_news());
  const auto series = probe.collect();
  EXPECT_TRUE(probe.status().starts_with("shed")) << probe.status();
  EXPECT_FALSE(probe.has_news()) << "a collection for nothing, twenty times a second";
  EXPECT_GE(probe.events().size(), 3u * kDeaths);
  EXPECT_FALSE(series.contains("vitald_process_death_events_lost_total"));
}

TEST_F(Probes, NoNewsOfDeathsWhileShed) { until_seen_whole(check_shed); }

void check_execs() {
  LiveProbe probe("process_life");
  probe.collect();
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-execs-{}", getpid()));
  Child child(cgroup, 0, [] {
    for (int i = 0; i < 50; ++i) {
      const pid_t pid = fork();
      if (pid == 0) {
        execl("/bin/true", "true", nullptr);
        _exit(1);
      }
      waitpid(pid, nullptr, 0);
    }
  });
  child.finish();
  EXPECT_EQ(value(probe.collect(),
                  fmt::format("vitald_owner_execs_total{{owner=\"{}\",owner_kind=\"other\"}}", cgroup.path())),
            50);
}

TEST_F(Probes, Execs) { until_seen_whole(check_execs); }

}  // namespace
}  // namespace vitald
