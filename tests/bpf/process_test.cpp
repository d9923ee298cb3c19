// SPDX-License-Identifier: Apache-2.0
// Processes that begin and die in known numbers and ways.
#include <fmt/format.h>
#include <gtest/gtest.h>
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
}

void check_causes(const Rung& rung) {
  LiveProbe probe("process_life");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-deaths-{}", getpid()));
  Child child(cgroup, 0, die_in_many_ways);
  child.finish();
  const auto series = probe.collect();
  const auto labels = fmt::format("owner=\"{}\",owner_kind=\"other\"}}", cgroup.path());
  const auto deaths = [&](std::string_view cause) {
    return value(series, fmt::format("vitald_owner_process_deaths_total{{cause=\"{}\",{}", cause, labels));
  };
  fmt::print("{}: {} forks; exited {}, failed {}, crashed {}, killed {}, terminated {}\n", rung.name,
             value(series, "vitald_owner_forks_total{" + labels), deaths("exited"), deaths("failed"), deaths("crashed"),
             deaths("killed"), deaths("terminated"));
  EXPECT_EQ(value(series, "vitald_owner_forks_total{" + labels), 5 * kDeaths);
  EXPECT_EQ(deaths("exited"), kDeaths + 1);  // and the child itself
  EXPECT_EQ(deaths("failed"), kDeaths);
  EXPECT_EQ(deaths("crashed"), kDeaths);
  EXPECT_EQ(deaths("killed"), kDeaths);
  EXPECT_EQ(deaths("terminated"), kDeaths);

  int killed = 0, crashed = 0, by_us = 0;
  for (const auto& event : probe.events()) {
    EXPECT_EQ(event->type, "process_death");
    std::map<std::string, std::string> fields(event->fields.begin(), event->fields.end());
    if (fields["owner"] != cgroup.path()) continue;
    killed += fields["signal"] == "SIGKILL" && fields["cause"] == "killed";
    crashed += fields["signal"] == "SIGSEGV" && fields["cause"] == "crashed";
    by_us += fields["sender_comm"] == "bpf_test";
    EXPECT_EQ(fields["comm"], "bpf_test");
  }
  EXPECT_EQ(killed, kDeaths);
  EXPECT_EQ(crashed, kDeaths);
  EXPECT_EQ(by_us, 2 * kDeaths) << "killed by its parent, or by itself";
}

TEST_F(Probes, CausesOfDeath) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_causes(rung); });
  }
}

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
