// SPDX-License-Identifier: Apache-2.0
// Thousands of processes and cgroups that come and go, more than there are slots for: everything is counted, nothing
// grows, and when it is over every slot is free again. VITALD_STORM_SECONDS=600 is the long form of it.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "bpf/include/vitald/owner.h"
#include "core/clock.h"
#include "core/os/fd.h"
#include "tests/bpf/live_probe.h"

namespace vitald {
namespace {

constexpr int kPerSecond = 1000;
constexpr std::uint64_t kSlots = 256;  // so that some are turned away between two looks

int seconds() {
  const char* text = std::getenv("VITALD_STORM_SECONDS");
  return text ? std::max(3, std::atoi(text)) : 9;
}

std::string v2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type;
    words >> device >> where >> type;
    if (type == "cgroup2") return where;
  }
  return {};
}

// A cgroup with a process that begins in it and ends at once; `id` becomes its id. False where the kernel cannot
// (before 5.7).
bool come_and_go(const std::string& folder, std::uint64_t* id = nullptr) {
  if (mkdir(folder.c_str(), 0755) != 0) throw std::runtime_error(folder + ": " + std::strerror(errno));
  struct stat status {};
  if (id && stat(folder.c_str(), &status) == 0) *id = status.st_ino;
  {
    const Fd cgroup(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    clone_args how{};
    how.flags = CLONE_INTO_CGROUP;
    how.exit_signal = SIGCHLD;
    how.cgroup = static_cast<__u64>(cgroup.get());
    const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &how, sizeof how));
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid(pid, nullptr, 0);
    else {
      rmdir(folder.c_str());
      return false;
    }
  }
  for (int i = 0; i < 2000 && rmdir(folder.c_str()) != 0; ++i) usleep(500);
  return true;
}

// The v2 cgroups in all maps of this name on this host whose size is ours, by the map's id.
std::map<std::uint32_t, std::set<std::uint64_t>> cgroups_of(const char* name, std::uint64_t size) {
  std::map<std::uint32_t, std::set<std::uint64_t>> found;
  for (std::uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;) {
    const Fd fd(bpf_map_get_fd_by_id(id));
    bpf_map_info info{};
    std::uint32_t bytes = sizeof info;
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) != 0) continue;
    if (std::strcmp(info.name, name) != 0 || info.max_entries != size || info.key_size != sizeof(vitald_cgroup_key))
      continue;
    auto& cgroups = found[id];
    vitald_cgroup_key key{}, next{};
    std::uint64_t count = 0;
    for (const void* at = nullptr; bpf_map_get_next_key(fd.get(), at, &next) == 0 && count <= size; ++count) {
      cgroups.insert(next.v2);
      key = next;
      at = &key;
    }
  }
  return found;
}

std::size_t rss_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return static_cast<std::size_t>(std::atol(line.c_str() + 6));
  return 0;
}

