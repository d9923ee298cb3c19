// SPDX-License-Identifier: Apache-2.0
// What the probes cost per event, beside the tools of bcc that answer the same question. Everything runs in one
// program, interleaved: each round measures without probes, with ours and with theirs, in changing order, and the
// figures are differences within a round. Needs root; libbpf-tools for the comparison.
//
//   switch: two processes on one CPU hand a byte back and forth; CPU time per context switch (their own, user and
//           system, so that what else runs on the machine does not count). In chunks of some milliseconds: each is
//           compared with the two without a program beside it, and programs are only attached and detached in
//           between, loaded long before.
//   owners: the same among 200 processes, each in a cgroup of its own, so that every switch is to another owner.
//   io:     random 4 KiB O_DIRECT reads, one at a time. A read costs 20 times more CPU than a probe and varies by more
//           than that, so the figure is the kernel's own (bpf_stats) per read: all programs of a tool added up.
//   softirq, process: in the same way, per datagram over the loopback device, and per process that is started and ends.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
#include "sensors/owner/hierarchy.h"
#include "tests/bpf/load.h"

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
  // Together, as they are in one agent: those of one object share its programs.
  static std::vector<std::unique_ptr<Ours>> all(const std::vector<std::string>& names) {
    const auto host = std::make_shared<Host>();
    std::vector<std::unique_ptr<Ours>> probes;
    for (const auto& name : names) probes.push_back(std::make_unique<Ours>(name, names, host));
    return probes;
  }
  Ours(const std::string& name, const std::vector<std::string>& together, std::shared_ptr<Host> host)
      : host_(std::move(host)) {
    for (const auto& other : together) flags_.push_back("probe." + other);
    for (const auto& flag : flags_) {
      const FlagSpec spec[] = {{flag, FlagType::boolean, "true"}};
      options_.declare(spec);
    }
    const auto& info = info_of(name);
    options_.declare(info.flags);
    auto made = info.make(*host_, options_);
    if (!made) die(made.error().text);
    probe_ = std::move(*made);
    if (probe_->status().starts_with("off")) die(probe_->status());
  }

 private:
  std::shared_ptr<Host> host_;
  std::vector<std::string> flags_;  // Options keep views of their names
  Options options_;
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

// Processes that hand a byte around on one CPU, a chunk at a time; each in a cgroup of its own where there are some.
class Ring {
 public:
  explicit Ring(std::size_t players, const std::vector<std::unique_ptr<TestCgroup>>& cgroups = {}) {
    std::vector<std::array<int, 2>> pipes(players + 2);  // the last two: go, done
    for (auto& ends : pipes)
      if (pipe(ends.data())) die("pipe");
    const auto& go = pipes[players];
    const auto& done = pipes[players + 1];
    for (std::size_t i = 0; i < players; ++i) {
      const pid_t pid = fork();
      if (pid < 0) die("fork");
      if (pid != 0) {
        players_.push_back(pid);
        continue;
      }
      cpu_set_t cpu;
      CPU_ZERO(&cpu);
      CPU_SET(static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN) - 1), &cpu);
      sched_setaffinity(0, sizeof cpu, &cpu);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!cgroups.empty()) cgroups[i]->enter();
      const int in = pipes[i][0], out = pipes[(i + 1) % players][1];
      char byte = 0;
      for (;;) {
        if (i == 0) {
          if (read(go[0], &byte, 1) != 1) _exit(0);
          for (std::size_t n = 0; n < kChunk / players; ++n)
            if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1) _exit(1);
          if (write(done[1], &byte, 1) != 1) _exit(1);
        } else if (read(in, &byte, 1) != 1 || write(out, &byte, 1) != 1) {
          _exit(1);
        }
      }
    }
    go_ = Fd(go[1]), done_ = Fd(done[0]);
    close(go[0]), close(done[1]);
    for (std::size_t i = 0; i < players; ++i) close(pipes[i][0]), close(pipes[i][1]);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    for (const pid_t pid : players_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  // CPU nanoseconds per switch.
  double chunk() const {
    char byte = 0;
    const auto before = cpu_ns();
    if (write(go_.get(), &byte, 1) != 1 || read(done_.get(), &byte, 1) != 1) die("chunk");
    return static_cast<double>(cpu_ns() - before) / static_cast<double>(kChunk / players_.size() * players_.size());
  }
  static constexpr std::size_t kChunk = 2500;

 private:
  std::int64_t cpu_ns() const {
    std::int64_t sum = 0;
    for (const pid_t pid : players_) sum += cpu_clock_ns(pid);
    return sum;
  }
  std::vector<pid_t> players_;
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

// Nanoseconds in BPF programs per operation, of those programs that `others` does not know, their runs, and CPU time.
struct Cost {
  double bpf_ns = 0, events = 0, cpu_ns = 0;
};
Cost cost_of(int operations, const std::function<void()>& operation, const std::map<std::uint32_t, Stats>& others) {
  const Fd enabled(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!enabled) die("bpf_enable_stats");
  const auto before = programs();
  const auto cpu = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID);
  for (int i = 0; i < operations; ++i) operation();
  Cost c;
  c.cpu_ns = static_cast<double>(SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) - cpu) / operations;
  for (const auto& [id, after] : programs()) {
    if (others.contains(id)) continue;
    const auto first = before.contains(id) ? before.at(id) : Stats{};
    c.bpf_ns += static_cast<double>(after.run_ns - first.run_ns) / operations;
    c.events += static_cast<double>(after.runs - first.runs) / operations;
  }
  return c;
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

