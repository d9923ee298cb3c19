// SPDX-License-Identifier: Apache-2.0
#include "sensors/service/exec_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/os/privileges.h"
#include "core/os/process.h"
#include "core/os/program.h"
#include "core/os/program_start.h"
#include "core/text/scan.h"
#include "sensors/read/exposition_size.h"
#include "sensors/read/open_metrics.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kPatience = 300 * kMs;  // from SIGTERM to SIGKILL, and until it counts as stuck
constexpr std::size_t kMostError = 4096;
constexpr std::size_t kMostLines = 200'000;  // of 20 bytes each they are kMostOutput

std::int64_t now_ns() { return SystemClock::read(CLOCK_BOOTTIME); }

struct Pipe {
  Fd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(from_errno("pipe", errno));
  Pipe pipe{Fd(fds[0]), Fd(fds[1])};
  if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) return fail(from_errno("pipe: fcntl", errno));
  return pipe;
}

// One program and the run of it that is going on.
struct Job {
  enum class Phase : std::uint8_t { rests, starts, runs, asked_to_end, killed, stuck };
  const ExecProgram* program = nullptr;
  Phase phase = Phase::rests;
  std::optional<ProgramStart> starting = {};  // until there is a process, in whatever phase
  Process process = {};
  Fd out = {}, err = {};
  std::string output = {}, error = {};
  bool too_much = false, late = false, ran = false;
  std::int64_t begin_ns = 0, until_ns = 0, next_ns = 0;
};

// False: it is closed.
bool read_some(const Fd& fd, std::string& into, std::size_t most, bool keep_end, bool& too_much) {
  for (int i = 0; i < 64; ++i) {
    char chunk[16384];
    const auto n = ::read(fd.get(), chunk, sizeof chunk);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    into.append(chunk, static_cast<std::size_t>(n));
    if (into.size() <= most) continue;
    if (keep_end) {
      into.erase(0, into.size() - most);
    } else {
      too_much = true;
      into.clear();
    }
  }
  return true;
}

// On a thread of its own: its file, or what knows the users, may be on a server that does not answer.
Result<Process> start(const ExecProgram& program, const Fd& out, const Fd& err, ProcessBirth& birth) {
  ProcessSettings p;
  p.path = program.command[0];
  p.arguments = program.command;
  const char* lang = std::getenv("LANG");
  p.environment = {fmt::format("PATH={}", kProgramPath), fmt::format("LANG={}", lang ? lang : "C.UTF-8"),
                   "VITALD_EXEC=" + program.name};
  p.directory = "/";
  // As hooks: without a name as nobody, where that can be. Who names root wants what root may.
  using enum ProcessSettings::Privileges;
  const bool leave_root = geteuid() == 0 && has_capability(CAP_SETUID);
  p.privileges = geteuid() == 0 && !leave_root ? nothing_for_good : nothing;
  if (!program.user.empty() || leave_root) {
    auto user = find_user(program.user.empty() ? "nobody" : program.user);
    if (!user) return fail(std::move(user.error()));
    p.user = *user;
    if (user->uid == geteuid()) p.privileges = ours;
  }
  p.out = out.get();
  p.err = err.get();
  // A pipe belongs to its maker; without this `echo >/dev/stderr` is refused to another user.
  if (p.user && (fchown(p.out, p.user->uid, p.user->gid) != 0 || fchown(p.err, p.user->uid, p.user->gid) != 0))
    return fail(from_errno("pipe: chown", errno));
  return Process::start(p, birth);
}

Result<> begin_start(Job& job) {
  auto out = make_pipe(), err = make_pipe();
  if (!out) return fail(std::move(out.error()));
  if (!err) return fail(std::move(err.error()));
  const auto ends = std::make_shared<std::pair<Fd, Fd>>(std::move(out->write), std::move(err->write));
  auto starting = ProgramStart::begin(
      [program = *job.program, ends](ProcessBirth& birth) { return start(program, ends->first, ends->second, birth); });
  if (!starting) return fail(std::move(starting.error()));
  job.starting.emplace(std::move(*starting));
  job.out = std::move(out->read);
  job.err = std::move(err->read);
  return {};
}

std::string last_line(std::string_view text) {
  text = trim(text);
  if (const auto at = text.rfind('\n'); at != text.npos) text.remove_prefix(at + 1);
  return std::string(text.substr(0, 200));
}

std::size_t series_of(const Exposition& content) {
  std::size_t n = 0;
  for (const auto& family : content.families) n += family.series.size();
  return n;
}

}  // namespace

const char* to_string(ExecRunner::Outcome outcome) {
  switch (outcome) {
    case ExecRunner::Outcome::ok: return "ok";
    case ExecRunner::Outcome::failed: return "failed";
    case ExecRunner::Outcome::timeout: return "timeout";
    case ExecRunner::Outcome::refused: return "refused";
    case ExecRunner::Outcome::not_started: return "not_started";
  }
  return "";
}

