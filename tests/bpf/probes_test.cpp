// SPDX-License-Identifier: Apache-2.0
// The probes on the running kernel, against what it says about the same load elsewhere. Every rung of the ladder is
// tried: the kernel's own times and recorded ones, tp_btf and raw_tp.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>

#include "bpf/include/vitald/cost.h"
#include "bpf/include/vitald/memory.h"
#include "bpf/memory.skel.h"
#include "core/collector.h"
#include "core/os/fd.h"
#include "sensors/bpf/facts.h"
#include "sensors/bpf/maps.h"
#include "sensors/owner/hierarchy.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

constexpr int kRoundTrips = 20'000;

void check_switches_and_times(const Rung& rung) {
  LiveProbe probe("runq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-test-{}", getpid()));
  const auto truth = ping_pong(cgroup, kRoundTrips, 100);
  const auto after = probe.collect();

  const auto owner = fmt::format("owner=\"{}\",owner_kind=\"other\"}}", cgroup.path());
  const auto voluntary = value(after, "vitald_owner_context_switches_total{kind=\"voluntary\"," + owner);
  const auto involuntary = value(after, "vitald_owner_context_switches_total{kind=\"involuntary\"," + owner);
  const auto cpu = value(after, "vitald_owner_cpu_seconds_total{" + owner) * 1e9;
  const auto delay = value(after, "vitald_owner_runqueue_delay_seconds_total{" + owner) * 1e9;
  const auto truth_cpu = static_cast<double>(truth.cpu_ns), truth_delay = static_cast<double>(truth.delay_ns);
  fmt::print("{}: switches {}+{} (kernel {}+{}), CPU {:.3f} ms ({:.3f}), delay {:.3f} ms ({:.3f})\n", rung.name,
             voluntary, involuntary, truth.voluntary, truth.involuntary, cpu / 1e6, truth_cpu / 1e6, delay / 1e6,
             truth_delay / 1e6);
  // Beyond the truth: telling the result, exiting.
  const auto switches = static_cast<double>(truth.voluntary + truth.involuntary);
  EXPECT_GE(voluntary + involuntary, switches * 0.9999);
  EXPECT_LE(voluntary + involuntary, switches * 1.002);
  // Against the sum: the kernel may have preempted a child only a few hundred times.
  EXPECT_NEAR(voluntary, static_cast<double>(truth.voluntary), switches * 0.002);
  EXPECT_NEAR(involuntary, static_cast<double>(truth.involuntary), switches * 0.002);
  EXPECT_NEAR(cpu / truth_cpu, 1, 0.05);
  // Recorded times begin at the wakeup, and a wakeup costs time: more than the kernel counts.
  if (rung.keeps_times) {
    EXPECT_NEAR(delay / truth_delay, 1, 0.1);
  } else {
    EXPECT_GT(delay, truth_delay * 0.8);
  }

  // Every switch to a task that waited is in the histogram, these among them.
  const auto family = std::string("vitald_sched_runqueue_latency_seconds");
  EXPECT_GE(value(after, family + "_count") - value(before, family + "_count"),
            static_cast<double>(truth.voluntary) * 0.99);
  EXPECT_EQ(value(after, family + "_bucket{le=\"+Inf\"}"), value(after, family + "_count"));
  EXPECT_GE(value(after, family + "_sum") * 1e9, delay);
}

// Who sleeps and wakes up preempts whom it finds, or makes the CPU leave idle. By the run queue's clock such a wait
// takes no time (64 of 100 were in the lowest bucket); it takes some microseconds, as the times recorded at the wake-up
// show.
void check_waits_that_end_in_the_wake_up(const Rung& rung) {
  LiveProbe probe("runq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-test-{}", getpid()));
  Child child(cgroup, 0, [] {
    for (int i = 0; i < 3000; ++i) usleep(300);
  });
  child.finish();
  const auto after = probe.collect();
  const auto family = std::string("vitald_sched_runqueue_latency_seconds");
  const auto lowest =
      std::ranges::find_if(after, [&](const auto& s) { return s.first.starts_with(family + "_bucket{le=\"9.5"); });
  ASSERT_NE(lowest, after.end());
  const auto at_once = lowest->second - value(before, lowest->first);
  const auto waits = value(after, family + "_count") - value(before, family + "_count");
  fmt::print("{}: {} of {} waits within a microsecond\n", rung.name, at_once, waits);
  EXPECT_GE(waits, 3000 * 0.9);
  EXPECT_LT(at_once, waits * 0.4);  // of the whole host, and somebody else may hand a byte back and forth
}

TEST_F(Probes, WaitsThatEndInTheWakeUp) {
  for (const auto& rung : kRungs)
    if (climb(rung)) until_seen_whole([&] { check_waits_that_end_in_the_wake_up(rung); });
}

TEST_F(Probes, SwitchesAndTimesOfOneOwner) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (!climb(rung)) continue;
    until_seen_whole([&] { check_switches_and_times(rung); });
  }
}