void bench_switch(int rounds, const Ring& players) {
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
             blocks, Ring::kChunk, median_of(plain).median);
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

// 200 owners, each of which runs before one of them comes again: most switches miss the per-CPU cache.
void bench_owners(int rounds) {
  const Host host;
  const auto hierarchy = cpu_hierarchy(host);
  std::vector<std::unique_ptr<TestCgroup>> cgroups;
  for (int i = 0; i < 200; ++i)
    cgroups.push_back(std::make_unique<TestCgroup>(hierarchy, fmt::format("vitald-bench-{}-{}", getpid(), i)));
  fmt::print("among {} owners, each switch to another one:\n", cgroups.size());
  const Ring players(cgroups.size(), cgroups);
  bench_switch(rounds, players);
}

// What one tool takes per operation, in each round beside all others.
struct Contender {
  std::string name;
  double most_of_theirs = 0, most_ns = 0;  // the goal; 0: none
  std::vector<std::string> ours = {};      // probes, or
  const char* theirs = nullptr;            // a tool of bcc, or
  std::vector<const char*> nothing = {};   // empty programs on these tracepoints
  std::vector<double> ns = {}, events = {};
};

void bench_stats(std::string_view what, int rounds, int operations, const std::function<void()>& operation,
                 std::vector<Contender> all) {
  std::vector<double> cpu;
  bool have_theirs = true;
  for (int round = 0; round < rounds; ++round) {
    const auto others = programs();
    cpu.push_back(cost_of(operations, operation, others).cpu_ns);
    for (auto& c : all) {
      std::vector<std::unique_ptr<Nothing>> nothing;
      std::vector<std::unique_ptr<Ours>> ours;
      std::unique_ptr<Theirs> theirs;
      for (const auto* tracepoint : c.nothing) nothing.push_back(std::make_unique<Nothing>(tracepoint));
      if (!c.ours.empty()) ours = Ours::all(c.ours);
      if (c.theirs) {
        theirs = std::make_unique<Theirs>(c.theirs);
        if (!theirs->running()) {
          have_theirs = false;
          continue;
        }
      }
      const auto cost = cost_of(operations, operation, others);
      c.ns.push_back(cost.bpf_ns), c.events.push_back(cost.events);
    }
  }
  double theirs = 0;
  for (const auto& c : all)
    if (c.theirs && have_theirs) theirs = spread(c.ns).median;
  fmt::print("BPF ns per {}, {} rounds of {}, median (quartiles); one costs {:.0f} ns of CPU without\n", what, rounds,
             operations, spread(cpu).median);
  for (const auto& c : all) {
    if (c.ns.empty()) {
      fmt::print("  {:34} is not installed (libbpf-tools): no comparison\n", c.name);
      continue;
    }
    const auto n = spread(c.ns);
    fmt::print("  {:34} {:7.0f} ({:.0f}-{:.0f}) in {:.2f} runs", c.name, n.median, n.q1, n.q3, spread(c.events).median);
    if (theirs > 0 && !c.theirs) fmt::print("  {:.2f} of theirs", n.median / theirs);
    if (c.most_of_theirs > 0) fmt::print("   goal: at most {}", c.most_of_theirs);
    if (c.most_ns > 0) fmt::print("   goal: at most {} ns", c.most_ns);
    fmt::print("\n");
  }
}

