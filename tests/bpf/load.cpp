// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "core/clock.h"

namespace vitald {
namespace {

Truth now() {
  Truth t;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("voluntary_ctxt_switches:")) t.voluntary = std::stoull(line.substr(24));
    if (line.starts_with("nonvoluntary_ctxt_switches:")) t.involuntary = std::stoull(line.substr(27));
  }
  std::ifstream("/proc/self/schedstat") >> t.cpu_ns >> t.delay_ns;
  return t;
}

// Where the hierarchy is mounted; empty when it is not.
std::string mount_of(V1Hierarchy::Controller controller) {
  constexpr const char* kNames[] = {"", "cpuacct", "cpu", "memory"};
  const std::string option = kNames[static_cast<std::size_t>(controller)];
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type, options;
    words >> device >> where >> type >> options;
    if (option.empty() ? type == "cgroup2"
                       : type == "cgroup" && ("," + options + ",").find("," + option + ",") != std::string::npos)
      return where;
  }
  return {};
}

}  // namespace

Truth& Truth::operator+=(const Truth& o) {
  voluntary += o.voluntary;
  involuntary += o.involuntary;
  cpu_ns += o.cpu_ns;
  delay_ns += o.delay_ns;
  return *this;
}

TestCgroup::TestCgroup(const V1Hierarchy& v1, const std::string& name)
    : path_("/" + name), v2_(mount_of(V1Hierarchy::Controller::none)) {
  const auto mount = mount_of(v1.controller);
  directory_ = mount + path_;
  if (mkdir(directory_.c_str(), 0755) != 0) throw std::runtime_error(directory_ + ": " + std::strerror(errno));
  if (v1.controller == V1Hierarchy::Controller::none) std::ofstream(mount + "/cgroup.subtree_control") << "+memory";
}

void TestCgroup::enter() const {
  if (!v2_.empty()) std::ofstream(v2_ + "/cgroup.procs") << getpid();  // a place on v2 would come first
  take(getpid());
}

void TestCgroup::set(const std::string& file, const std::string& value) const {
  std::ofstream out(directory_ + "/" + file);
  out << value << std::flush;
  if (!out) throw std::runtime_error(directory_ + "/" + file + ": cannot write " + value);
}

void TestCgroup::take(pid_t pid) const { set("cgroup.procs", std::to_string(pid)); }

void TestCgroup::remove() {
  // The kernel may still be taking an exited task out of it.
  for (int i = 0; !directory_.empty() && i < 100; ++i) {
    if (rmdir(directory_.c_str()) == 0 || errno == ENOENT) break;
    usleep(10'000);
  }
  directory_.clear();
}

Child::Child(const TestCgroup& cgroup, int cpu, const std::function<void()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    close(ends[0]);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    sched_setaffinity(0, sizeof set, &set);
    cgroup.enter();
    usleep(1000);  // a slice in two cgroups is parted by a clock that may be a tick old: begin one here
    const auto before = now();
    body();
    auto after = now();
    after.voluntary -= before.voluntary;
    after.involuntary -= before.involuntary;
    after.cpu_ns -= before.cpu_ns;
    after.delay_ns -= before.delay_ns;
    _exit(write(ends[1], &after, sizeof after) == sizeof after ? 0 : 1);
  }
  close(ends[1]);
  report_ = ends[0];
}

Truth Child::finish() {
  Truth t;
  if (read(report_, &t, sizeof t) != sizeof t) t = {};
  waitpid(pid_, &status_, 0);
  pid_ = -1;
  return t;
}

std::uint64_t Child::cpu_ns() const {
  std::uint64_t ns = 0;
  std::ifstream(fmt::format("/proc/{}/schedstat", pid_)) >> ns;
  return ns;
}

std::int64_t Child::clock_ns() const {
  clockid_t clock = 0;
  if (clock_getcpuclockid(pid_, &clock) != 0) throw std::runtime_error("clock_getcpuclockid");
  return SystemClock::read(clock);
}

Child::~Child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(report_);
}

Truth ping_pong(const TestCgroup& cgroup, int round_trips, int spin_ms) {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) throw std::runtime_error("pipe");
  const auto player = [=](int in, int out, bool first) {
    return [=] {
      char byte = 0;
      for (int i = 0; i < round_trips; ++i) {
        if (first && write(out, &byte, 1) != 1) _exit(1);
        if (read(in, &byte, 1) != 1) _exit(1);
        if (!first && write(out, &byte, 1) != 1) _exit(1);
      }
      const auto end = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) + spin_ms * 1'000'000ll;
      while (SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) < end) {
      }
    };
  };
  const int cpu = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  Child a(cgroup, cpu, player(back[0], there[1], true)), b(cgroup, cpu, player(there[0], back[1], false));
  auto truth = a.finish();
  truth += b.finish();
  for (const int fd : {there[0], there[1], back[0], back[1]}) close(fd);
  return truth;
}

}  // namespace vitald
