// SPDX-License-Identifier: Apache-2.0
#include "core/os/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <new>

#include "core/os/privileges.h"

namespace vitald {
namespace {

#ifndef P_PIDFD
constexpr auto P_PIDFD = static_cast<idtype_t>(3);
#endif

// Raw calls: the library's setresuid() wants every thread it knows to follow (nptl setxid), and they are not here.
int become(const ProcessUser& user) {
  if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, user.gid, user.gid, user.gid) != 0) return -1;
  return static_cast<int>(syscall(SYS_setresuid, user.uid, user.uid, user.uid));
}

struct Unmap {
  std::size_t size;
  void operator()(void* page) const {
    if (page != MAP_FAILED) munmap(page, size);
  }
};

std::vector<char*> c_strings(const std::vector<std::string>& list) {
  std::vector<char*> out;
  out.reserve(list.size() + 1);
  for (const auto& s : list) out.push_back(const_cast<char*>(s.c_str()));  // execve's prototype; not written to
  out.push_back(nullptr);
  return out;
}

}  // namespace

// All that the child needs, made beforehand: other threads may hold locks of the allocator, so it may not
// allocate. Lies in memory that both share, for the answer.
struct Process::Plan {
  ProcessBirth::Child child;
  const char* path = nullptr;
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  const char* directory = nullptr;  // null: stay
  int fds[4] = {};
  int count = 3;  // of them
  bool switch_user = false;
  ProcessUser user;
  ProcessSettings::Privileges privileges = ProcessSettings::Privileges::ours;
  std::uint64_t keep_capabilities = 0;
  int death_signal = 0;
  pid_t parent = -1;
  sigset_t mask{};
  int error = 0;  // the child's answer; it stays 0 when exec worked
  const char* step = "";
};

int Process::refuse(Plan& plan, const char* step) {
  plan.error = errno;
  plan.step = step;
  _exit(127);
}

// Runs between clone and exec while our thread waits.
int Process::child_main(void* argument) {
  Plan& plan = *static_cast<Plan*>(argument);
  plan.child.pid = getpid();
  if (plan.child.unwanted) _exit(127);
  // No handler of ours may run here. Ignored signals would stay ignored across exec.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int s = 1; s < _NSIG; ++s) sigaction(s, &standard, nullptr);  // fails for SIGKILL, SIGSTOP and libc's own

  if (setpgid(0, 0) != 0) return refuse(plan, "setpgid");
  for (int target = 0; target < plan.count; ++target) {
    int& fd = plan.fds[target];
    fd = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : fd;
    if (fd >= 0) fd = fcntl(fd, F_DUPFD_CLOEXEC, plan.count);  // out of the way of the targets
    if (fd < 0) return refuse(plan, "standard descriptors");
  }
  for (int target = 0; target < plan.count; ++target)
    if (dup2(plan.fds[target], target) < 0) return refuse(plan, "standard descriptors");
  // ENOSYS or EPERM below an old seccomp profile
  if (syscall(SYS_close_range, static_cast<unsigned>(plan.count), ~0U, 0U) != 0)
    for (int fd = plan.count; fd < 4096; ++fd) close(fd);
  if (plan.directory && chdir(plan.directory) != 0) return refuse(plan, "chdir");
  if (plan.switch_user && become(plan.user) != 0) return refuse(plan, "change of user (CAP_SETUID, CAP_SETGID)");
  using enum ProcessSettings::Privileges;
  if (plan.privileges != ours && !give_up_privileges(plan.privileges == nothing_for_good, plan.keep_capabilities))
    return refuse(plan, "giving up privileges");
  if (plan.death_signal != 0) {  // after the change of user, which would clear it
    if (prctl(PR_SET_PDEATHSIG, plan.death_signal) != 0) return refuse(plan, "PR_SET_PDEATHSIG");
    if (getppid() != plan.parent) _exit(127);
  }
  sigprocmask(SIG_SETMASK, &plan.mask, nullptr);
  execve(plan.path, plan.argv, plan.envp);
  return refuse(plan, "exec");
}

bool ProcessBirth::begin(Child& child) {
  const MutexLock lock(mutex_);
  child_ = &child;
  return !unwanted_;
}

void ProcessBirth::over() {
  const MutexLock lock(mutex_);
  child_ = nullptr;
}

void ProcessBirth::end() {
  const MutexLock lock(mutex_);
  unwanted_ = true;
  if (!child_) return;
  child_->unwanted = true;                                         // it looks after it has said its number
  if (const pid_t pid = child_->pid; pid > 0) kill(pid, SIGKILL);  // nobody reaps it before over()
}

std::string ProcessExit::text() const {
  return signal != 0 ? fmt::format("signal {} ({})", signal, strsignal(signal)) : fmt::format("exit status {}", status);
}