TEST_F(Probes, StormOfProcessesAndCgroups) {
  const auto v2 = v2_mount();
  if (v2.empty()) GTEST_SKIP() << "no cgroup v2 is mounted";
  // None has series of its own: an owner that is dropped takes along what its series showed.
  const std::map<std::string, std::string> flags{
      {"owner.limit", std::to_string(kSlots - 1)}, {"owner.new-per-hour", "0"}, {"bpf.budget", "0"}};
  LiveProbe runq("runq_latency", flags), life("process_life", flags);
  ASSERT_TRUE(runq.status().starts_with("attached")) << runq.status();
  ASSERT_TRUE(life.status().starts_with("attached")) << life.status();
  runq.collect(), life.collect();
  // What there is in the first ten seconds was there before, and has series at once.
  for (auto* probe : {&runq, &life}) probe->clock.advance_ns(11'000'000'000);
  runq.collect();
  const auto before = life.collect();
  const auto maps_before = cgroups_of("slot_of", kSlots);
  ASSERT_EQ(maps_before.size(), 2u) << "one for each probe, each of a host of its own";

  const std::int64_t begin = SystemClock::read(CLOCK_MONOTONIC), end = begin + seconds() * std::int64_t{1'000'000'000};
  // A look frees slots: so rarely that more came meanwhile than there are, however slow the machine is.
  constexpr std::uint64_t kLookEvery = 2 * kSlots;
  auto looked = begin;
  std::uint64_t count = 0, next_look = kLookEvery;
  // Of all that came; its memory is there from the start, so that what grows is not this.
  std::vector<std::uint64_t> ids(static_cast<std::size_t>(seconds()) * kPerSecond + 2, 1);
  bool seen_while_there = false;
  std::optional<std::size_t> rss;
  for (auto now = begin; now < end; now = SystemClock::read(CLOCK_MONOTONIC)) {
    if (count >= next_look) {
      for (const auto& [map, cgroups] : cgroups_of("slot_of", kSlots))
        for (auto i = count - kLookEvery; i < count; ++i) seen_while_there |= cgroups.contains(ids[i]);
      for (auto* probe : {&runq, &life}) {
        probe->clock.advance_ns(now - looked);
        probe->collect();
      }
      if (!rss && now - begin > (end - begin) / 3) rss = rss_kb();
      looked = now;
      next_look = count + kLookEvery;
    }
    if (static_cast<std::int64_t>(count) * 1'000'000'000 / kPerSecond > now - begin) {
      usleep(500);
      continue;
    }
    if (!come_and_go(fmt::format("{}/vitald-storm-{}-{}", v2, getpid(), count), &ids.at(count)))
      GTEST_SKIP() << "this kernel begins no process in a cgroup";
    ++count;
  }
  const auto rss_after = rss_kb();
  const auto turned_away = value(runq.collect(), "vitald_owners_turned_away_total");
  const auto after = life.collect();
  const auto grown = [&](const std::string& family) { return sum_of(after, family) - sum_of(before, family); };
  fmt::print("{} in {} s, of {} slots; forks {}, ends {}; turned away {}; RSS {} kB after a third, {} in the end\n",
             count, seconds(), kSlots, grown("vitald_owner_forks_total"), grown("vitald_owner_process_deaths_total"),
             turned_away, rss.value_or(0), rss_after);
  // A machine with other work to do makes fewer than it is asked for.
  ASSERT_GE(count, static_cast<std::uint64_t>(seconds()) * kPerSecond / 10) << "no storm";
  ASSERT_GT(count, 2 * kLookEvery) << "too few for two looks";
  EXPECT_GT(turned_away, 0) << "there was room for all";
  EXPECT_TRUE(seen_while_there) << "the ids are none of those that have slots";
  EXPECT_GE(grown("vitald_owner_forks_total"), static_cast<double>(count));
  EXPECT_GE(grown("vitald_owner_process_deaths_total"), static_cast<double>(count));
  EXPECT_LT(rss_after, rss.value_or(0) + 2048);

  // All of them are gone; nobody keeps a slot for them, and who comes now gets one.
  for (int i = 0; i < 5; ++i)
    for (auto* probe : {&runq, &life}) {
      probe->clock.advance_ns(2'000'000'000);
      probe->collect();
    }
  for (const auto& [id, cgroups] : cgroups_of("slot_of", kSlots)) {
    ASSERT_TRUE(maps_before.contains(id));
    const auto kept = std::count_if(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count),
                                    [&of = cgroups](std::uint64_t cgroup) { return of.contains(cgroup); });
    EXPECT_EQ(kept, 0) << "slots that are not given back";
  }
  // Others on this machine may make some meanwhile, but not each time.
  bool all_found_room = false;
  for (int again = 0; again < 10 && !all_found_room; ++again) {
    for (int i = 0; i < 2; ++i) runq.clock.advance_ns(2'000'000'000), runq.collect();
    const auto calm = value(runq.collect(), "vitald_owners_turned_away_total");
    for (int i = 0; i < 20; ++i) come_and_go(fmt::format("{}/vitald-calm-{}-{}-{}", v2, getpid(), again, i));
    all_found_room = value(runq.collect(), "vitald_owners_turned_away_total") == calm;
  }
  EXPECT_TRUE(all_found_room);
}

}  // namespace
}  // namespace vitald
