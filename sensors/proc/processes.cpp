// SPDX-License-Identifier: Apache-2.0
// Processes and threads by state, and their limits, from all of /proc.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_processes_threads", gauge, "Allocated threads in system", "", "", "/proc/*/stat"},
    {"node_processes_max_threads", gauge, "Limit of threads in the system", "", "", "/proc/sys/kernel/threads-max"},
    {"node_processes_state", gauge, "Number of processes in each state.", "state", "", "/proc/*/stat"},
    {"node_processes_threads_state", gauge, "Number of threads in each state.", "thread_state", "",
     "/proc/*/task/*/stat"},
    {"node_processes_pids", gauge, "Number of PIDs", "", "", "/proc"},
    {"node_processes_max_processes", gauge, "Number of max PIDs limit", "", "", "/proc/sys/kernel/pid_max"},
};

constexpr const MetricDesc& kThreads = row(kMetrics, "node_processes_threads");
constexpr const MetricDesc& kMaxThreads = row(kMetrics, "node_processes_max_threads");
constexpr const MetricDesc& kProcessStates = row(kMetrics, "node_processes_state");
constexpr const MetricDesc& kThreadStates = row(kMetrics, "node_processes_threads_state");
constexpr const MetricDesc& kPids = row(kMetrics, "node_processes_pids");
constexpr const MetricDesc& kMaxProcesses = row(kMetrics, "node_processes_max_processes");

using States = std::array<std::uint32_t, 128>;  // by the letter

struct Stat {
  char state;
  std::uint64_t threads;
};

// "10 (my (odd) name) S 1 10 10 0 -1 4194560 ... 1 0 ...": the name may hold anything, so from its last ')';
// the state is the third field, num_threads the twentieth
std::optional<Stat> read_stat(int folder, const char* path, LeftOut& left_out) {
  const Fd fd{::openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd) return std::nullopt;  // ended since it was listed
  char buf[1024];
  const ssize_t n = ::read(fd.get(), buf, sizeof buf);
  if (n < 0) return std::nullopt;
  std::string_view text(buf, static_cast<std::size_t>(n));
  const auto name_end = text.rfind(')');
  const auto bad = [&] {
    left_out.add(malformed(std::string("process ") + path, trim(std::string_view(buf, static_cast<std::size_t>(n))),
                           "'pid (name) S' and numbers"));
    return std::nullopt;
  };
  if (name_end == text.npos) return bad();
  text.remove_prefix(name_end + 1);
  const auto state = take_word(text);
  for (int skipped = 4; skipped < 20; ++skipped) take_word(text);
  const auto threads = parse_u64(take_word(text));
  if (state.size() != 1 || static_cast<unsigned char>(state[0]) >= 128 || !threads) return bad();
  return Stat{state[0], *threads};
}

// The numeric names in an open folder.
template <class Each>
Result<> each_number(Fd fd, const std::string& path, Each each) {
  const Handle<DIR, &closedir> dir{fdopendir(fd.get())};
  if (!dir) return fail(from_errno(path, errno));
  (void)fd.release();
  while (const dirent* entry = readdir(dir.get()))
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') each(dirfd(dir.get()), entry->d_name);
  return {};
}

class Processes final : public Collector {
 public:
  explicit Processes(const Host& host)
      : proc_(host.procfs("")),
        of_kernel_(host.view().kernel),
        other_pids_(host.view().kernel && !host.view().pids),
        max_threads_(host.procfs("sys/kernel/threads-max"), KernelFile::Read::sysctl),
        max_pids_(host.procfs("sys/kernel/pid_max"), KernelFile::Read::sysctl) {}

  Result<> collect(BatchWriter& out) override {
    std::uint64_t pids = 0, threads = 0;
    States states{}, thread_states{};
    LeftOut left_out;
    Fd proc{::open(proc_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!proc) return fail(from_errno(proc_, errno));
    auto listed = each_number(std::move(proc), proc_, [&](int folder, const char* pid) {
      char path[64];
      const auto stat = read_stat(folder, join(path, pid, "/stat"), left_out);
      if (!stat) return;
      ++pids;
      ++states[static_cast<unsigned char>(stat->state)];
      threads += stat->threads;
      count_threads(folder, pid, *stat, thread_states, left_out);
    });
    if (!listed) return listed;
    out.set(kThreads, static_cast<double>(threads));
    left_out.add(emit(max_threads_, kMaxThreads, out));
    emit(states, kProcessStates, out);
    emit(thread_states, kThreadStates, out);
    out.set(kPids, static_cast<double>(pids));
    // Since Linux 6.14 each PID namespace has its own, and whoever reads it reads that of his.
    if (!other_pids_) left_out.add(emit(max_pids_, kMaxProcesses, out));
    return left_out.outcome();
  }

 private:
  template <std::size_t N>
  static const char* join(char (&buf)[N], std::string_view a, std::string_view b) {
    if (a.size() + b.size() >= N) return "";
    a.copy(buf, a.size());
    b.copy(buf + a.size(), b.size());
    buf[a.size() + b.size()] = '\0';
    return buf;
  }

  void count_threads(int folder, const char* pid, const Stat& process, States& states, LeftOut& left_out) const {
    // Of a process with one thread everything is known already.
    if (of_kernel_ && process.threads == 1) {
      ++states[static_cast<unsigned char>(process.state)];
      return;
    }
    char path[64];
    Fd tasks{::openat(folder, join(path, pid, "/task"), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!tasks) return;
    // Threads that end meanwhile are left out, as a process that ends is.
    (void)each_number(std::move(tasks), proc_, [&](int task_folder, const char* tid) {
      if (std::string_view(tid) == pid) {
        ++states[static_cast<unsigned char>(process.state)];
        return;
      }
      char stat_path[64];
      if (const auto stat = read_stat(task_folder, join(stat_path, tid, "/stat"), left_out))
        ++states[static_cast<unsigned char>(stat->state)];
    });
  }

  static void emit(const States& states, const MetricDesc& desc, BatchWriter& out) {
    for (std::size_t i = 0; i < states.size(); ++i) {
      const char letter = static_cast<char>(i);
      if (states[i] != 0) out.set(desc, states[i], std::string_view(&letter, 1));
    }
  }
  static Result<> emit(KernelFile& file, const MetricDesc& desc, BatchWriter& out) {
    const auto text = file.read();
    if (!text) return fail(text.error());
    const auto n = parse_u64(trim(*text));
    if (!n) return malformed(file.path(), trim(*text), "a number");
    out.set(desc, static_cast<double>(*n));
    return {};
  }

  std::string proc_;
  bool of_kernel_, other_pids_;
  KernelFile max_threads_, max_pids_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Processes>(host); }

}  // namespace

extern const CollectorInfo collector_processes;
const CollectorInfo collector_processes{kMetrics, {}, make};

}  // namespace vitald