// Its thread has it too: one that hangs outlives the runner.
struct ExecRunner::Impl {
  explicit Impl(std::vector<ExecProgram> p)
      : programs(std::move(p)), stop_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), states(programs.size()) {}

  const std::vector<ExecProgram> programs;
  const Fd stop_fd;
  Mutex mutex;
  CondVar changed;
  std::vector<State> states GUARDED_BY(mutex);
  bool started GUARDED_BY(mutex) = false, done GUARDED_BY(mutex) = false;

  void run() {
    std::vector<Job> jobs;
    for (const auto& program : programs) jobs.push_back({.program = &program});
    for (;;) {
      auto wake_ns = INT64_MAX;
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        look(i, jobs[i]);
        wake_ns = std::min(wake_ns, jobs[i].phase == Job::Phase::rests ? jobs[i].next_ns : jobs[i].until_ns);
      }
      if (wait(jobs, wake_ns)) break;
    }
    end(jobs);
    const MutexLock lock(mutex);
    done = true;
    changed.notify_all();
  }

  // What is due of one: start it, read it, end it.
  void look(std::size_t i, Job& job) {
    const auto now = now_ns();
    if (job.phase == Job::Phase::rests) {
      if (now >= job.next_ns) begin(i, job, now);
      return;
    }
    if (job.starting && job.starting->done() && !is_born(i, job, now)) return;
    bool ignored = false;
    if (job.out && !read_some(job.out, job.output, kMostOutput, false, job.too_much)) job.out.reset();
    if (job.err && !read_some(job.err, job.error, kMostError, true, ignored)) job.err.reset();
    if (job.too_much && job.phase == Job::Phase::runs) ask_to_end(job, now);
    pollfd ended{job.process.pidfd(), POLLIN, 0};
    if (poll(&ended, 1, 0) == 1) {
      if (job.out) read_some(job.out, job.output, kMostOutput, false, job.too_much);
      if (job.err) read_some(job.err, job.error, kMostError, true, ignored);
      const bool told = job.phase == Job::Phase::stuck;
      job.process.signal_group(SIGKILL);  // whoever is left of the group
      const auto exit = job.process.reap();
      if (!told) judge(i, job, exit, now);
      rest(job, now);
      return;
    }
    if (now < job.until_ns) return;
    switch (job.phase) {
      case Job::Phase::starts:
        job.late = true;
        job.starting->give_up();
        job.phase = Job::Phase::killed;
        job.until_ns = now + kPatience;
        break;
      case Job::Phase::runs:
        job.late = true;
        ask_to_end(job, now);
        break;
      case Job::Phase::asked_to_end:
        job.process.signal_group(SIGKILL);
        job.phase = Job::Phase::killed;
        job.until_ns = now + kPatience;
        break;
      case Job::Phase::killed:  // in state D: there is never a second one beside it
        job.phase = Job::Phase::stuck;
        job.until_ns = INT64_MAX;
        judge(i, job, std::nullopt, now);
        break;
      case Job::Phase::stuck:
      case Job::Phase::rests: break;
    }
  }

  void begin(std::size_t i, Job& job, std::int64_t now) {
    job.output.clear();
    job.error.clear();
    job.too_much = job.late = job.ran = false;
    job.begin_ns = now;
    job.next_ns = now + job.program->every_ns;
    if (const auto begun = begin_start(job); !begun) {
      tell(i, Outcome::not_started, begun.error().text, 0, 0, nullptr);
      return;
    }
    job.phase = Job::Phase::starts;
    job.until_ns = now + job.program->timeout_ns;
  }

  // There is a process, or there will be none: false.
  bool is_born(std::size_t i, Job& job, std::int64_t now) {
    auto process = job.starting->take();
    job.starting.reset();
    if (process) {
      job.process = std::move(*process);
      if (job.phase == Job::Phase::starts) job.phase = Job::Phase::runs, job.ran = true;
      return true;
    }
    if (job.phase != Job::Phase::stuck)  // else it is told
      tell(i, job.late ? Outcome::timeout : Outcome::not_started, process.error().text, now - job.begin_ns, 0, nullptr);
    rest(job, now);
    return false;
  }

  static void ask_to_end(Job& job, std::int64_t now) {
    job.process.signal_group(SIGTERM);
    job.phase = Job::Phase::asked_to_end;
    job.until_ns = now + kPatience;
  }

  static void rest(Job& job, std::int64_t now) {
    job.phase = Job::Phase::rests;
    job.out.reset();
    job.err.reset();
    job.output = std::string();  // it may have been much
    job.next_ns = std::max(job.next_ns, now);
  }

  // `exit`: none where it cannot be killed.
  void judge(std::size_t i, const Job& job, const std::optional<ProcessExit>& exit, std::int64_t now) {
    const auto took = now - job.begin_ns, cpu = exit ? exit->cpu_ns : 0;
    const auto& program = *job.program;
    if (job.too_much)
      return tell(i, Outcome::refused, fmt::format("prints more than {} bytes", kMostOutput), took, cpu, nullptr);
    if (job.late || !exit)
      return tell(
          i, Outcome::timeout,
          fmt::format("no end within {} ms, {}{}", program.timeout_ns / kMs, exit ? "killed" : "cannot be killed",
                      job.ran ? "" : "; it did not even start, as where its file is on a server that does not answer"),
          took, cpu, nullptr);
    if (!exit->ok()) {
      const auto said = last_line(job.error);
      return tell(i, Outcome::failed, said.empty() ? exit->text() : fmt::format("{}: {}", exit->text(), said), took,
                  cpu, nullptr);
    }
    // Parsed it takes many times the memory, also where it turns out to be one series again and again.
    if (const auto size = exposition_size(job.output); size.samples + size.comments > kMostLines)
      return tell(i, Outcome::refused, fmt::format("prints more than {} lines", kMostLines), took, cpu, nullptr);
    auto parsed = parse_any_exposition(job.output);
    if (!parsed) return tell(i, Outcome::refused, "its output: " + parsed.error().text, took, cpu, nullptr);
    if (parsed->timestamps)
      return tell(i, Outcome::refused, "its output: timestamps are not supported", took, cpu, nullptr);
    if (const auto n = series_of(*parsed); n > program.max_series)
      return tell(i, Outcome::refused, fmt::format("prints {} series, at most {} are taken", n, program.max_series),
                  took, cpu, nullptr);
    tell(i, Outcome::ok, {}, took, cpu, std::make_shared<const Exposition>(std::move(*parsed)));
  }

  void tell(std::size_t i, Outcome outcome, std::string why, std::int64_t took, std::int64_t cpu,
            std::shared_ptr<const Exposition> content) {
    const MutexLock lock(mutex);
    auto& s = states[i];
    ++s.runs[static_cast<std::size_t>(outcome)];
    s.ended = true;
    s.ok = outcome == Outcome::ok;
    s.why = std::move(why);
    s.last_ns = took;
    s.cpu_ns += cpu;
    if (content) {
      s.content = std::move(content);
      s.content_boot_ns = now_ns();
      s.content_wall_ns = SystemClock::read(CLOCK_REALTIME);
    }
    changed.notify_all();
  }

  // True: all is to end.
  [[nodiscard]] bool wait(const std::vector<Job>& jobs, std::int64_t until_ns) const {
    std::vector<pollfd> p{{stop_fd.get(), POLLIN, 0}};
    for (const auto& job : jobs) {
      if (job.phase == Job::Phase::rests) continue;
      p.push_back({job.starting ? job.starting->fd() : job.process.pidfd(), POLLIN, 0});
      p.push_back({job.out.get(), POLLIN, 0});  // a negative one is ignored
      p.push_back({job.err.get(), POLLIN, 0});
    }
    constexpr std::int64_t kMostMs = 3'600'000;
    const auto left_ms = until_ns == INT64_MAX ? kMostMs : (until_ns - now_ns()) / kMs + 1;
    poll(p.data(), p.size(), static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, kMostMs)));
    return p[0].revents != 0;
  }

  static void end(std::vector<Job>& jobs) {
    for (auto& job : jobs) job.starting.reset();  // its thread kills what comes of it
    for (auto& job : jobs)
      if (job.process.running()) job.process.signal_group(SIGTERM);
    const auto until_ns = now_ns() + kPatience;
    for (auto& job : jobs) {
      if (!job.process.running() || job.process.wait(std::max<std::int64_t>(0, until_ns - now_ns()))) continue;
      job.process.signal_group(SIGKILL);
      job.process.wait(20 * kMs);
    }
  }
};

