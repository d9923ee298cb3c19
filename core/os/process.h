// SPDX-License-Identifier: Apache-2.0
// Child processes: workers and hooks. No shell, nothing inherited but the three standard descriptors and maybe one
// more, a process group of its own, so that what the child starts can be ended with it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

struct ProcessUser {
  uid_t uid = 0;
  gid_t gid = 0;
};
// The user with this name, from the system's user database.
Result<ProcessUser> find_user(const std::string& name);

struct ProcessSettings {
  std::string path;                      // of the program; PATH is not searched
  std::vector<std::string> arguments;    // argv, with argv[0]
  std::vector<std::string> environment;  // all of it: NAME=value
  std::string directory;                 // to run in; empty: ours
  int in = -1, out = -1, err = -1;       // -1: /dev/null
  int more = -1;                         // descriptor 3 of the child; -1: it has none
  std::optional<ProcessUser> user;       // with no other groups; empty: as we are
  // Which of our capabilities the program may use. nothing: none, but set-user-ID programs it starts still get theirs
  // (sendmail); nothing_for_good: not even those (no_new_privs).
  enum class Privileges : std::uint8_t { ours, nothing, nothing_for_good } privileges = Privileges::ours;
  std::uint64_t keep_capabilities = 0;  // of those we have, a bit each: left all the same
  // Sent to the child when the *thread* that started it ends (prctl PR_SET_PDEATHSIG); 0: none.
  int parent_death_signal = 0;
};

struct ProcessExit {
  int status = 0;           // exit status, when signal is 0
  int signal = 0;           // that ended it
  std::int64_t cpu_ns = 0;  // user and system, of it and of the children it waited for

  [[nodiscard]] bool ok() const { return status == 0 && signal == 0; }
  [[nodiscard]] std::string text() const;  // "exit status 3", "signal 9 (Killed)"
};

// The child that a Process::start() on another thread waits for, while it is on its way to its program: the file may
// lie on a server that does not answer.
class ProcessBirth {
 public:
  // SIGKILL to it, also when it is made only later. Nothing once start() is over.
  void end();

 private:
  friend class Process;
  struct Child {  // in memory that the child has, too
    std::atomic<pid_t> pid{0};
    std::atomic<bool> unwanted{false};
  };
  bool begin(Child& child);  // false: it is not wanted any more
  void over();

  Mutex mutex_;
  Child* child_ GUARDED_BY(mutex_) = nullptr;
  bool unwanted_ GUARDED_BY(mutex_) = false;
};

// Owns a child until it is reaped. Not thread-safe.
class Process {
 public:
  // Also tells what went wrong before the program ran: no such file, not executable, user not changed. Waits until the
  // kernel has opened the program.
  static Result<Process> start(const ProcessSettings& settings) {
    ProcessBirth birth;
    return start(settings, birth);
  }
  static Result<Process> start(const ProcessSettings& settings, ProcessBirth& birth);

  Process() = default;
  Process(Process&&) = default;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // SIGKILL to the group; never waits

  [[nodiscard]] bool running() const { return static_cast<bool>(pidfd_); }
  [[nodiscard]] pid_t pid() const { return running() ? pid_ : -1; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }  // readable once it ended; -1 when not running
  // Reaps it if it ended; never waits. running() is false afterwards.
  std::optional<ProcessExit> reap();
  // Waits until it ended, at most this long, then reaps. Empty: it still runs. A child in uninterruptible
  // sleep (D: a dead NFS server, a frozen filesystem) survives SIGKILL, so nothing may wait without a limit.
  std::optional<ProcessExit> wait(std::int64_t timeout_ns);
  void signal_group(int signal) const;

 private:
  struct Plan;
  static int child_main(void* plan);
  static int refuse(Plan& plan, const char* step);

  pid_t pid_ = -1;
  Fd pidfd_;
};

}  // namespace vitald