// A task alone on its CPU is not switched; its time must show all the same.
void check_running_slice() {
  LiveProbe probe("runq_latency");
  const TestCgroup cgroup(cpu_hierarchy(Host()), fmt::format("vitald-spin-{}", getpid()));
  const int cpu = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  Child child(cgroup, cpu, [] {
    for (volatile bool forever = true; forever;) {
    }
  });
  const auto series = fmt::format("vitald_owner_cpu_seconds_total{{owner=\"{}\",owner_kind=\"other\"}}", cgroup.path());
  double last = 0;
  for (std::uint64_t want = 30'000'000; want <= 90'000'000; want += 30'000'000) {
    while (child.cpu_ns() < want) usleep(1000);
    const auto truth = static_cast<double>(child.cpu_ns()) / 1e9;
    const auto seen = value(probe.collect(), series);
    // Both clocks stand still between two ticks, of 1 to 10 ms; before its first slice in the cgroup it ran a little.
    EXPECT_GE(seen, truth - 0.025);
    EXPECT_GE(seen, last);
    last = seen;
  }
}

TEST_F(Probes, TimeOfASliceThatHasNotEnded) {
  for (const auto& rung : kRungs) {
    SCOPED_TRACE(rung.name);
    if (!climb(rung)) continue;
    until_seen_whole(check_running_slice);
  }
}