void bench_io(int rounds) {
  const File file;
  std::mt19937 random(42);
  std::uniform_int_distribution<std::size_t> page(0, kFileBytes / 4096 - 1);
  bench_stats(
      "read of 4 KiB", rounds, kReads,
      [&] {
        if (pread(file.fd.get(), file.buffer.get(), 4096, static_cast<off_t>(page(random) * 4096)) != 4096)
          die(file.path);
      },
      {{.name = "nothing", .nothing = {"block_rq_complete"}},
       {.name = "vitald block_latency", .ours = {"block_latency"}},
       {.name = "vitald block_latency and owner_io", .most_of_theirs = 0.3, .ours = {"block_latency", "owner_io"}},
       {.name = "biolatency", .theirs = "biolatency"}});
}

void bench_softirq(int rounds) {
  const Fd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in self{};
  self.sin_family = AF_INET;
  self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof self;
  auto* address = reinterpret_cast<sockaddr*>(&self);  // NOLINT: the interface of socket(2)
  if (bind(socket_fd.get(), address, size) != 0 || getsockname(socket_fd.get(), address, &size) != 0 ||
      connect(socket_fd.get(), address, size) != 0)
    die("a socket to itself");
  bench_stats("datagram over lo", rounds, 20'000,
              [&] {
                char byte = 0;
                if (send(socket_fd.get(), &byte, 1, 0) != 1 || recv(socket_fd.get(), &byte, 1, 0) != 1) die("datagram");
              },
              {{.name = "nothing", .nothing = {"softirq_entry", "softirq_exit"}},
               {.name = "vitald softirq_latency", .most_of_theirs = 0.9, .ours = {"softirq_latency"}},
               {.name = "softirqs", .theirs = "softirqs"}});
}

void bench_process(int rounds) {
  bench_stats("process: fork, exec, exit", rounds, 500,
              [] {
                char name[] = "/bin/true";
                char* args[] = {name, nullptr};
                pid_t pid = -1;
                errno = posix_spawn(&pid, name, nullptr, nullptr, args, environ);
                if (errno != 0 || waitpid(pid, nullptr, 0) != pid) die(name);
              },
              {{.name = "nothing", .nothing = {"sched_process_fork", "sched_process_exec", "sched_process_exit"}},
               {.name = "vitald process_life", .most_ns = 1500, .ours = {"process_life"}}});
}

}  // namespace
}  // namespace vitald

// bpf_bench [switch|owners|io|softirq|process|all] [rounds]
int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "all";
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 9;
  if (geteuid() != 0) {
    fmt::print("bpf: skipped, needs root to load BPF programs\n");
    return 0;
  }
  if (what == "switch" || what == "all") vitald::bench_switch(rounds, vitald::Ring(2));
  if (what == "owners" || what == "all") vitald::bench_owners(rounds);
  if (what == "io" || what == "all") vitald::bench_io(rounds);
  if (what == "softirq" || what == "all") vitald::bench_softirq(rounds);
  if (what == "process" || what == "all") vitald::bench_process(rounds);
}
