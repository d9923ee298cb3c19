// SPDX-License-Identifier: Apache-2.0
// The probe bpf_programs, beside what the kernel says of the same programs and maps to who may ask for it.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <map>
#include <string>

#include "core/os/fd.h"
#include "tests/bpf/live_probe.h"

namespace vitald {
namespace {

// A program that does nothing, on each system call of the host.
struct Nothing {
  Nothing() {
    const bpf_insn program[] = {{0xb7, 0, 0, 0, 0}, {0x95, 0, 0, 0, 0}};  // r0 = 0; exit
    loaded = Fd(bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "vitald_nothing", "GPL", program, 2, nullptr));
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
  return fmt::format("process=\"{}\",program=\"vitald_nothing\",type=\"raw_tracepoint\"}}", process);
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
  probe.clock.advance_ns(31'000'000'000);  // whose they are is asked at most every 30 s
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

TEST_F(Probes, BpfProgramsRunTime) {
  const char* file = "/proc/sys/kernel/bpf_stats_enabled";
  std::string before;
  std::ifstream(file) >> before;
  LiveProbe probe("bpf_programs");
  if (probe.status().find("not on this kernel") != std::string::npos)
    GTEST_SKIP() << "this kernel has no bpf_map_lookup_percpu_elem";
  const Nothing nothing;
  const auto of_nothing = [&](const std::string& family) {
    double sum = 0;
    for (const auto& [name, value] : probe.collect())
      if (name.starts_with(family + "{") && name.find("program=\"vitald_nothing\"") != std::string::npos) sum += value;
    return sum;
  };
  std::ofstream(file) << "1" << std::flush;
  for (int i = 0; i < 1000; ++i) (void)getppid();
  std::ofstream(file) << before << std::flush;
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
