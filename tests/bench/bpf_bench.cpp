// SPDX-License-Identifier: Apache-2.0
// What the probes cost per event, beside the tools of bcc that answer the same question. Everything runs in one
// program, interleaved: each round measures without probes, with ours and with theirs, in changing order, and the
// figures are differences within a round. Needs root; libbpf-tools for the comparison.
//
//   switch: two processes on one CPU hand a byte back and forth; CPU time per context switch (their own, user and
//           system, so that what else runs on the machine does not count).
//   io:     random 4 KiB O_DIRECT reads, one at a time. A read costs 20 times more CPU than a probe and varies by more
//           than that, so the figure is the kernel's own (bpf_stats) per read: all programs of a tool added up.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/collector.h"
#include "core/os/fd.h"

namespace vitald {
namespace {

constexpr int kRoundTrips = 200'000;
constexpr int kReads = 10'000;
constexpr std::size_t kFileBytes = 64u << 20;

[[noreturn]] void die(const std::string& what) {
  fmt::print(stderr, "bpf_bench: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

struct Stats {
  std::uint64_t run_ns = 0, runs = 0;
};
// All loaded programs by id.
std::map<std::uint32_t, Stats> programs() {
  std::map<std::uint32_t, Stats> all;
  std::uint32_t id = 0;
  while (bpf_prog_get_next_id(id, &id) == 0) {
    const Fd fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (fd && bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0) all[id] = {info.run_time_ns, info.run_cnt};
  }
  return all;
}

const CollectorInfo& info_of(std::string_view name) {
  for (const auto& e : collector_list())
    if (e.name == name) return *e.info;
  die(fmt::format("no probe {}", name));
}

// One of our probes, attached as long as this lives.
class Ours {
 public:
  explicit Ours(std::string_view name) : writer_(std::string(name)) {
    const auto& info = info_of(name);
    options_.declare(info.flags);
    auto made = info.make(host_, options_);
    if (!made) die(made.error().text);
    probe_ = std::move(*made);
    if (probe_->status().starts_with("off")) die(probe_->status());
  }

 private:
  Host host_;
  Options options_;
  BatchWriter writer_;
  std::unique_ptr<Collector> probe_;
};

// A tool of bcc, from when its programs are loaded until this goes.
class Theirs {
 public:
  explicit Theirs(const char* tool) {
    const auto before = programs().size();
    pid_ = fork();
    if (pid_ == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, 1);
      execlp(tool, tool, "100000", nullptr);
      _exit(127);
    }
    for (int i = 0; i < 500; ++i) {
      if (waitpid(pid_, nullptr, WNOHANG) != 0) {
        pid_ = -1;
        return;
      }
      if (programs().size() > before) break;
      usleep(10'000);
    }
    usleep(200'000);  // the last of its programs, and attaching
  }
  Theirs(const Theirs&) = delete;
  Theirs& operator=(const Theirs&) = delete;
  ~Theirs() {
    if (pid_ < 0) return;
    kill(pid_, SIGINT);
    waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] bool running() const { return pid_ > 0; }

 private:
  pid_t pid_ = -1;
};

// A program that does nothing: what the kernel itself takes to call one.
class Nothing {
 public:
  explicit Nothing(const char* tracepoint) {
    const bpf_insn program[] = {{0xb7, 0, 0, 0, 0}, {0x95, 0, 0, 0, 0}};  // r0 = 0; exit
    program_ = Fd(bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "nothing", "GPL", program, 2, nullptr));
    link_ = Fd(bpf_raw_tracepoint_open(tracepoint, program_.get()));
    if (!link_) die(tracepoint);
  }

 private:
  Fd program_, link_;
};

std::int64_t cpu_ns(const rusage& r) {
  return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1'000'000'000ll + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000ll;
}

// CPU nanoseconds per context switch.
double switch_storm() {
  int there[2], back[2];
  if (pipe(there) || pipe(back)) die("pipe");
  cpu_set_t cpu;
  CPU_ZERO(&cpu);
  CPU_SET(static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN) - 1), &cpu);
  const auto player = [&](int in, int out, bool first) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    sched_setaffinity(0, sizeof cpu, &cpu);
    char byte = 0;
    for (int i = 0; i < kRoundTrips; ++i) {
      if (first && write(out, &byte, 1) != 1) _exit(1);
      if (read(in, &byte, 1) != 1) _exit(1);
      if (!first && write(out, &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  };
  const pid_t a = player(back[0], there[1], true), b = player(there[0], back[1], false);
  for (const int fd : {there[0], there[1], back[0], back[1]}) close(fd);
  rusage ra{}, rb{};
  wait4(a, nullptr, 0, &ra);
  wait4(b, nullptr, 0, &rb);
  const auto switches = ra.ru_nvcsw + ra.ru_nivcsw + rb.ru_nvcsw + rb.ru_nivcsw;
  return static_cast<double>(cpu_ns(ra) + cpu_ns(rb)) / static_cast<double>(switches);
}

struct File {
  File() {
    path = (std::filesystem::current_path() / "bpf_bench.tmp").string();
    fd = Fd(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600));
    if (!fd) die(path);
    void* p = nullptr;
    if (posix_memalign(&p, 4096, 1u << 20)) die("posix_memalign");
    buffer.reset(static_cast<char*>(p));
    std::memset(buffer.get(), 'v', 1u << 20);
    for (std::size_t at = 0; at < kFileBytes; at += 1u << 20)
      if (pwrite(fd.get(), buffer.get(), 1u << 20, static_cast<off_t>(at)) < 0) die(path);
    fsync(fd.get());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { unlink(path.c_str()); }
  std::string path;
  Fd fd;
  std::unique_ptr<char, Call<&std::free>> buffer;
};

// Nanoseconds in BPF programs per read, of those programs that `before` does not know, and their runs per read.
struct Reads {
  double bpf_ns = 0, events = 0, cpu_ns = 0;
};
Reads reads(const File& file, const std::map<std::uint32_t, Stats>& others) {
  const Fd enabled(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!enabled) die("bpf_enable_stats");
  const auto before = programs();
  std::mt19937 random(42);
  std::uniform_int_distribution<std::size_t> page(0, kFileBytes / 4096 - 1);
  const auto cpu = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID);
  for (int i = 0; i < kReads; ++i)
    if (pread(file.fd.get(), file.buffer.get(), 4096, static_cast<off_t>(page(random) * 4096)) != 4096) die(file.path);
  Reads r;
  r.cpu_ns = static_cast<double>(SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) - cpu) / kReads;
  for (const auto& [id, after] : programs()) {
    if (others.contains(id)) continue;
    const auto first = before.contains(id) ? before.at(id) : Stats{};
    r.bpf_ns += static_cast<double>(after.run_ns - first.run_ns) / kReads;
    r.events += static_cast<double>(after.runs - first.runs) / kReads;
  }
  return r;
}

struct Spread {
  double q1, median, q3;
};
Spread spread(std::vector<double> v) {
  std::ranges::sort(v);
  const auto at = [&](double q) { return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1) + 0.5)]; };
  return {at(0.25), at(0.5), at(0.75)};
}

