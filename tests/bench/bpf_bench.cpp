// SPDX-License-Identifier: Apache-2.0
// What the probes cost per event, beside the tools of bcc that answer the same question. Everything runs in one
// program, interleaved: each round measures without probes, with ours and with theirs, in changing order, and the
// figures are differences within a round. Needs root; libbpf-tools for the comparison.
//
//   switch: two processes on one CPU hand a byte back and forth; CPU time per context switch (their own, user and
//           system, so that what else runs on the machine does not count). In chunks of some milliseconds: each is
//           compared with the two without a program beside it, and programs are only attached and detached in
//           between, loaded long before.
//   io:     random 4 KiB O_DIRECT reads, one at a time. A read costs 20 times more CPU than a probe and varies by more
//           than that, so the figure is the kernel's own (bpf_stats) per read: all programs of a tool added up.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <initializer_list>
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

// Programs that somebody has loaded, held after he ended, so that attaching them is all that is left to do.
class Loaded {
 public:
  // `load` runs in a child and returns when all is loaded, or never.
  explicit Loaded(const std::function<void()>& load) {
    const auto before = programs();
    int told[2];
    if (pipe(told)) die("pipe");
    const pid_t pid = fork();
    if (pid == 0) {
      close(told[0]);
      load();
      [[maybe_unused]] const auto n = write(told[1], "", 1);
      for (;;) pause();
    }
    close(told[1]);
    pollfd ready{told[0], POLLIN, 0};
    poll(&ready, 1, 5000);
    close(told[0]);
    for (const auto& entry : programs()) {
      if (before.contains(entry.first)) continue;
      Fd fd(bpf_prog_get_fd_by_id(entry.first));
      bpf_prog_info info{};
      std::uint32_t size = sizeof info;
      if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0 || info.type != BPF_PROG_TYPE_TRACING) continue;
      instructions_ += info.xlated_prog_len / 8;
      programs_.push_back(std::move(fd));
    }
    kill(pid, SIGKILL);  // not to be tidied up
    waitpid(pid, nullptr, 0);
  }
  [[nodiscard]] bool any() const { return !programs_.empty(); }
  [[nodiscard]] std::size_t instructions() const { return instructions_; }
  [[nodiscard]] std::vector<Fd> attach() const {
    std::vector<Fd> links;
    for (const auto& p : programs_) {
      links.emplace_back(bpf_raw_tracepoint_open(nullptr, p.get()));
      if (!links.back()) die("attach");
    }
    return links;
  }

 private:
  std::vector<Fd> programs_;
  std::size_t instructions_ = 0;
};

Loaded load_ours(std::initializer_list<std::string_view> names) {
  return Loaded([&] {
    static const Host host;
    auto* options = new Options;
    std::vector<std::string> flags;
    for (const auto name : names) flags.push_back(fmt::format("probe.{}", name));
    for (const auto& flag : flags) {
      const FlagSpec spec[] = {{flag, FlagType::boolean, "true"}};
      options->declare(spec);
    }
    for (const auto name : names) {
      options->declare(info_of(name).flags);
      auto made = info_of(name).make(host, *options);
      if (!made) die(made.error().text);
      if ((*made)->status().starts_with("off")) die((*made)->status());
      made->release();  // NOLINT(bugprone-unused-return-value): it goes with the process
    }
  });
}

Loaded load_theirs(const char* tool) {
  return Loaded([tool] {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execlp(tool, tool, "100000", nullptr);
    _exit(127);
  });
}

std::int64_t cpu_clock_ns(pid_t pid) {
  clockid_t clock;
  timespec t{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) die("cpu clock");
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

// Two processes that hand a byte back and forth on one CPU, a chunk at a time.
class PingPong {
 public:
  PingPong() {
    int there[2], back[2], go[2], done[2];
    if (pipe(there) || pipe(back) || pipe(go) || pipe(done)) die("pipe");
    const auto begin = [&](auto&& body) {
      const pid_t pid = fork();
      if (pid != 0) return pid;
      cpu_set_t cpu;
      CPU_ZERO(&cpu);
      CPU_SET(static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN) - 1), &cpu);
      sched_setaffinity(0, sizeof cpu, &cpu);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) body();
    };
    first_ = begin([&] {
      char byte = 0;
      if (read(go[0], &byte, 1) != 1) _exit(0);
      for (int i = 0; i < kChunk / 2; ++i)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) _exit(1);
      if (write(done[1], &byte, 1) != 1) _exit(1);
    });
    second_ = begin([&] {
      char byte = 0;
      if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1) _exit(1);
    });
    go_ = Fd(go[1]), done_ = Fd(done[0]);
    for (const int fd : {there[0], there[1], back[0], back[1], go[0], done[1]}) close(fd);
  }
  PingPong(const PingPong&) = delete;
  PingPong& operator=(const PingPong&) = delete;
  ~PingPong() {
    for (const pid_t pid : {first_, second_}) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  // CPU nanoseconds per switch.
  double chunk() const {
    char byte = 0;
    const auto before = cpu_clock_ns(first_) + cpu_clock_ns(second_);
    if (write(go_.get(), &byte, 1) != 1 || read(done_.get(), &byte, 1) != 1) die("chunk");
    return static_cast<double>(cpu_clock_ns(first_) + cpu_clock_ns(second_) - before) / kChunk;
  }
  static constexpr int kChunk = 2500;

 private:
  pid_t first_, second_;
  Fd go_, done_;
};

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