ExecRunner::ExecRunner(std::vector<ExecProgram> programs) : impl_(std::make_shared<Impl>(std::move(programs))) {}

ExecRunner::~ExecRunner() {
  const std::uint64_t one = 1;
  if (::write(impl_->stop_fd.get(), &one, sizeof one) < 0)
    log::error("exec: its thread cannot be told to end", {{"err", from_errno("eventfd", errno).text}});
  MutexLock lock(impl_->mutex);
  if (!impl_->started) return;
  const auto until_ns = now_ns() + 2 * kPatience;
  while (!impl_->done && now_ns() < until_ns) impl_->changed.wait_for_ns(lock, until_ns - now_ns());
}

const std::vector<ExecProgram>& ExecRunner::programs() const { return impl_->programs; }

std::vector<ExecRunner::State> ExecRunner::states(std::int64_t first_wait_ns) {
  MutexLock lock(impl_->mutex);
  if (!impl_->started) {
    impl_->started = true;
    try {
      std::thread([impl = impl_] {
        pthread_setname_np(pthread_self(), "exec");
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        impl->run();
      }).detach();
    } catch (const std::exception& e) {  // TasksMax=, no memory: with the next call
      impl_->started = false;
      log::error("exec: no thread to be had", {{"err", e.what()}});
    }
    const auto until_ns = now_ns() + first_wait_ns;
    while (std::ranges::any_of(impl_->states, [](const State& s) { return !s.ended; }) && now_ns() < until_ns)
      impl_->changed.wait_for_ns(lock, until_ns - now_ns());
  }
  return impl_->states;
}

}  // namespace vitald