Result<ProcessUser> find_user(const std::string& name) {
  std::vector<char> buffer(16384);
  passwd entry{}, *found = nullptr;
  const int err = getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (err != 0) return fail(from_errno(fmt::format("user '{}'", name), err));
  if (!found) return fail(Errc::absent, fmt::format("user '{}': no such user", name));
  return ProcessUser{entry.pw_uid, entry.pw_gid};
}

Result<Process> Process::start(const ProcessSettings& settings, ProcessBirth& birth) {
  constexpr std::size_t kStackBytes = 64 * 1024;
  const auto argv = c_strings(settings.arguments), envp = c_strings(settings.environment);
  const std::unique_ptr<void, Unmap> page(
      mmap(nullptr, sizeof(Plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), Unmap{sizeof(Plan)});
  if (page.get() == MAP_FAILED) return fail(from_errno(fmt::format("{}: mmap", settings.path), errno));
  Plan& plan = *new (page.get()) Plan;
  plan.path = settings.path.c_str();
  plan.argv = argv.data();
  plan.envp = envp.data();
  plan.directory = settings.directory.empty() ? nullptr : settings.directory.c_str();
  plan.fds[0] = settings.in, plan.fds[1] = settings.out, plan.fds[2] = settings.err, plan.fds[3] = settings.more;
  plan.count = settings.more < 0 ? 3 : 4;
  plan.switch_user = settings.user && (settings.user->uid != geteuid() || settings.user->gid != getegid());
  plan.user = settings.user.value_or(ProcessUser{});
  plan.privileges = settings.privileges;
  plan.keep_capabilities = settings.keep_capabilities;
  plan.death_signal = settings.parent_death_signal;
  plan.parent = getpid();
  const auto stack = std::make_unique<char[]>(kStackBytes);
  const auto top = (reinterpret_cast<std::uintptr_t>(stack.get()) + kStackBytes) & ~std::uintptr_t{15};

  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &plan.mask);
  const sigset_t ours = plan.mask;
  sigemptyset(&plan.mask);  // what we block (to wait for it) the child must see
  int pidfd = -1;
  const bool wanted = birth.begin(plan.child);
  // posix_spawn knows neither users nor PR_SET_PDEATHSIG. CLONE_VM as it uses it would save copying the page
  // tables, but ThreadSanitizer then reports races that are none.
  const pid_t pid =
      !wanted ? -1
              : clone(child_main, reinterpret_cast<void*>(top), CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &pidfd);
  const int err = wanted ? errno : ECANCELED;
  birth.over();
  pthread_sigmask(SIG_SETMASK, &ours, nullptr);
  if (pid < 0) return fail(from_errno(fmt::format("{}: clone", settings.path), err));

  Process process;
  process.pid_ = pid;
  process.pidfd_.reset(pidfd);
  if (plan.error != 0) {
    static_cast<void>(process.wait(1'000'000'000));
    return fail(from_errno(fmt::format("{}: {}", settings.path, plan.step), plan.error));
  }
  return process;
}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    if (running()) signal_group(SIGKILL);
    reap();
    pid_ = other.pid_;
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Process::~Process() {
  if (!running()) return;
  signal_group(SIGKILL);
  reap();
}

std::optional<ProcessExit> Process::reap() {
  if (!running()) return std::nullopt;
  siginfo_t info{};
  rusage usage{};
  // The library's waitid() leaves out rusage.
  const auto rc = syscall(SYS_waitid, P_PIDFD, pidfd_.get(), &info, WEXITED | WNOHANG, &usage);
  if (rc != 0 && errno == EINTR) return std::nullopt;
  if (rc == 0 && info.si_pid == 0) return std::nullopt;
  ProcessExit exit;
  if (rc == 0) {
    (info.si_code == CLD_EXITED ? exit.status : exit.signal) = info.si_status;
    const auto ns = [](const timeval& t) { return (t.tv_sec * std::int64_t{1'000'000} + t.tv_usec) * 1000; };
    exit.cpu_ns = ns(usage.ru_utime) + ns(usage.ru_stime);
  }  // else ECHILD: somebody else reaped it (SIGCHLD ignored); it is gone all the same
  pidfd_.reset();
  return exit;
}

std::optional<ProcessExit> Process::wait(std::int64_t timeout_ns) {
  if (!running()) return std::nullopt;
  pollfd p{pidfd_.get(), POLLIN, 0};
  while (poll(&p, 1, static_cast<int>(std::max<std::int64_t>(0, timeout_ns / 1'000'000))) < 0 && errno == EINTR) {
  }
  return reap();
}

void Process::signal_group(int signal) const {
  if (running()) kill(-pid_, signal);
}

}  // namespace vitald
