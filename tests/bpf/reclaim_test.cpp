// SPDX-License-Identifier: Apache-2.0
// A task that reads more than its memory cgroup's limit, and one that asks for large pages.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
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

// "dd-412 [000] .... 1.2: balance_dirty_pages: bdi 1:0: ... paused=0 pause=40 period=40 think=0 ...", in milliseconds;
// a pause of 0 or less is not slept.
std::pair<double, double> pauses_in(const std::string& trace) {
  double count = 0, seconds = 0;
  std::ifstream lines(trace);
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find(" pause=");
    if (line.find("balance_dirty_pages:") == std::string::npos || at == std::string::npos) continue;
    const auto ms = std::strtol(line.c_str() + at + 7, nullptr, 10);
    if (ms <= 0) continue;
    ++count;
    seconds += static_cast<double>(ms) / 1000;
  }
  return {count, seconds};
}

// A writer that is faster than the disk's flusher, beside the kernel's own record of each pause. It needs a machine of
// its own: how much may be dirty is for all of it.
TEST_F(Probes, WritebackPauses) {
  if (!std::getenv("VITALD_MACHINE_IS_OURS"))
    GTEST_SKIP() << "sets vm.dirty_bytes: the test bpf.lab runs this in a virtual machine";
  const std::string tracing = "/sys/kernel/tracing";
  ASSERT_EQ(std::system("mkdir -p /run/pauses && modprobe brd rd_nr=1 rd_size=262144 && mkfs.ext4 -q /dev/ram0 && "
                        "mount /dev/ram0 /run/pauses && mountpoint -q /sys/kernel/tracing || "
                        "mount -t tracefs tracefs /sys/kernel/tracing"),
            0);
  const auto put = [](const std::string& path, std::string_view text) {
    std::ofstream file(path);
    file << text << std::flush;
    ASSERT_TRUE(file) << path;
  };
  put("/proc/sys/vm/dirty_bytes", "4194304");
  put("/proc/sys/vm/dirty_background_bytes", "1048576");
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (!rung.keeps_times || !climb(rung)) continue;
    LiveProbe probe("writeback_pauses");
    ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
    // Whether a writer is stopped is the flusher's speed: rounds until it was.
    const auto before = probe.collect();
    put(tracing + "/trace", "");
    put(tracing + "/events/writeback/balance_dirty_pages/enable", "1");
    double count = 0, seconds = 0;
    for (int round = 0; round < 20 && count < 5; ++round) {
      TestCgroup writer(memory_hierarchy(Host()), fmt::format("vitald-writer-{}-{}", getpid(), round));
      Child child(writer, 0, [] {
        const std::vector<char> block(1u << 20, 'v');
        const Fd file(open("/run/pauses/file", O_RDWR | O_CREAT | O_TRUNC, 0600));
        for (int i = 0; i < 128; ++i)
          if (write(file.get(), block.data(), block.size()) < 0) _exit(2);
      });
      child.finish();
      EXPECT_TRUE(WIFEXITED(child.status()) && WEXITSTATUS(child.status()) == 0) << child.status();
      std::tie(count, seconds) = pauses_in(tracing + "/trace");
    }
    put(tracing + "/events/writeback/balance_dirty_pages/enable", "0");
    std::tie(count, seconds) = pauses_in(tracing + "/trace");
    const auto after = probe.collect();
    const auto grown = [&](const std::string& series) { return value(after, series) - value(before, series); };
    fmt::print("{}: {} pauses of {:.3f} s, the kernel's trace has {} of {:.3f} s\n", rung.name,
               grown("vitald_writeback_pause_seconds_count"), grown("vitald_writeback_pause_seconds_sum"), count,
               seconds);
    EXPECT_GE(count, 5);
    EXPECT_EQ(grown("vitald_writeback_pause_seconds_count"), count);
    EXPECT_NEAR(grown("vitald_writeback_pause_seconds_sum"), seconds, 1e-6);
    EXPECT_EQ(sum_of(after, "vitald_owner_writeback_pauses_total"),
              value(after, "vitald_writeback_pause_seconds_count"))
        << "the sum over owners is the host's";
    EXPECT_NEAR(sum_of(after, "vitald_owner_writeback_pause_seconds_total"),
                value(after, "vitald_writeback_pause_seconds_sum"), 1e-6);
  }
  EXPECT_EQ(std::system("umount /run/pauses"), 0);
}

}  // namespace
}  // namespace vitald