void bench_switch(int rounds) {
  std::vector<double> plain, nothing, ours, theirs;
  bool have_theirs = true;
  switch_storm();  // warm up
  for (int round = 0; round < rounds; ++round) {
    std::array<int, 4> order{0, 1, 2, 3};
    std::rotate(order.begin(), order.begin() + round % 4, order.end());
    std::array<double, 4> ns{};
    for (const int which : order) {
      if (which == 0) ns[0] = switch_storm();
      if (which == 1) {
        const Ours probe("runq_latency");
        ns[1] = switch_storm();
      }
      if (which == 3) {
        const Nothing program("sched_switch");
        ns[3] = switch_storm();
      }
      if (which == 2 && have_theirs) {
        const Theirs tool("runqlat");
        have_theirs = tool.running();
        if (have_theirs) ns[2] = switch_storm();
      }
    }
    plain.push_back(ns[0]);
    ours.push_back(ns[1] - ns[0]);
    theirs.push_back(ns[2] - ns[0]);
    nothing.push_back(ns[3] - ns[0]);
  }
  const auto p = spread(plain), o = spread(ours), t = spread(theirs), n = spread(nothing);
  fmt::print("CPU ns per context switch, {} rounds of {} switches, median (quartiles)\n", rounds, 2 * kRoundTrips);
  fmt::print("  no probe                          {:7.0f} ({:.0f}-{:.0f})\n", p.median, p.q1, p.q3);
  fmt::print("  + a program that does nothing     {:+7.1f} ({:.1f}-{:.1f})\n", n.median, n.q1, n.q3);
  fmt::print("  + vitald runq_latency, per owner  {:+7.1f} ({:.1f}-{:.1f})   goal: at most 50\n", o.median, o.q1, o.q3);
  if (!have_theirs) return fmt::print("  runqlat is not installed (libbpf-tools): no comparison\n");
  fmt::print("  + runqlat                         {:+7.1f} ({:.1f}-{:.1f})   {:.1f}x vitald\n", t.median, t.q1, t.q3,
             t.median / o.median);
}

void bench_io(int rounds) {
  const File file;
  std::vector<double> nothing, ours, our_events, theirs, their_events, cpu;
  bool have_theirs = true;
  for (int round = 0; round < rounds; ++round) {
    const auto others = programs();
    cpu.push_back(reads(file, others).cpu_ns);
    {
      const Nothing program("block_rq_complete");
      nothing.push_back(reads(file, others).bpf_ns);
    }
    {
      const Ours probe("block_latency");
      const auto r = reads(file, others);
      ours.push_back(r.bpf_ns), our_events.push_back(r.events);
    }
    if (!have_theirs) continue;
    const Theirs tool("biolatency");
    have_theirs = tool.running();
    const auto r = reads(file, others);
    theirs.push_back(r.bpf_ns), their_events.push_back(r.events);
  }
  const auto c = spread(cpu), n = spread(nothing), o = spread(ours), t = spread(theirs);
  fmt::print("BPF ns per read of 4 KiB, {} rounds of {} reads, median (quartiles); a read costs {:.0f} ns CPU\n",
             rounds, kReads, c.median);
  fmt::print("  nothing               {:7.1f} ({:.1f}-{:.1f})\n", n.median, n.q1, n.q3);
  fmt::print("  vitald block_latency  {:7.1f} ({:.1f}-{:.1f}) in {:.2f} events   goal: at most 120\n", o.median, o.q1,
             o.q3, spread(our_events).median);
  if (!have_theirs) return fmt::print("  biolatency is not installed (libbpf-tools): no comparison\n");
  fmt::print("  biolatency            {:7.1f} ({:.1f}-{:.1f}) in {:.2f} events   {:.1f}x vitald\n", t.median, t.q1,
             t.q3, spread(their_events).median, t.median / o.median);
}

}  // namespace
}  // namespace vitald

// bpf_bench [switch|io|all] [rounds]
int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "all";
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 9;
  if (geteuid() != 0) {
    fmt::print("bpf: skipped, needs root to load BPF programs\n");
    return 0;
  }
  if (what == "switch" || what == "all") vitald::bench_switch(rounds);
  if (what == "io" || what == "all") vitald::bench_io(rounds);
}
