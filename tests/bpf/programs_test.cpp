// SPDX-License-Identifier: Apache-2.0
// The probe bpf_programs, beside what the kernel says of the same programs and maps to who may ask for it.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "core/os/fd.h"
#include "sensors/bpf/map_memory.h"
#include "tests/bpf/live_probe.h"

namespace vitald {
namespace {

// A program that does nothing, in a subprogram, on each system call of the host.
// By a name of this process: the kernel frees what another one left behind a moment after it ended, and lists it until
// then.
// Made before anything is started: a child's is its parent's.
const std::string kNameOfNothing = fmt::format("nothing{}", getpid() % 10'000'000);  // 15 bytes at most

struct Nothing {
  Nothing() {
    // call of the third; exit; r0 = 0; exit
    const bpf_insn program[] = {
        {0x85, 0, BPF_PSEUDO_CALL, 0, 1}, {0x95, 0, 0, 0, 0}, {0xb7, 0, 0, 0, 0}, {0x95, 0, 0, 0, 0}};
    loaded = Fd(bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, kNameOfNothing.c_str(), "GPL", program, std::size(program),
                              nullptr));
    if (!loaded) throw std::runtime_error("no program");
    attached = Fd(bpf_raw_tracepoint_open("sys_enter", loaded.get()));
    if (!attached) throw std::runtime_error("not attached");
  }
  bpf_prog_info info() const {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(loaded.get(), &info, &size) != 0) throw std::runtime_error("no info");
    return info;
  }
  Fd loaded, attached;
};

std::string labels(const std::string& process) {
  return fmt::format("process=\"{}\",program=\"{}\",type=\"raw_tracepoint\"}}", process, kNameOfNothing);
}

// The series of the family whose labels end so: owner and owner_kind come first.
double of(const std::map<std::string, double>& series, const std::string& family, const std::string& end) {
  double sum = NAN;
  for (const auto& [name, value] : series)
    if (name.starts_with(family + "{") && name.ends_with(end)) sum = std::isnan(sum) ? value : sum + value;
  return sum;
}

