// SPDX-License-Identifier: Apache-2.0
#include "core/os/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "core/os/privileges.h"
#include "core/os/program_start.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

struct Pipe {
  Pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) std::abort();
    read.reset(fds[0]);
    write.reset(fds[1]);
  }
  Fd read, write;
};

std::string drain(int fd) {
  std::string out;
  char chunk[4096];
  for (ssize_t n; (n = ::read(fd, chunk, sizeof chunk)) > 0;) out.append(chunk, static_cast<std::size_t>(n));
  return out;
}

struct Ran {
  std::string output, exit;
};
Ran run(const std::string& script, ProcessSettings settings = {}) {
  Pipe pipe;
  settings.path = "/bin/sh";
  settings.arguments = {"sh", "-c", script};
  settings.out = settings.err = pipe.write.get();
  auto process = Process::start(settings);
  pipe.write.reset();
  if (!process) return {"", process.error().text};
  Ran ran{drain(pipe.read.get()), "still running"};
  if (const auto exit = process->wait(10 * kSecond)) ran.exit = exit->text();
  EXPECT_FALSE(process->running());
  return ran;
}

TEST(Process, Exits) {
  struct Case {
    const char *name, *script, *exit;
  };
  const Case cases[] = {
      {"fine", "exit 0", "exit status 0"},
      {"status", "exit 3", "exit status 3"},
      {"signal", "kill -11 $$", "signal 11 (Segmentation fault)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(run(c.script).exit, c.exit);
  }
}

TEST(Process, NotStarted) {
  struct Case {
    const char *path, *error;
  };
  char not_executable[] = "/tmp/vitald-process-XXXXXX";
  const Fd file(mkstemp(not_executable));
  const Case cases[] = {
      {"/nonexistent/hook", "/nonexistent/hook: exec: No such file or directory (ENOENT)"},
      {not_executable, ": exec: Permission denied (EACCES)"},
      {"/", "/: exec: Permission denied (EACCES)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    ProcessSettings settings;
    settings.path = c.path;
    settings.arguments = {c.path};
    const auto process = Process::start(settings);
    ASSERT_FALSE(process);
    EXPECT_TRUE(process.error().text.ends_with(c.error)) << process.error().text;
  }
  unlink(not_executable);
}

ProcessSettings shell(const char* script) {
  ProcessSettings settings;
  settings.path = "/bin/sh";
  settings.arguments = {"sh", "-c", script};
  return settings;
}

TEST(Process, ABirthThatIsNotWantedBringsNoChild) {
  ProcessBirth birth;
  birth.end();
  const auto process = Process::start(shell("exit 0"), birth);
  ASSERT_FALSE(process);
  EXPECT_NE(process.error().text.find("ECANCELED"), std::string::npos) << process.error().text;
}

TEST(Process, ABirthThatIsOverEndsNobody) {
  ProcessBirth birth;
  auto process = Process::start(shell("read line"), birth);
  ASSERT_TRUE(process) << process.error().text;
  birth.end();
  ASSERT_TRUE(process->wait(10 * kSecond));  // its input is /dev/null
}

// What hangs while it starts needs a file system that is frozen: tests/hang/dead_files_test.py.
TEST(ProgramStart, StartsBesideAndTellsByADescriptor) {
  struct Case {
    const char *name, *path, *says;
  };
  const Case cases[] = {
      {"a program", "/bin/sh", "exit status 3"},
      {"none", "/nonexistent/sh", "/nonexistent/sh: exec: No such file or directory (ENOENT)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto settings = shell("exit 3");
    settings.path = c.path;
    auto start = ProgramStart::begin([settings](ProcessBirth& birth) { return Process::start(settings, birth); });
    ASSERT_TRUE(start) << start.error().text;
    pollfd p{start->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&p, 1, 20'000), 1);
    EXPECT_TRUE(start->done());
    auto process = start->take();
    if (!process) {
      EXPECT_EQ(process.error().text, c.says);
      continue;
    }
    start->give_up();  // too late
    const auto exit = process->wait(10 * kSecond);
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->text(), c.says);
    EXPECT_FALSE(start->take()) << "once only";
  }
}

// Whoever gives up may look just before it is born.
TEST(ProgramStart, GivingUpKillsWhatIsJustBorn) {
  for (const bool told_before : {false, true}) {
    SCOPED_TRACE(told_before);
    const auto go_on = std::make_shared<Pipe>();
    const auto born = std::make_shared<Pipe>();
    auto start = ProgramStart::begin([=](ProcessBirth& birth) {
      auto process = Process::start(shell("exec sleep 60"), birth);
      char byte = 'x';
      if (told_before && (write(born->write.get(), &byte, 1) != 1 || read(go_on->read.get(), &byte, 1) != 1)) abort();
      return process;
    });
    ASSERT_TRUE(start) << start.error().text;
    pollfd p{told_before ? born->read.get() : start->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&p, 1, 20'000), 1);
    start->give_up();
    ASSERT_EQ(write(go_on->write.get(), "x", 1), 1);
    p.fd = start->fd();
    ASSERT_EQ(poll(&p, 1, 20'000), 1);
    auto process = start->take();
    ASSERT_TRUE(process) << process.error().text;
    const auto exit = process->wait(10 * kSecond);
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->signal, SIGKILL);
  }
}

TEST(Process, EnvironmentIsOnlyWhatIsGiven) {
  ASSERT_EQ(setenv("VITALD_TEST_SECRET", "x", 1), 0);
  ProcessSettings settings;
  settings.environment = {"PATH=/usr/bin:/bin", "A=b c"};
  const auto text = run("env", settings).output;
  EXPECT_NE(text.find("A=b c\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("SECRET"), std::string::npos) << text;
}

TEST(Process, InheritsNoDescriptors) {
  const Fd leak(open("/dev/null", O_RDONLY));  // without O_CLOEXEC, as a library might
  ProcessSettings settings;
  settings.environment = {"PATH=/usr/bin:/bin"};
  // The shell expands the pattern with a descriptor of its own open.
  EXPECT_EQ(run("for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done", settings).output, "0\n1\n2\n");
}

TEST(Process, SignalsAreAsAtLogin) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  ProcessSettings settings;
  settings.environment = {"PATH=/usr/bin:/bin"};
  EXPECT_EQ(run("grep -E '^Sig(Blk|Ign)' /proc/self/status", settings).output,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, &before, &now);
  EXPECT_TRUE(sigismember(&now, SIGTERM));
  ::signal(SIGPIPE, SIG_DFL);
}

TEST(Process, EndsTheWholeGroup) {
  Pipe pipe;
  ProcessSettings settings;
  settings.path = "/bin/sh";
  settings.arguments = {"sh", "-c", "sleep 1000 & echo started; wait"};
  settings.environment = {"PATH=/usr/bin:/bin"};
  settings.out = pipe.write.get();
  auto process = Process::start(settings);
  ASSERT_TRUE(process) << process.error().text;
  pipe.write.reset();
  char line[8];
  ASSERT_EQ(read(pipe.read.get(), line, 8), 8);
  EXPECT_FALSE(process->wait(0));
  process->signal_group(SIGKILL);
  const auto exit = process->wait(10 * kSecond);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->text(), "signal 9 (Killed)");
  EXPECT_EQ(drain(pipe.read.get()), "");  // ends only when the grandchild closed it too
}

TEST(Process, AsAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: changes the user";
  const auto nobody = find_user("nobody");
  ASSERT_TRUE(nobody) << nobody.error().text;
  ProcessSettings settings;
  settings.environment = {"PATH=/usr/bin:/bin"};
  settings.user = *nobody;
  settings.directory = "/";
  EXPECT_EQ(run("id -u; id -G; pwd", settings).output,
            std::to_string(nobody->uid) + "\n" + std::to_string(nobody->gid) + "\n/\n");
  EXPECT_EQ(find_user("no-such-user").error().text, "user 'no-such-user': no such user");
}

// "CapPrm:\t0000000000000000"; NoNewPrivs says that not even a set-user-ID program gives any back.
TEST(Process, Privileges) {
  using enum ProcessSettings::Privileges;
  const auto status = [](ProcessSettings::Privileges privileges, std::uint64_t keep = 0) {
    ProcessSettings settings;
    settings.privileges = privileges;
    settings.keep_capabilities = keep;
    return run("grep -E '^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs):' /proc/self/status", settings);
  };
  const std::string none =
      "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
      "CapAmb:\t0000000000000000\n";
  EXPECT_EQ(status(nothing_for_good).output, none + "NoNewPrivs:\t1\n");
  if (geteuid() != 0) {
    EXPECT_THAT(status(nothing).output, testing::StartsWith(none));
    return;
  }
  // What is kept survives the exec of this shell and of what it starts, and is all that there is.
  const std::string five = "\t0000000000000020\n";
  EXPECT_EQ(status(nothing_for_good, 1 << 5).output,
            "CapInh:" + five + "CapPrm:" + five + "CapEff:" + five + "CapAmb:" + five + "NoNewPrivs:\t1\n");
  // Root's exec gives them back without no_new_privs: hooks of root are another user.
  EXPECT_THAT(status(ours).output, testing::Not(testing::HasSubstr("CapEff:\t0000000000000000")));
  ProcessSettings settings;
  settings.privileges = nothing;
  settings.user = ProcessUser{65534, 65534};
  EXPECT_THAT(run("cat /proc/self/status", settings).output, testing::HasSubstr("CapEff:\t0000000000000000"));
}

// What `check` says in a child, which may change what it is.
template <class Check>
bool in_child(Check check) {
  const auto pid = fork();
  if (pid == 0) _exit(check() ? 0 : 1);
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// As below the shipped unit: a user of its own with some capabilities, and a device that is root's, as /dev/ipmi0 is.
TEST(Process, AWorkerIsLeftWhatItsDeviceNeeds) {
  if (geteuid() != 0 || !has_capability(CAP_DAC_READ_SEARCH) || !has_capability(CAP_SETUID)) GTEST_SKIP() << "not root";
  char device[] = "/tmp/vitald-test-XXXXXX";
  const Fd file(mkstemp(device));
  ASSERT_TRUE(file);  // rw-------
  const auto worker_reads = [&](std::string_view collector) {
    return in_child([&] {
      if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setresgid(65534, 65534, 65534) != 0 ||
          setresuid(65534, 65534, 65534) != 0 || !keep_only_used_privileges())
        return false;
      ProcessSettings settings;
      settings.privileges = ProcessSettings::Privileges::nothing_for_good;
      settings.keep_capabilities = privileges_of_worker(collector);
      return run("id -u; cat " + std::string(device) + " && echo read", settings).output == "65534\nread\n";
    });
  };
  EXPECT_TRUE(worker_reads("ipmi"));
  EXPECT_FALSE(worker_reads("hwmon"));
  unlink(device);
}

// What files another user's process has open, which takes two.
TEST(Process, AWorkerMayLookAtOpenFilesOfOthers) {
  if (!has_capability(CAP_SYS_PTRACE) || !has_capability(CAP_DAC_READ_SEARCH)) GTEST_SKIP() << "not root";
  const auto root = getpid();
  const auto worker_looks = [&](std::string_view collector) {
    return in_child([&] {
      if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setresgid(65534, 65534, 65534) != 0 ||
          setresuid(65534, 65534, 65534) != 0 || !keep_only_used_privileges())
        return false;
      ProcessSettings settings;
      settings.privileges = ProcessSettings::Privileges::nothing_for_good;
      settings.keep_capabilities = privileges_of_worker(collector);
      const auto command = "cd /proc/" + std::to_string(root) +
                           "; ls fd >/dev/null && readlink fd/0 >/dev/null && "
                           "cat fdinfo/0 >/dev/null && echo read";
      return run(command, settings).output == "read\n";
    });
  };
  EXPECT_TRUE(worker_looks("drm_gpus"));
  EXPECT_FALSE(worker_looks("ipmi"));
}

// Those that only a worker uses are in force only there, and gone where its collector is off.
TEST(Process, WhatOnlyAWorkerUsesIsNotInForce) {
  if (!has_capability(CAP_SYS_RAWIO) || !has_capability(CAP_DAC_READ_SEARCH)) GTEST_SKIP() << "not root";
  EXPECT_TRUE(in_child([] {
    return keep_only_used_privileges() && !has_capability(CAP_SYS_RAWIO) && may_give_capability(CAP_SYS_RAWIO) &&
           has_capability(CAP_DAC_READ_SEARCH);
  }));
  EXPECT_TRUE(in_child([] { return keep_only_used_privileges("smart") && has_capability(CAP_SYS_RAWIO); }));
  EXPECT_TRUE(in_child([] {
    return keep_only_used_privileges() && give_up_privileges_of_worker("smart") &&
           !may_give_capability(CAP_SYS_RAWIO) && has_capability(CAP_DAC_READ_SEARCH);
  }));
  // The worker is left it from what is not in force.
  EXPECT_TRUE(in_child([] {
    if (!keep_only_used_privileges()) return false;
    ProcessSettings settings;
    settings.privileges = ProcessSettings::Privileges::nothing_for_good;
    settings.keep_capabilities = std::uint64_t{1} << CAP_SYS_RAWIO;
    return run("grep CapEff /proc/self/status", settings).output == "CapEff:\t0000000000020000\n";
  }));
}

}  // namespace
}  // namespace vitald