void check_short_lived_cgroup() {
  LiveProbe probe("runq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const auto name = fmt::format("vitald-short-{}", getpid());
  TestCgroup cgroup(cpu_hierarchy(Host()), name);
  const auto truth = ping_pong(cgroup, 100, 1);
  cgroup.remove();

  const auto series =
      fmt::format("vitald_owner_context_switches_total{{kind=\"voluntary\",owner=\"/{}\",owner_kind=\"other\"}}", name);
  const auto other =
      std::string("vitald_owner_context_switches_total{kind=\"voluntary\",owner=\"other\",owner_kind=\"other\"}");
  const auto first = probe.collect();
  EXPECT_GE(value(first, series), truth.voluntary) << "seen although it was gone before anybody looked";
  probe.collect();
  probe.clock.advance_ns(299'000'000'000);
  EXPECT_GE(value(probe.collect(), series), value(first, series)) << "stays for five minutes";
  probe.clock.advance_ns(2'000'000'000);
  const auto last = probe.collect();
  EXPECT_FALSE(last.contains(series));
  EXPECT_GE(value(last, other), value(first, other));
  EXPECT_LT(value(last, other), value(first, other) + value(first, series)) << "in a rate it would count twice";
}

TEST_F(Probes, ShortLivedCgroup) { until_seen_whole(check_short_lived_cgroup); }

void check_owners_beyond_the_limit() {
  LiveProbe probe("runq_latency", {{"owner.limit", "1"}});
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const TestCgroup a(cpu_hierarchy(Host()), fmt::format("vitald-a-{}", getpid())),
      b(cpu_hierarchy(Host()), fmt::format("vitald-b-{}", getpid()));
  const auto before = probe.collect();
  auto truth = ping_pong(a, 1000, 1);
  truth += ping_pong(b, 1000, 1);
  const auto after = probe.collect();
  const auto family = std::string("vitald_owner_context_switches_total");
  EXPECT_GE(sum_of(after, family) - sum_of(before, family), static_cast<double>(truth.voluntary + truth.involuntary));
  std::size_t owners = 0;
  for (const auto& [name, v] : after) owners += name.starts_with("vitald_owner_cpu_seconds_total{");
  EXPECT_LE(owners, 2u);
}

TEST_F(Probes, OwnersBeyondTheLimit) { until_seen_whole(check_owners_beyond_the_limit); }

std::vector<std::string> owners_like(const std::map<std::string, double>& series, const std::string& part) {
  std::vector<std::string> found;
  for (const auto& [name, v] : series)
    if (name.starts_with("vitald_owner_cpu_seconds_total{") && name.find(part) != std::string::npos)
      found.push_back(name);
  return found;
}

// systemd allows 255 characters, and a container may nest as it likes.
void check_long_and_deep_paths() {
  const std::string top = fmt::format("vitald-{}.slice", getpid());
  const std::string start = top + "/" + std::string(200, 'n') + std::to_string(getpid());
  const std::string id = fmt::format("{:064x}", getpid());
  LiveProbe probe("runq_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const auto v1 = cpu_hierarchy(Host());
  std::vector<std::unique_ptr<TestCgroup>> cgroups;
  cgroups.push_back(std::make_unique<TestCgroup>(v1, top));
  const auto run_in = [&](const std::string& path) {
    for (auto slash = top.size(); slash != std::string::npos;) {
      slash = path.find('/', slash + 1);
      cgroups.push_back(std::make_unique<TestCgroup>(v1, path.substr(0, slash)));
    }
    ping_pong(*cgroups.back(), 100, 1);
  };
  run_in(start + "eu.service");
  run_in(start + "us.service");
  std::string deep = top + "/" + id;
  for (int i = 0; i < 24; ++i) deep += fmt::format("/level{}", i);
  run_in(deep);
  const auto series = probe.collect();
  while (!cgroups.empty()) cgroups.pop_back();
  EXPECT_EQ(owners_like(series, std::to_string(getpid()) + "eu.service\",owner_kind=\"unit\"").size(), 1u);
  EXPECT_EQ(owners_like(series, std::to_string(getpid()) + "us.service\",owner_kind=\"unit\"").size(), 1u);
  EXPECT_EQ(owners_like(series, id.substr(0, 12) + "\",owner_kind=\"container\"").size(), 1u);
  EXPECT_TRUE(owners_like(series, "level").empty());
}

TEST_F(Probes, LongNamesAndDeepPaths) { until_seen_whole(check_long_and_deep_paths); }

// Both signals of one object, switched each on its own.
TEST_F(Probes, TwoSignalsOfOneObject) {
  FakeClock clock;
  const Host host(Host::Roots(), &clock);
  // Loaded since: those of a process that ended a moment ago are counted until the kernel has freed them.
  const auto began_ns = static_cast<std::uint64_t>(SystemClock().boot_ns());
  const auto programs = [&] {
    std::size_t count = 0;
    for (std::uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
      const Fd program(bpf_prog_get_fd_by_id(id));
      bpf_prog_info info{};
      std::uint32_t size = sizeof info;
      if (program && bpf_obj_get_info_by_fd(program.get(), &info, &size) == 0 && info.load_time >= began_ns) ++count;
    }
    return count;
  };
  Options options;
  const FlagSpec flags[] = {{"probe.oom_kills", FlagType::boolean, "true"},
                            {"probe.direct_reclaim", FlagType::boolean, "true"}};
  options.declare(flags);
  auto oom = info_of("oom_kills").make(host, options);
  ASSERT_TRUE(oom) << oom.error().text;
  const auto both = programs();
  auto reclaim = info_of("direct_reclaim").make(host, options);
  ASSERT_TRUE(reclaim) << reclaim.error().text;
  EXPECT_LE(programs(), both) << "loaded once for both";
  EXPECT_GT(both, 0U);
  oom->reset();
  EXPECT_TRUE((*reclaim)->status().starts_with("attached"));
  auto again = info_of("oom_kills").make(host, options);
  ASSERT_TRUE(again);
  EXPECT_LE(programs(), both);
  oom->reset(), again->reset(), reclaim->reset();
  for (int i = 0; i < 200 && programs() > 0; ++i) usleep(10'000);  // the kernel takes its time
  EXPECT_EQ(programs(), 0U);
  options.set("probe.direct_reclaim", "false");
  auto alone = info_of("oom_kills").make(host, options);
  ASSERT_TRUE(alone);
  EXPECT_LT(programs(), both) << "what is not configured is not loaded";
}

// Slots of removed cgroups are used again, many times over.
TEST_F(Probes, SlotsAreUsedAgain) {
  LiveProbe probe("runq_latency", {{"owner.limit", "24"}});
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  int seen = 0;
  for (int i = 0; i < 60; ++i) {
    TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-again-{}-{}", getpid(), i));
    ping_pong(cgroup, 10, 0);
    probe.collect();
    probe.clock.advance_ns(2'000'000'000);  // no longer young
    seen += probe.collect().contains(
        fmt::format("vitald_owner_cpu_seconds_total{{owner=\"{}\",owner_kind=\"other\"}}", cgroup.path()));
    cgroup.remove();
    probe.clock.advance_ns(400'000'000'000);
    probe.collect(), probe.collect(), probe.collect();
  }
  EXPECT_EQ(seen, 60);
}

// The disk under the test's folder, or VITALD_TEST_DISK (a device that may be read).
struct Disk {
  Disk() {
    struct stat s {};
    if (const char* device = std::getenv("VITALD_TEST_DISK")) {
      path = device;
      if (stat(device, &s) != 0) throw std::runtime_error(path);
      number = s.st_rdev;
    } else {
      path = (std::filesystem::current_path() / fmt::format("vitald-block-{}.tmp", getpid())).string();
      fd = Fd(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
      remove_it = true;
      const std::string block(1 << 20, 'v');
      for (int i = 0; i < 16; ++i)
        if (write(fd.get(), block.data(), block.size()) < 0) throw std::runtime_error(path);
      fsync(fd.get());
      fstat(fd.get(), &s);
      number = s.st_dev;
    }
    // A partition's folder lies in its disk's.
    const auto folder = std::filesystem::canonical(fmt::format("/sys/dev/block/{}:{}", major(number), minor(number)));
    disk = std::filesystem::exists(folder / "partition") ? folder.parent_path() : folder;
    name = disk.filename().string();
    fd = Fd(open(path.c_str(), O_RDONLY | O_DIRECT));
    if (!fd) throw std::runtime_error(path);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  ~Disk() {
    if (remove_it) unlink(path.c_str());
  }
  void read(int count) const {
    void* buffer = nullptr;
    if (posix_memalign(&buffer, 4096, 4096) != 0) throw std::bad_alloc();
    for (int i = 0; i < count; ++i)
      if (pread(fd.get(), buffer, 4096, (i * 7919 % 4096) * 4096) != 4096) throw std::runtime_error(path);
    std::free(buffer);
  }
  // "reads merged sectors ms writes ...": Documentation/admin-guide/iostats.rst
  std::pair<double, double> reads_and_bytes() const {
    double reads = 0, merged = 0, sectors = 0;
    std::ifstream(disk / "stat") >> reads >> merged >> sectors;
    return {reads, sectors * 512};
  }
  std::pair<double, double> writes_and_seconds() const {
    std::ifstream file(disk / "stat");
    double ignored = 0, writes = 0, ms = 0;
    file >> ignored >> ignored >> ignored >> ignored >> writes >> ignored >> ignored >> ms;
    return {writes, ms / 1e3};
  }
  bool keeps_times() const {
    int iostats = 0;
    std::ifstream(disk / "queue/iostats") >> iostats;
    return iostats != 0;
  }
  std::string path, name;
  std::filesystem::path disk;
  dev_t number = 0;
  Fd fd;
  bool remove_it = false;
};

void check_block_reads(const Rung& rung, const Disk& disk) {
  constexpr int kReads = 2000;
  LiveProbe probe("block_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  disk.read(1);  // so that the series exist; and where the kernel keeps no times, recording starts
  probe.collect();
  disk.read(1);
  const auto labels = fmt::format("{{device=\"{}\",operation=\"read\"}}", disk.name);
  const auto before = probe.collect();
  const auto stat_before = disk.reads_and_bytes();
  disk.read(kReads);
  const auto stat_after = disk.reads_and_bytes();
  const auto after = probe.collect();
  const auto grown = [&](const std::string& series) {
    return value(after, series + labels) - value(before, series + labels);
  };
  const auto device = grown("vitald_block_device_latency_seconds_count"),
             queue = grown("vitald_block_queue_latency_seconds_count"), bytes = grown("vitald_block_bytes_total");
  fmt::print("{}: {}: device {} queue {} reads of {} ({} by diskstats), {} bytes ({}), {:.1f} us each; {}\n", rung.name,
             disk.name, device, queue, kReads, stat_after.first - stat_before.first, bytes,
             stat_after.second - stat_before.second, 1e6 * grown("vitald_block_device_latency_seconds_sum") / device,
             probe.status());
  EXPECT_GE(device, kReads);
  EXPECT_EQ(device, queue);
  EXPECT_GE(bytes, kReads * 4096.0);
  if (stat_after.first > stat_before.first) {  // queue/iostats is on: what others read meanwhile is in both
    const auto reads = stat_after.first - stat_before.first;
    EXPECT_NEAR(device, reads, 50 + reads / 10);
    EXPECT_NEAR(bytes / (stat_after.second - stat_before.second), 1, 0.2);
  }
  EXPECT_EQ(grown("vitald_block_errors_total"), 0);
  EXPECT_GT(grown("vitald_block_device_latency_seconds_sum"), 0);
  std::size_t exemplars = 0;
  for (const auto& [bucket, e] : probe.exemplars()) {
    if (!bucket.starts_with(fmt::format("vitald_block_device_latency_seconds_bucket{{device=\"{}\",", disk.name)) ||
        bucket.find("operation=\"read\"") == std::string::npos)
      continue;
    ++exemplars;
    EXPECT_FALSE(label_of(e, "sector").empty()) << bucket;
    EXPECT_GT(e.wall_ms, 0);
  }
  EXPECT_GT(exemplars, 0U);
}

TEST_F(Probes, BlockReads) {
  const Disk disk;
  for (const auto& rung : {kRungs[0], kRungs[1]}) {
    SCOPED_TRACE(rung.name);
    ASSERT_TRUE(climb({rung.name, rung.tp_btf, keeps_last_queued_}));
    until_seen_whole([&] { check_block_reads(rung, disk); });
  }
}

// What two owners read and write, in known numbers. Where a v1 hierarchy says whose a task is, it is all of "other".
void check_owner_io(const Rung& rung, const Disk& disk) {
  constexpr int kReads = 1000, kWrites = 200;
  LiveProbe probe("owner_io");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto before = probe.collect();
  const auto v1 = cpu_hierarchy(Host());
  const bool by_owner = v1.controller == V1Hierarchy::Controller::none;
  if (by_owner) std::ofstream("/sys/fs/cgroup/cgroup.subtree_control") << "+io" << std::flush;
  const TestCgroup reader(v1, fmt::format("vitald-reads-{}", getpid())),
      writer(v1, fmt::format("vitald-writes-{}", getpid()));
  const auto stat_before = disk.reads_and_bytes();
  Child reads(reader, 0, [&] { disk.read(kReads); });
  const auto path = fmt::format("{}.owner", disk.path);
  Child writes(writer, 0, [&] {
    const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_DSYNC, 0600));
    void* buffer = nullptr;
    if (!fd || posix_memalign(&buffer, 8192, 8192) != 0) _exit(2);
    std::memset(buffer, 'v', 8192);
    for (int i = 0; i < kWrites; ++i)
      if (pwrite(fd.get(), buffer, 8192, i * 8192) != 8192) _exit(3);
  });
  reads.finish(), writes.finish();
  EXPECT_EQ(writes.status(), 0);
  const auto stat_after = disk.reads_and_bytes();
  const auto after = probe.collect();
  unlink(path.c_str());
  const auto of = [&](const std::string& family, const char* operation, const TestCgroup& cgroup) {
    const auto series = fmt::format("{}{{operation=\"{}\",owner=\"{}\",owner_kind=\"other\"}}", family, operation,
                                    by_owner ? cgroup.path() : "other");
    const auto was = before.find(series);
    return value(after, series) - (was == before.end() ? 0 : was->second);
  };
  const auto read = of("vitald_owner_block_operations_total", "read", reader),
             read_bytes = of("vitald_owner_block_bytes_total", "read", reader),
             written = of("vitald_owner_block_operations_total", "write", writer),
             write_bytes = of("vitald_owner_block_bytes_total", "write", writer),
             seconds = of("vitald_owner_block_seconds_total", "read", reader),
             timed = of("vitald_owner_block_latency_seconds_count", "read", reader),
             timed_seconds = of("vitald_owner_block_latency_seconds_sum", "read", reader);
  double all = 0;
  for (const auto& [name, v] : after)
    if (name.starts_with("vitald_owner_block_operations_total{operation=\"read\"")) all += v;
  for (const auto& [name, v] : before)
    if (name.starts_with("vitald_owner_block_operations_total{operation=\"read\"")) all -= v;
  fmt::print(
      "{}: {} reads of {} ({:.0f} bytes, {:.1f} us each), {} writes of {} ({:.0f} bytes); all {} (diskstats {})\n",
      rung.name, read, kReads, read_bytes, 1e6 * seconds / read, written, kWrites, write_bytes, all,
      stat_after.first - stat_before.first);
  EXPECT_GE(read, kReads);
  EXPECT_LE(read, kReads * (by_owner ? 1.05 : 2));
  EXPECT_GE(read_bytes, kReads * 4096.0);
  EXPECT_GE(written, kWrites);
  EXPECT_GE(write_bytes, kWrites * 8192.0);
  if (by_owner) {
    EXPECT_LE(write_bytes, kWrites * 8192.0 * 1.05);
  }
  EXPECT_GT(seconds, 0);
  EXPECT_EQ(timed, read);
  EXPECT_NEAR(timed_seconds, seconds, 1e-9);
  EXPECT_NEAR(all, stat_after.first - stat_before.first, 20 + 0.02 * all) << "the sum over owners is the disk's";
}

TEST_F(Probes, IoOfOwners) {
  const Disk disk;
  if (!disk.keeps_times()) GTEST_SKIP() << "the kernel keeps no times for " << disk.name;
  for (const auto& rung : {kRungs[0], kRungs[1]}) {
    SCOPED_TRACE(rung.name);
    ASSERT_TRUE(climb({rung.name, rung.tp_btf, keeps_last_queued_}));
    until_seen_whole([&] { check_owner_io(rung, disk); });
  }
}

// A program that syncs, on a disk with a volatile cache: what the kernel does to flush it is accounted by us as by it.
void check_synced_writes(const Disk& disk, bool sync) {
  LiveProbe probe("block_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  const auto path = fmt::format("{}.sync", disk.path);
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | (sync ? O_DSYNC : 0), 0600));
  ASSERT_TRUE(fd);
  void* buffer = nullptr;
  ASSERT_EQ(posix_memalign(&buffer, 4096, 4096), 0);
  std::memset(buffer, 'v', 4096);
  const auto put = [&](int count) {
    for (int i = 0; i < count; ++i)
      if (pwrite(fd.get(), buffer, 4096, i * 4096) != 4096) throw std::runtime_error(path);
  };
  put(10);
  const auto labels = fmt::format("{{device=\"{}\",operation=\"write\"}}", disk.name);
  const auto before = probe.collect();
  const auto stat_before = disk.writes_and_seconds();
  put(300);
  const auto stat_after = disk.writes_and_seconds();
  const auto after = probe.collect();
  std::free(buffer);
  unlink(path.c_str());
  const auto grown = [&](const std::string& series) {
    return value(after, series + labels) - value(before, series + labels);
  };
  const auto writes = grown("vitald_block_device_latency_seconds_count");
  const auto seconds =
      grown("vitald_block_device_latency_seconds_sum") + grown("vitald_block_queue_latency_seconds_sum");
  const auto kernel_writes = stat_after.first - stat_before.first,
             kernel_seconds = stat_after.second - stat_before.second;
  fmt::print("{} {}: {} writes in {:.3f} s, by diskstats {} in {:.3f} s; {}\n", disk.name, sync ? "synced" : "direct",
             writes, seconds, kernel_writes, kernel_seconds, probe.status());
  EXPECT_NEAR(writes, kernel_writes, 5 + kernel_writes * 0.02);
  EXPECT_NEAR(seconds, kernel_seconds, 0.02 + kernel_seconds * 0.05);
  EXPECT_NE(probe.status().find("times kept by the kernel"), std::string::npos) << probe.status();
  EXPECT_EQ(grown("vitald_block_untimed_total"), 0);
}

TEST_F(Probes, SyncedWrites) {
  const Disk disk;
  if (!disk.keeps_times()) GTEST_SKIP() << "the kernel keeps no times for " << disk.name;
  for (const bool sync : {false, true}) until_seen_whole([&] { check_synced_writes(disk, sync); });
}

// A disk that comes and goes, as the kernel's own test driver makes it.
struct PluggedDisk {
  static bool possible() { return std::system("modprobe -n -q scsi_debug 2>/dev/null") == 0; }
  PluggedDisk() {
    if (std::system("modprobe -a sd_mod && modprobe scsi_debug dev_size_mb=8") != 0)
      throw std::runtime_error("modprobe scsi_debug");
    for (int i = 0; i < 300 && name.empty(); ++i) {
      for (const auto& disk : std::filesystem::directory_iterator("/sys/block")) {
        std::string model;
        std::ifstream(disk.path() / "device/model") >> model;
        if (model == "scsi_debug") name = disk.path().filename().string();
      }
      usleep(10'000);
    }
  }
  ~PluggedDisk() {
    for (int i = 0; i < 100 && std::system("rmmod scsi_debug 2>/dev/null") != 0; ++i) usleep(50'000);
  }
  PluggedDisk(const PluggedDisk&) = delete;
  PluggedDisk& operator=(const PluggedDisk&) = delete;
  void read(int blocks) const {
    void* buffer = nullptr;
    if (posix_memalign(&buffer, 4096, 4096) != 0) throw std::bad_alloc();
    const Fd fd(open(("/dev/" + name).c_str(), O_RDONLY | O_DIRECT));
    for (int i = 0; i < blocks; ++i)
      if (pread(fd.get(), buffer, 4096, i * 4096) != 4096) throw std::runtime_error("/dev/" + name);
    std::free(buffer);
  }
  std::string name;
};

TEST_F(Probes, RowsOfRemovedDisksAreUsedAgain) {
  if (!PluggedDisk::possible())
    GTEST_SKIP()
        << "no driver scsi_debug here (zram and brd make no requests, those of loop devices are not counted): the "
           "test bpf.lab runs this in a virtual machine";
  LiveProbe probe("block_latency");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  std::string bytes;
  {
    const PluggedDisk disk;
    ASSERT_FALSE(disk.name.empty());
    disk.read(1000);
    bytes = fmt::format("vitald_block_bytes_total{{device=\"{}\",operation=\"read\"}}", disk.name);
    EXPECT_GE(value(probe.collect(), bytes), 1000 * 4096);
  }
  probe.clock.advance_ns(31'000'000'000);
  EXPECT_FALSE(probe.collect().contains(bytes));
  const PluggedDisk again;
  again.read(1);
  const auto after = probe.collect();
  EXPECT_GE(value(after, bytes), 4096);
  EXPECT_LT(value(after, bytes), 1000 * 4096) << "what the disk before it counted is not its";
}

void check_recorded_block_reads(const Disk& disk) {
  LiveProbe probe("block_latency");
  disk.read(10);
  probe.collect();  // sees requests without times and attaches the other hooks
  EXPECT_NE(probe.status().find("insert and issue recorded"), std::string::npos) << probe.status();
  disk.read(1);
  const auto before = probe.collect();
  disk.read(500);
  const auto after = probe.collect();
  const auto labels = fmt::format("{{device=\"{}\",operation=\"read\"}}", disk.name);
  const auto grown = [&](const std::string& series) {
    return value(after, series + labels) - value(before, series + labels);
  };
  fmt::print(
      "{} of 500 reads timed, {:.1f} us each; {}\n", grown("vitald_block_device_latency_seconds_count"),
      1e6 * grown("vitald_block_device_latency_seconds_sum") / grown("vitald_block_device_latency_seconds_count"),
      probe.status());
  EXPECT_GE(grown("vitald_block_device_latency_seconds_count"), 500);
  EXPECT_EQ(grown("vitald_block_device_latency_seconds_count"), grown("vitald_block_queue_latency_seconds_count"));
}

TEST_F(Probes, BlockReadsWithoutTheKernelsTimes) {
  const Disk disk;
  for (const bool tp_btf : {true, false}) {
    believe([tp_btf](KernelFacts& facts) {
      facts.tp_btf = tp_btf;
      facts.trust_request_times = false;
    });
    until_seen_whole([&] { check_recorded_block_reads(disk); });
  }
}

TEST_F(Probes, OomKill) {
  for (const auto& rung : {kRungs[0], kRungs[1]}) {
    SCOPED_TRACE(rung.name);
    believe([&](KernelFacts& facts) { facts.tp_btf = rung.tp_btf; });
    LiveProbe probe("oom_kills");
    ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
    probe.collect();
    EXPECT_FALSE(probe.has_news());
    const auto v1 = memory_hierarchy(real_host_);
    TestCgroup cgroup(v1, fmt::format("vitald-oom-{}", getpid()));
    if (v1.controller == V1Hierarchy::Controller::none) {
      cgroup.set("memory.max", "16M");
      if (std::filesystem::exists("/sys/fs/cgroup" + cgroup.path() + "/memory.swap.max"))
        cgroup.set("memory.swap.max", "0");
    } else {
      cgroup.set("memory.limit_in_bytes", "16M");
      cgroup.set("memory.swappiness", "0");
    }
    Child child(cgroup, 0, [] {
      constexpr std::size_t kBytes = 64u << 20;
      auto* p = static_cast<volatile char*>(
          mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      for (std::size_t i = 0; i < kBytes; i += 4096) p[i] = 1;
    });
    child.finish();
    EXPECT_TRUE(WIFSIGNALED(child.status())) << "the child was not killed";
    cgroup.remove();
    EXPECT_TRUE(probe.has_news());
    const auto after = probe.collect();
    EXPECT_FALSE(probe.has_news());
    std::map<std::string, std::string> told;
    for (const auto& event : probe.events())
      if (event->type == "oom_kill") told = {event->fields.begin(), event->fields.end()};
    EXPECT_EQ(told["limit_cgroup"], cgroup.path());
    EXPECT_EQ(told["limit_bytes"], "16777216");
    EXPECT_EQ(told["asked_by_comm"], "bpf_test");
    EXPECT_EQ(
        value(after, fmt::format("vitald_owner_oom_kills_total{{owner=\"{}\",owner_kind=\"other\",scope=\"memcg\"}}",
                                 cgroup.path())),
        1)
        << probe.status();
  }
}

// Two limits are reached: who asked for more is below one of them alone, and that the victim is at the other killed
// nobody.
TEST_F(Probes, OomKillNamesTheLimitThatWasAsked) {
  LiveProbe probe("oom_kills");
  ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
  probe.collect();
  const auto fill = [](std::size_t mib) {
    auto* p = static_cast<volatile char*>(
        mmap(nullptr, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < mib << 20; i += 4096) p[i] = 1;
  };
  const auto name = fmt::format("vitald-oom-{}", getpid());
  const auto v1 = memory_hierarchy(real_host_);
  const TestCgroup parent(v1, name);
  const bool v2 = v1.controller == V1Hierarchy::Controller::none;
  const auto* const limit = v2 ? "memory.max" : "memory.limit_in_bytes";
  if (v2) parent.set("cgroup.subtree_control", "+memory");
  const TestCgroup a(v1, name + "/a"), b(v1, name + "/b");
  parent.set(limit, "60M");
  if (!v2)
    for (const TestCgroup* group : {&parent, &a, &b}) group->set("memory.swappiness", "0");
  else if (std::filesystem::exists("/sys/fs/cgroup" + parent.path() + "/memory.swap.max"))
    parent.set("memory.swap.max", "0");
  Child full(a, 0, [&] {
    fill(39);
    usleep(60'000'000);
  });
  const auto used_by = [&](const TestCgroup& group) {
    std::uint64_t used = 0;
    std::ifstream(v2 ? "/sys/fs/cgroup" + group.path() + "/memory.current"
                     : "/sys/fs/cgroup/memory" + group.path() + "/memory.usage_in_bytes") >>
        used;
    return used;
  };
  for (int i = 0; i < 100 && used_by(a) < 39u << 20; ++i) usleep(100'000);
  usleep(100'000);
  a.set(limit, std::to_string(used_by(a) + 4 * 4096));
  Child asks(b, 0, [&] { fill(30); });
  asks.finish();
  full.finish();
  EXPECT_TRUE(WIFSIGNALED(full.status())) << "the largest is the victim";
  probe.collect();
  std::map<std::string, std::string> told;
  for (const auto& event : probe.events())
    if (event->type == "oom_kill") told = {event->fields.begin(), event->fields.end()};
  EXPECT_EQ(told["cgroup"], a.path());
  EXPECT_EQ(told["limit_cgroup"], parent.path());

  if (!v2) return;  // there it is refused
  // A limit that is made smaller by somebody who is not in there.
  Child shrunk(b, 0, [&] {
    fill(20);
    usleep(60'000'000);
  });
  for (int i = 0; i < 100 && used_by(b) < 20u << 20; ++i) usleep(100'000);
  b.set("memory.max", "4M");
  shrunk.finish();
  EXPECT_TRUE(WIFSIGNALED(shrunk.status()));
  probe.collect();
  told.clear();
  for (const auto& event : probe.events())
    if (event->type == "oom_kill") told = {event->fields.begin(), event->fields.end()};
  EXPECT_EQ(told["limit_cgroup"], b.path());
  EXPECT_EQ(told["scope"], "memcg");
}

// Real direct reclaim needs a host short of memory; here the two programs are run by hand, one after the other.
TEST_F(Probes, DirectReclaim) {
  LiveProbe attached("direct_reclaim");
  EXPECT_TRUE(attached.status().starts_with("attached")) << attached.status();
  EXPECT_EQ(value(attached.collect(), "vitald_probe_up{hook=\"tp_btf\",probe=\"direct_reclaim\"}"), 1);

  struct Destroy {
    void operator()(memory_bpf* skel) const { memory_bpf::destroy(skel); }
  };
  const std::unique_ptr<memory_bpf, Destroy> skel(memory_bpf::open());
  ASSERT_TRUE(skel);
  bpf_map__set_max_entries(skel->maps.stalls, static_cast<__u32>(libbpf_num_possible_cpus()));
  bpf_map__set_max_entries(skel->maps.stalled_since, 64);
  bpf_map__set_max_entries(skel->maps.costs, static_cast<__u32>(libbpf_num_possible_cpus()) * VITALD_COSTS);
  // The others are given their tracepoint by BpfObject::load().
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skel->obj) {
    bpf_program__set_autoload(program, std::string_view(bpf_program__name(program)).ends_with("_raw"));
  }
  ASSERT_EQ(memory_bpf::load(skel.get()), 0);
  const auto run = [](bpf_program* p) {
    __u64 arguments[2] = {};
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = arguments, .ctx_size_in = sizeof arguments);
    return bpf_prog_test_run_opts(bpf_program__fd(p), &options);
  };
  ASSERT_EQ(run(skel->progs.on_end_raw), 0) << "an end without a begin counts nothing";
  ASSERT_EQ(run(skel->progs.on_begin_raw), 0);
  usleep(2'000);
  ASSERT_EQ(run(skel->progs.on_end_raw), 0);
  auto cpus = MappedArray<vitald_reclaim_cpu>::of(skel->maps.stalls);
  ASSERT_TRUE(cpus);
  const auto stalls = [&] {
    HistSum sum;
    for (std::size_t cpu = 0; cpu < cpus->size(); ++cpu) sum.add((*cpus)[cpu].stall);
    std::uint64_t count = 0;
    for (const auto n : sum.counts) count += n;
    return std::pair(count, sum.sum_ns);
  };
  EXPECT_EQ(stalls().first, 1u);
  EXPECT_GE(stalls().second, 2'000'000u);

  // Off at once, and on again.
  skel->data->enabled = 0;
  ASSERT_EQ(run(skel->progs.on_begin_raw), 0);
  ASSERT_EQ(run(skel->progs.on_end_raw), 0);
  EXPECT_EQ(stalls().first, 1u);
  skel->data->enabled = VITALD_DIRECT_RECLAIM;
  ASSERT_EQ(run(skel->progs.on_begin_raw), 0);
  ASSERT_EQ(run(skel->progs.on_end_raw), 0);
  EXPECT_EQ(stalls().first, 2u);
}

// In a child, since capabilities do not come back.
std::string status_without(const std::vector<unsigned>& capabilities) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe";
  const pid_t pid = fork();
  if (pid == 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    syscall(SYS_capget, &header, data);
    for (const auto c : capabilities) {
      data[c / 32].effective &= ~(1u << (c % 32));
      data[c / 32].permitted &= ~(1u << (c % 32));
    }
    syscall(SYS_capset, &header, data);
    std::string text;
    for (const auto* name : {"runq_latency", "block_latency", "oom_kills", "direct_reclaim"}) {
      LiveProbe probe(name);
      text += probe.status() + "\n";
      for (const auto& [series, v] : probe.collect()) text += fmt::format("{} {}\n", series, v);
    }
    _exit(write(ends[1], text.data(), text.size()) > 0 ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
  close(ends[0]);
  waitpid(pid, nullptr, 0);
  return text;
}

TEST_F(Probes, WithoutCapabilities) {
  std::string want;
  for (const std::string name : {"runq_latency", "block_latency", "oom_kills", "direct_reclaim"}) {
    const auto why =
        "the kernel refused to load it (EPERM): CAP_BPF and CAP_PERFMON are needed (CAP_SYS_ADMIN before Linux 5.8). "
        "Grant both, or turn it off with --no-probe." +
        name;
    want += "off: " + why + "\nvitald_probe_up{hook=\"off\",probe=\"" + name + "\",reason=\"" + why + "\"} 0\n";
  }
  EXPECT_EQ(status_without({CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON}), want);
}

TEST_F(Probes, WithTheTwoCapabilitiesAlone) {
  std::vector<unsigned> all;
  for (unsigned c = 0; c <= CAP_LAST_CAP; ++c)
    if (c != CAP_BPF && c != CAP_PERFMON) all.push_back(c);
  const auto text = status_without(all);
  EXPECT_EQ(text.find("off:"), std::string::npos) << text;
}

TEST_F(Probes, WithoutATracepoint) {
  believe([](KernelFacts& facts) { facts.forget("mark_victim"); });
  LiveProbe probe("oom_kills");
  EXPECT_EQ(probe.status(), "off: this kernel has no tracepoint mark_victim");
  EXPECT_TRUE(LiveProbe("block_latency").status().starts_with("attached")) << "that probe alone is off";
}

TEST_F(Probes, WithoutBtf) {
  believe([](KernelFacts& facts) { facts.missing = "/sys/kernel/btf/vmlinux: No such file or directory (ENOENT)"; });
  EXPECT_EQ(LiveProbe("block_latency").status(),
            "off: no BTF of the running kernel (/sys/kernel/btf/vmlinux: No such file or directory (ENOENT)): needs a "
            "kernel built with CONFIG_DEBUG_INFO_BTF=y and a readable /sys/kernel/btf");
}

// It says nothing about the kernel.
TEST_F(Probes, WithoutADescriptorForTheBtf) {
  believe([](KernelFacts& facts) {
    facts.missing = "/sys/kernel/btf/vmlinux: Too many open files (EMFILE)";
    facts.missing_kind = Errc::io;
  });
  EXPECT_EQ(
      LiveProbe("block_latency").status(),
      "off: the BTF of the running kernel cannot be read (/sys/kernel/btf/vmlinux: Too many open files (EMFILE))");
}

TEST_F(Probes, OnlyOnTheRunningSystem) {
  const Host fixture({"/tmp/proc", "/tmp/sys", "/tmp", "/tmp"});
  for (const auto* name : {"runq_latency", "block_latency", "oom_kills", "direct_reclaim"}) {
    Options options;
    options.declare(info_of(name).flags);
    const auto made = info_of(name).make(fixture, options);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind, Errc::absent);
  }
}

// kernel.bpf_stats_enabled, switched on by a descriptor instead of the sysctl would not be seen; so by the sysctl.
TEST_F(Probes, OwnCost) {
  const char* file = "/proc/sys/kernel/bpf_stats_enabled";
  std::string before;
  std::ifstream(file) >> before;
  LiveProbe probe("runq_latency");
  const auto runs = std::string("vitald_bpf_program_runs_total{probe=\"runq_latency\",program=\"on_switch\"}");
  if (before == "0") {
    EXPECT_FALSE(probe.collect().contains(runs));
  }
  std::ofstream(file) << "1";
  usleep(1'100'000);  // whether it is on is looked at once a second
  const auto series = probe.collect();
  std::ofstream(file) << before;
  EXPECT_GT(value(series, runs), 0);
  EXPECT_TRUE(probe.collect().contains(runs)) << "counters do not vanish";
}

}  // namespace
}  // namespace vitald
