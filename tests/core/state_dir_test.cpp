// SPDX-License-Identifier: Apache-2.0
#include "core/os/state_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

namespace vitald {
namespace {

namespace fs = std::filesystem;

class StateDirTest : public testing::Test {
 protected:
  StateDirTest() {
    char name[] = "/tmp/vitald-state-XXXXXX";
    if (!mkdtemp(name)) std::abort();
    top_ = name;
  }
  ~StateDirTest() override { fs::remove_all(top_); }

  [[nodiscard]] std::string in(const std::string& name) const { return top_ + "/" + name; }

  std::string top_;
};

TEST_F(StateDirTest, IsMadeAndKeepsWhatIsWritten) {
  {
    const auto dir = StateDir::open(in("state"));
    ASSERT_TRUE(dir) << dir.error().text;
    struct stat st {};
    ASSERT_EQ(stat(in("state").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0700U);
    ASSERT_TRUE((*dir)->write("alerts", "one"));
    ASSERT_TRUE((*dir)->write("alerts", "two"));
    ASSERT_TRUE((*dir)->folder("queue/pager"));
    ASSERT_TRUE((*dir)->folder("queue/pager"));
    ASSERT_TRUE((*dir)->write("queue/pager/head", std::string(100'000, 'x')));
    ASSERT_EQ(stat(in("state/alerts").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600U);
  }
  const auto dir = StateDir::open(in("state"));
  ASSERT_TRUE(dir) << dir.error().text;
  EXPECT_EQ(*(*dir)->read("alerts", 100), "two");
  EXPECT_EQ((*(*dir)->read("queue/pager/head", 100'000))->size(), 100'000U);
  EXPECT_EQ(*(*dir)->read("nothing", 100), std::nullopt);
  EXPECT_EQ((*dir)->read("alerts", 2).error().text, in("state/alerts has 3 bytes, expected at most 2"));
  EXPECT_EQ((*dir)->read("queue", 100).error().text, in("state/queue is no file, expected one of ours"));
  for (const auto& entry : fs::recursive_directory_iterator(in("state"))) EXPECT_NE(entry.path().extension(), ".new");
}

TEST_F(StateDirTest, Refused) {
  struct Case {
    const char* name;
    std::function<void(const std::string&)> make;
    std::string want;  // {} is the path
  };
  const Case cases[] = {
      {"file", [](const auto& p) { std::ofstream(p) << ""; }, "{} is no folder, expected one"},
      {"everybody",
       [](const auto& p) {
         mkdir(p.c_str(), 0777);
         chmod(p.c_str(), 01777);
       },
       "{0} may be written by everybody (mode 1777), expected 0700: chmod 700 {0}"},
      {"no/parent", [](const auto&) {}, "{}: mkdir: No such file or directory (ENOENT)"},
      {"link_to_file",
       [](const auto& p) {
         std::ofstream(p + ".file") << "";
         fs::create_symlink(p + ".file", p);
       },
       "{} is no folder, expected one"},
      {"lock_is_a_link",
       [](const auto& p) {
         mkdir(p.c_str(), 0700);
         fs::create_symlink("/etc/passwd", p + "/lock");
       },
       "{}/lock: Too many levels of symbolic links (ELOOP)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    c.make(in(c.name));
    const auto dir = StateDir::open(in(c.name));
    ASSERT_FALSE(dir);
    EXPECT_EQ(dir.error().text, fmt::format(fmt::runtime(c.want), in(c.name)));
  }
  EXPECT_EQ(StateDir::open("state").error().text,
            "'state' is not an absolute path, expected one: a service starts in /");
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  mkdir(in("theirs").c_str(), 0700);
  ASSERT_EQ(chown(in("theirs").c_str(), 65534, 65534), 0);
  EXPECT_EQ(StateDir::open(in("theirs")).error().text,
            fmt::format("{0} belongs to user 65534, expected ours (0): chown 0 {0}", in("theirs")));
}

TEST_F(StateDirTest, LinkToAFolderIsFine) {
  mkdir(in("private").c_str(), 0700);
  fs::create_directory_symlink(in("private"), in("state"));  // as systemd's DynamicUser= makes one
  const auto dir = StateDir::open(in("state"));
  ASSERT_TRUE(dir) << dir.error().text;
  ASSERT_TRUE((*dir)->write("a", "b"));
  EXPECT_TRUE(fs::exists(in("private/a")));
}

TEST_F(StateDirTest, OneProcessAtATime) {
  auto first = StateDir::open(in("state"));
  ASSERT_TRUE(first);
  const auto second = StateDir::open(in("state"));  // another open file, as another process has
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().text, fmt::format("{} is in use by process {}, expected to have it alone: one folder for "
                                             "each vitald",
                                             in("state"), getpid()));
  EXPECT_TRUE(StateDir::check(in("state")));  // it looks at the folder only
  first->reset();
  EXPECT_TRUE(StateDir::open(in("state")));
}

TEST_F(StateDirTest, CheckMakesNothing) {
  EXPECT_TRUE(StateDir::check(in("state")));
  EXPECT_FALSE(fs::exists(in("state")));
  EXPECT_EQ(StateDir::check(in("no/state")).error().text, in("no: No such file or directory (ENOENT)"));
}

TEST_F(StateDirTest, LinksInsideAreNotFollowed) {
  const auto dir = StateDir::open(in("state"));
  ASSERT_TRUE(dir);
  std::ofstream(in("other")) << "not ours";
  fs::create_symlink(in("other"), in("state/alerts"));
  EXPECT_FALSE((*dir)->read("alerts", 100));
  ASSERT_TRUE((*dir)->write("alerts", "ours"));  // takes the link's place
  EXPECT_EQ(*(*dir)->read("alerts", 100), "ours");
  std::ifstream other(in("other"));
  std::string word;
  other >> word;
  EXPECT_EQ(word, "not");
}

// In a mount namespace of a child: what it does to mounts ends with it.
TEST_F(StateDirTest, FullDiskLeavesTheOldFile) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can mount a small tmpfs";
  mkdir(in("small").c_str(), 0700);
  const auto pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", in("small").c_str(), "tmpfs", 0, "size=64k,mode=0700") != 0)
      _exit(77);
    const auto dir = StateDir::open(in("small"));
    if (!dir || !(*dir)->write("alerts", "old")) _exit(1);
    const auto full = (*dir)->write("alerts", std::string(200'000, 'x'));
    if (full || full.error().err != ENOSPC) _exit(2);
    if (full.error().text != in("small/alerts.new: No space left on device (ENOSPC)")) _exit(3);
    const auto old = (*dir)->read("alerts", 100);
    if (!old || *old != "old") _exit(4);
    if (!(*dir)->write("alerts", std::string(40'000, 'y'))) _exit(5);  // the space of the attempt is free again
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no mount namespace to be had here";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace vitald