// The median and where it lies with 95 % (order statistics).
struct Median {
  double low, median, high;
};
Median median_of(std::vector<double> v) {
  std::ranges::sort(v);
  const auto n = static_cast<double>(v.size());
  const auto at = [&](double i) { return v[static_cast<std::size_t>(std::clamp(i, 0.0, n - 1))]; };
  return {at(n / 2 - 0.98 * std::sqrt(n)), at(n / 2), at(n / 2 + 0.98 * std::sqrt(n))};
}

void bench_switch(int rounds) {
  struct Variant {
    const char* name;
    double most_of_empty, most_of_theirs;  // the goal; 0: none
    Loaded loaded;
    std::vector<double> ns = {};
  };
  std::vector<Variant> variants;
  variants.push_back({"vitald runq_latency: host and owner sums", 1.7, 0.18, load_ours({"runq_latency"})});
  variants.push_back({"+ owner_waits: cause, blame, histogram", 2.2, 0.22, load_ours({"runq_latency", "owner_waits"})});
  variants.push_back({"+ owner_peaks, migrations: everything", 2.5, 0.25,
                      load_ours({"runq_latency", "owner_waits", "owner_peaks", "migrations"})});
  variants.push_back({"runqlat", 0, 0, load_theirs("runqlat")});
  const bool have_theirs = variants.back().loaded.any();
  if (!have_theirs) variants.pop_back();
  const PingPong players;
  for (int i = 0; i < 20; ++i) players.chunk();
  std::vector<double> plain, nothing;
  std::mt19937 random(42);
  const int blocks = rounds * 20;
  std::vector<std::size_t> order(variants.size() + 1);
  std::iota(order.begin(), order.end(), 0u);
  for (int block = 0; block < blocks; ++block) {
    std::ranges::shuffle(order, random);
    auto before = players.chunk();
    for (const auto which : order) {
      double ns;
      if (which == variants.size()) {
        const Nothing program("sched_switch");
        ns = players.chunk();
      } else {
        const auto links = variants[which].loaded.attach();
        ns = players.chunk();
      }
      const auto after = players.chunk();
      (which == variants.size() ? nothing : variants[which].ns).push_back(ns - (before + after) / 2);
      plain.push_back(after);
      before = after;
    }
  }
  const auto empty = median_of(nothing).median;
  const auto theirs = have_theirs ? median_of(variants.back().ns).median : 0;
  fmt::print("CPU ns added per context switch, {} blocks of chunks of {} switches, median (95 %); without {:.0f}\n",
             blocks, PingPong::kChunk, median_of(plain).median);
  const auto print = [&](std::string_view name, const std::vector<double>& ns, double of_empty, double of_theirs,
                         std::size_t instructions) {
    const auto m = median_of(ns);
    fmt::print("  {:42} {:7.0f} ({:.0f}-{:.0f})  {:5.2f} x empty", name, m.median, m.low, m.high, m.median / empty);
    if (have_theirs) fmt::print("  {:.2f} of runqlat", m.median / theirs);
    if (of_empty > 0) fmt::print("   goal: at most {} and {}; {} instructions", of_empty, of_theirs, instructions);
    fmt::print("\n");
  };
  print("a program that does nothing", nothing, 0, 0, 2);
  for (const auto& v : variants) print(v.name, v.ns, v.most_of_empty, v.most_of_theirs, v.loaded.instructions());
  if (!have_theirs) fmt::print("  runqlat is not installed (libbpf-tools): no comparison\n");
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