TEST_F(Probes, BpfProgramsOfOthers) {
  const TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-holder-{}", getpid()));
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(go), 0);
  LiveProbe probe("bpf_programs");
  const auto before = probe.collect();
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "holder");
    close(go[1]);
    cgroup.enter();
    const Nothing one, two;
    const auto info = one.info();
    const std::uint64_t bytes = 2 * (static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) + info.jited_prog_len);
    if (write(ready[1], &bytes, sizeof bytes) != sizeof bytes) _exit(1);
    char byte;
    _exit(read(go[0], &byte, 1) == 0 ? 0 : 1);
  }
  std::uint64_t bytes = 0;
  ASSERT_EQ(read(ready[0], &bytes, sizeof bytes), static_cast<ssize_t>(sizeof bytes));
  probe.clock.advance_ns(31'000'000'000);  // they are listed every 30 s
  const auto series = probe.collect();
  EXPECT_EQ(of(series, "vitald_bpf_programs", labels("holder")), 2);
  EXPECT_EQ(of(series, "vitald_bpf_programs_memory_bytes", labels("holder")), static_cast<double>(bytes));
  EXPECT_TRUE(std::isnan(of(before, "vitald_bpf_programs", labels("holder"))));
  close(go[1]);
  waitpid(pid, nullptr, 0);
  bool gone = false;
  for (int i = 0; i < 200 && !gone; ++i) {  // the kernel waits for who may still run them
    usleep(10'000);
    probe.clock.advance_ns(31'000'000'000);  // they are listed every 30 s
    gone = std::isnan(of(probe.collect(), "vitald_bpf_programs", labels("holder")));
  }
  EXPECT_TRUE(gone);
  for (const int fd : {ready[0], ready[1], go[0]}) close(fd);
}

// A process is gone and another has its files: at once, not with the next look at all.
TEST_F(Probes, BpfProgramsAreInherited) {
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(go), 0);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    prctl(PR_SET_NAME, "holder");
    close(go[1]);
    const Nothing nothing;
    char byte = 0;
    const pid_t heir = fork();
    if (heir == 0) {
      prctl(PR_SET_NAME, "heir");
      _exit(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 0 ? 0 : 1);
    }
    _exit(read(go[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  LiveProbe probe("bpf_programs");
  EXPECT_EQ(of(probe.collect(), "vitald_bpf_programs", labels("holder")), 1);
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  waitpid(pid, nullptr, 0);
  probe.clock.advance_ns(31'000'000'000);
  const auto series = probe.collect();
  EXPECT_EQ(of(series, "vitald_bpf_programs", labels("heir")), 1);
  EXPECT_TRUE(std::isnan(of(series, "vitald_bpf_programs", labels("holder"))));
  for (const int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
}

// In a PID namespace the iterators have numbers that /proc there gives to others, or to none.
TEST_F(Probes, BpfProgramsHaveNoOwnerInAPidNamespace) {
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) _exit(77);
    const pid_t inner = fork();
    if (inner == 0) {
      prctl(PR_SET_NAME, "inner");
      if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("proc", "/proc", "proc", 0, nullptr) != 0)
        _exit(77);
      LiveProbe probe("bpf_programs");
      int seen = 0, wrong = 0;
      for (const auto& [name, value] : probe.collect())
        if (name.starts_with("vitald_bpf_programs{") && name.find("process=\"inner\"") != std::string::npos) {
          ++seen;
          wrong += name.find("owner=\"\"") == std::string::npos;
        }
      _exit(seen > 0 && wrong == 0 ? 0 : 1);
    }
    int status = 0;
    if (waitpid(inner, &status, 0) != inner || !WIFEXITED(status)) _exit(1);
    _exit(WEXITSTATUS(status));
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no PID namespace here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// As the kernel says itself, which it does of maps that one has open.
TEST_F(Probes, BpfMapMemory) {
  utsname kernel{};
  int major = 0, minor = 0;
  ASSERT_EQ(uname(&kernel), 0);
  ASSERT_EQ(std::sscanf(kernel.release, "%d.%d", &major, &minor), 2);
  if (std::pair(major, minor) < std::pair(6, 4)) GTEST_SKIP() << "map_mem_usage is of Linux 6.4";
  struct Case {
    bpf_map_type type;
    std::uint32_t key, value, entries, flags;
    bool known = true;
  };
  constexpr Case kCases[] = {
      {BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0},
      {BPF_MAP_TYPE_ARRAY, 4, 13, 10'000, 0},
      {BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE},
      {BPF_MAP_TYPE_ARRAY, 4, 8, 10'000, BPF_F_MMAPABLE},
      {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1000, 0},
      {BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 64, 0},
      {BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 64, 0},
      {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 1, 0},
      {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 24, 5000, 0},
      {BPF_MAP_TYPE_HASH, 4, 4, 1, 0},
      {BPF_MAP_TYPE_HASH, 12, 20, 1000, 0},
      {BPF_MAP_TYPE_HASH, 8, 8, 1025, 0},
      {BPF_MAP_TYPE_HASH, 8, 8, 1000, BPF_F_NO_PREALLOC, false},
      {BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 1000, 0},
      {BPF_MAP_TYPE_LRU_HASH, 8, 100, 1000, 0},
      {BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 100, 1000, 0},
      {BPF_MAP_TYPE_STACK_TRACE, 4, 127 * 8, 1000, 0},
      {BPF_MAP_TYPE_QUEUE, 0, 12, 1000, 0},
      {BPF_MAP_TYPE_STACK, 0, 12, 10, 0},
      {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
      {BPF_MAP_TYPE_RINGBUF, 0, 0, 1 << 20, 0},
      {BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 1 << 16, 0},
      {BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 1000, 0, false},
      {BPF_MAP_TYPE_LPM_TRIE, 8, 8, 1000, BPF_F_NO_PREALLOC, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(fmt::format("{}, key {}, value {}, {} entries, flags {}", libbpf_bpf_map_type_str(c.type), c.key,
                             c.value, c.entries, c.flags));
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = c.flags);
    const Fd map(bpf_map_create(c.type, "vitald_map", c.key, c.value, c.entries, &options));
    ASSERT_TRUE(map) << std::strerror(errno);
    bpf_map_info info{};
    std::uint32_t size = sizeof info;
    ASSERT_EQ(bpf_obj_get_info_by_fd(map.get(), &info, &size), 0);
    vitald_bpf_map record{};
    record.type = info.type;
    record.key_size = info.key_size;
    record.value_size = info.value_size;
    record.max_entries = info.max_entries;
    record.flags = info.map_flags;
    const auto bytes = bpf_map_bytes(record, libbpf_num_possible_cpus(), static_cast<double>(sysconf(_SC_PAGESIZE)));
    ASSERT_EQ(bytes.has_value(), c.known);
    if (!bytes) continue;
    std::ifstream file(fmt::format("/proc/self/fdinfo/{}", map.get()));
    double kernels = 0;
    for (std::string word; file >> word;)
      if (word == "memlock:") file >> kernels;
    EXPECT_NEAR(*bytes, kernels, kernels / 10);
  }
}

// As many as the kernel counts, and all of them.
TEST_F(Probes, BpfProgramsAreAll) {
  LiveProbe probe("bpf_programs");
  until_seen_whole([&] {
    const auto count = [](int (*next)(std::uint32_t, std::uint32_t*)) {
      double n = 0;
      for (std::uint32_t id = 0; next(id, &id) == 0;) ++n;
      return n;
    };
    probe.clock.advance_ns(31'000'000'000);
    const auto series = probe.collect();
    EXPECT_EQ(sum_of(series, "vitald_bpf_programs"), count(bpf_prog_get_next_id));
    EXPECT_EQ(sum_of(series, "vitald_bpf_maps"), count(bpf_map_get_next_id));
  });
}

constexpr const char* kStatsFile = "/proc/sys/kernel/bpf_stats_enabled";

// What somebody had counted once stands still.
TEST_F(Probes, BpfProgramsRunTimeOfBefore) {
  std::string before;
  std::ifstream(kStatsFile) >> before;
  if (before != "0") GTEST_SKIP() << "runs are counted";
  const Nothing nothing;
  std::ofstream(kStatsFile) << "1" << std::flush;
  for (int i = 0; i < 1000; ++i) (void)getppid();
  std::ofstream(kStatsFile) << "0" << std::flush;
  ASSERT_GE(nothing.info().run_cnt, 1000U);
  LiveProbe probe("bpf_programs");
  EXPECT_TRUE(std::isnan(of(probe.collect(), "vitald_bpf_programs_runs_total", "")));
}

TEST_F(Probes, BpfProgramsRunTime) {
  const char* file = kStatsFile;
  std::string before;
  std::ifstream(file) >> before;
  LiveProbe probe("bpf_programs");
  if (probe.status().find("not on this kernel") != std::string::npos)
    GTEST_SKIP() << "this kernel has no bpf_map_lookup_percpu_elem";
  const Nothing nothing;
  const auto of_nothing = [&](const std::string& family) {
    double sum = 0;
    for (const auto& [name, value] : probe.collect())
      if (name.starts_with(family + "{") && name.find("program=\"" + kNameOfNothing + "\"") != std::string::npos)
        sum += value;
    return sum;
  };
  std::ofstream(file) << "1" << std::flush;
  for (int i = 0; i < 1000; ++i) (void)getppid();
  // It asks once a second whether they are counted.
  for (int i = 0; i < 30 && probe.status().find("as the kernel counts") == std::string::npos; ++i) {
    probe.collect();
    usleep(100'000);
  }
  std::ofstream(file) << before << std::flush;
  probe.clock.advance_ns(31'000'000'000);
  const auto info = nothing.info();
  ASSERT_GE(info.run_cnt, 1000U);
  if (before == "0") {
    EXPECT_EQ(of_nothing("vitald_bpf_programs_runs_total"), static_cast<double>(info.run_cnt));
    EXPECT_DOUBLE_EQ(of_nothing("vitald_bpf_programs_run_seconds_total"), static_cast<double>(info.run_time_ns) / 1e9);
  } else {
    EXPECT_GE(of_nothing("vitald_bpf_programs_runs_total"), static_cast<double>(info.run_cnt));
  }
}

}  // namespace
}  // namespace vitald
