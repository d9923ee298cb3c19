// SPDX-License-Identifier: Apache-2.0
// A task that reads more than its memory cgroup's limit, and one that asks for large pages.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <vector>

#include "core/clock.h"
#include "core/os/fd.h"
#include "sensors/owner/hierarchy.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

constexpr std::size_t kLimit = 16u << 20, kFile = 64u << 20;

void check_limit(const Rung& rung) {
  const auto memory = memory_hierarchy(Host());
  LiveProbe probe("limit_reclaim");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  TestCgroup limited(memory, fmt::format("vitald-reclaim-{}", getpid()));
  limited.set(memory.controller == V1Hierarchy::Controller::none ? "memory.max" : "memory.limit_in_bytes",
              std::to_string(kLimit));
  const auto path = fmt::format("reclaim-{}.tmp", getpid());
  Child child(limited, 0, [&] {
    const std::vector<char> block(1u << 20, 'v');
    const Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    for (std::size_t at = 0; at < kFile; at += block.size())
      if (write(file.get(), block.data(), block.size()) < 0) _exit(2);
  });
  const auto began = SystemClock::read(CLOCK_MONOTONIC);
  child.finish();
  const auto wall = static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - began) / 1e9;
  unlink(path.c_str());
  EXPECT_TRUE(WIFEXITED(child.status()) && WEXITSTATUS(child.status()) == 0) << child.status();
  const auto after = probe.collect();
  const std::string count = "vitald_memory_limit_reclaim_seconds_count",
                    sum = "vitald_memory_limit_reclaim_seconds_sum";
  const auto stalls = value(after, count) - value(before, count), time = value(after, sum) - value(before, sum);
  const auto owners = sum_of(after, "vitald_owner_memory_limit_reclaim_stalls_total");
  fmt::print("{}: {} stalls of {:.6f} s in {:.3f} s\n", rung.name, stalls, time, wall);
  // 48 MiB had to go again, some hundred pages at a time: 50 stalls on 6.18, fewer where more go at once.
  EXPECT_GE(stalls, 10);
  EXPECT_GT(time, 0);
  EXPECT_LT(time, wall * 2 + 0.1);
  EXPECT_EQ(owners, value(after, count)) << "the sum over owners is the host's";
}

TEST_F(Probes, ReclaimAtALimit) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (rung.keeps_times && climb(rung)) until_seen_whole([&] { check_limit(rung); });
  }
}

// "compact_stall" and others: of /proc/vmstat.
TEST_F(Probes, Compaction) {
  LiveProbe probe("compaction");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  {
    std::ofstream compact("/proc/sys/vm/compact_memory");
    if (!compact) GTEST_SKIP() << "no compaction in this kernel";
    compact << "1" << std::flush;
    if (!compact) GTEST_SKIP() << "compaction cannot be asked for";
  }
  const auto after = probe.collect();
  const std::string count = "vitald_memory_compaction_seconds_count";
  EXPECT_GE(value(after, count) - value(before, count), 1) << "one per zone";
}

}  // namespace
}  // namespace vitald
