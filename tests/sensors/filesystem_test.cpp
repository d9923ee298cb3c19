// SPDX-License-Identifier: Apache-2.0
#define FUSE_USE_VERSION 31
#include <fmt/format.h>
#include <fuse.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iterator>

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string device_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(stat(path.c_str(), &st), 0);
  return fmt::format("{}:{}", major(st.st_dev), minor(st.st_dev));
}

// What must be there for a mount whose statfs works; the numbers that move are left out.
std::string line(const std::string& name, const std::string& labels, const std::string& value) {
  return name + "{" + labels + "} " + value + "\n";
}

TEST(Filesystem, NumbersOfTheKernel) {
  CollectorFixture f("filesystem");
  std::filesystem::create_directories(f.root() + "/root/data");
  f.write("proc/1/mountinfo", fmt::format("29 1 {} / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
                                          "30 29 {} /x /data ro,noatime - ext4 /dev/sda1 rw\n",
                                          device_of(f.root()), device_of(f.root())));
  struct statfs st {};
  ASSERT_EQ(statfs(f.root().c_str(), &st), 0);
  const auto got = f.run();
  EXPECT_EQ(got.error, "");
  const auto size = fmt::format("{}", static_cast<double>(st.f_blocks) * static_cast<double>(st.f_bsize));
  for (const std::string at : {"/", "/data"}) {
    const auto labels = "device=\"/dev/sda1\",device_error=\"\",fstype=\"ext4\",mountpoint=\"" + at + "\"";
    EXPECT_THAT(got.text, HasSubstr(line("node_filesystem_size_bytes", labels, size)));
    EXPECT_THAT(got.text,
                HasSubstr(line("node_filesystem_files", labels, fmt::format("{}", static_cast<double>(st.f_files)))));
    EXPECT_THAT(got.text, HasSubstr(line("node_filesystem_device_error", labels, "0")));
    EXPECT_THAT(got.text, HasSubstr(line("node_filesystem_readonly", labels, at == "/" ? "0" : "1")));
    EXPECT_THAT(got.text, HasSubstr(line("node_filesystem_purgeable_bytes", labels, "0")));
  }
  EXPECT_THAT(got.text, HasSubstr("node_filesystem_free_bytes{"));
  EXPECT_THAT(got.text, HasSubstr("node_filesystem_avail_bytes{"));
  EXPECT_THAT(got.text, HasSubstr("node_filesystem_files_free{"));
  EXPECT_THAT(got.types,
              HasSubstr("node_filesystem_avail_bytes gauge Filesystem space available to non-root users in bytes.\n"));
}

TEST(Filesystem, Tables) {
  struct Case {
    const char *name, *table;
    FlagValues flags;
    const char* mounts;  // "device mountpoint fstype device_error ro" of each
    const char* error;
  };
  const Case cases[] = {
      {"default excludes",
       "1 0 0:5 / /dev rw - devtmpfs udev rw\n2 0 0:6 / /run/lock rw - tmpfs tmpfs rw\n"
       "3 0 0:7 / /var/lib/docker/x rw - ext4 /dev/a rw\n4 0 0:8 / /o rw - overlay overlay rw\n",
       {},
       "tmpfs /run/lock tmpfs 'no such file or directory' 0\n",
       ""},
      {"escapes: blank and tab in the mount point, nothing in the source",
       "1 0 0:6 / /a\\040b\\011c\\134d rw - tmpfs x\\040y rw\n",
       {},
       "x\\\\040y /a b\tc\\\\134d tmpfs 'no such file or directory' 0\n",
       ""},
      {"read-only three ways",
       "1 0 0:6 / /a ro - tmpfs t rw\n2 0 0:7 / /b rw - tmpfs t rw,ro\n3 0 0:8 / /c rw - ext4 t rw,emergency_ro\n"
       "4 0 0:9 / /d rw,relatime - ext4 t rw,errors=remount-ro\n",
       {},
       "t /a tmpfs 'no such file or directory' 1\nt /b tmpfs 'no such file or directory' 1\n"
       "t /c ext4 'no such file or directory' 1\nt /d ext4 'no such file or directory' 0\n",
       ""},
      {"optional fields, none and many",
       "1 0 0:6 / /a rw shared:1 master:2 propagate_from:3 unbindable - tmpfs t rw\n2 0 0:7 / /b rw - tmpfs t rw\n",
       {},
       "t /a tmpfs 'no such file or directory' 0\nt /b tmpfs 'no such file or directory' 0\n",
       ""},
      {"the same twice counts once",
       "1 0 0:6 / /a rw - tmpfs t rw\n2 1 0:7 / /a rw - tmpfs t rw\n",
       {},
       "t /a tmpfs 'no such file or directory' 0\n",
       ""},
      {"include switches the default exclude off",
       "1 0 0:6 / /sys/x rw - tmpfs t rw\n2 1 0:7 / /a rw - tmpfs t rw\n",
       {{"collector.filesystem.mount-points-include", "^/sys"}},
       "t /sys/x tmpfs 'no such file or directory' 0\n",
       ""},
      {"types",
       "1 0 0:6 / /a rw - tmpfs t rw\n2 1 0:7 / /b rw - overlay t rw\n",
       {{"collector.filesystem.fs-types-exclude", "tmpfs"}},
       "t /b overlay 'no such file or directory' 0\n",
       ""},
      {"both",
       "1 0 0:6 / /a rw - tmpfs t rw\n",
       {{"collector.filesystem.fs-types-exclude", "x"}, {"collector.filesystem.fs-types-include", "y"}},
       "",
       "malformed: --collector.filesystem.fs-types-exclude and --collector.filesystem.fs-types-include are mutually "
       "exclusive: give one of them"},
      {"network mounts the same way",
       "1 0 0:6 / /n rw - nfs4 srv:/x rw\n",
       {},
       "srv:/x /n nfs4 'no such file or directory' 0\n",
       ""},
      {"empty table", "", {}, "", "malformed: mountinfo: empty, at least '/' expected"},
      {"one bad line costs itself",
       "1 0 0:6 / /a rw - tmpfs t rw\n2 0 0:7 / /b rw\n3 0 0:8 / /c rw - tmpfs t rw\n",
       {},
       "t /a tmpfs 'no such file or directory' 0\nt /c tmpfs 'no such file or directory' 0\n",
       "malformed: mountinfo: '2 0 0:7 / /b rw': 'id parent major:minor root mountpoint options ... - type source "
       "options' expected"},
      {"bytes that are not text",
       "1 0 0:6 / /\xff rw - tmpfs t rw\n",
       {},
       "t /\xef\xbf\xbd tmpfs 'no such file or directory' 0\n",
       ""},
      {"torn",
       "1 0 0:6 / /a rw\n",
       {},
       "",
       "malformed: mountinfo: '1 0 0:6 / /a rw': 'id parent major:minor root mountpoint options ... - type source "
       "options' expected"},
      {"device number too big",
       "1 0 99999999999:6 / /a rw - tmpfs t rw\n",
       {},
       "",
       "malformed: mountinfo: '1 0 99999999999:6 / /a rw - tmpfs t rw': 'id parent major:minor root mountpoint "
       "options ... - type source options' expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("filesystem", {{"proc/1/mountinfo", c.table}}, c.flags);
    EXPECT_EQ(got.error, c.error);
    std::string want;
    for (std::string_view rest = c.mounts; !rest.empty();) {
      auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(line.size() + 1);
      const auto ro = line.substr(line.size() - 1);
      const auto quote = line.find('\'');
      const auto error = line.substr(quote + 1, line.size() - quote - 4);
      auto front = line.substr(0, quote - 1);
      const auto device = front.substr(0, front.find(' '));
      front.remove_prefix(device.size() + 1);
      const auto type = front.substr(front.rfind(' ') + 1);
      const auto point = front.substr(0, front.rfind(' '));
      const auto labels = fmt::format("{{device=\"{}\",device_error=\"{}\",fstype=\"{}\",mountpoint=\"{}\"}}", device,
                                      error, type, point);
      want += "node_filesystem_device_error" + labels + " 1\nnode_filesystem_readonly" + labels + " " +
              std::string(ro) + "\n";
    }
    EXPECT_EQ(got.text, want);
  }
}

TEST(Filesystem, WithoutProcessOneItsOwnTable) {
  const auto got = run_collector("filesystem", {{"proc/self/mountinfo", "1 0 0:6 / /a rw - tmpfs t rw\n"}});
  EXPECT_THAT(got.text, HasSubstr("mountpoint=\"/a\""));
  EXPECT_EQ(run_collector("filesystem", {}).error, "gone: /proc/self/mountinfo: No such file or directory (ENOENT)");
}

TEST(Filesystem, SeesRemountWithoutNewMounts) {
  CollectorFixture f("filesystem", {{"proc/1/mountinfo", "1 0 0:6 / /a rw - tmpfs t rw\n"}});
  EXPECT_THAT(f.run().text, HasSubstr("mountpoint=\"/a\"} 0\n"));
  f.write("proc/1/mountinfo", "1 0 0:6 / /a rw - tmpfs t ro\n");
  EXPECT_THAT(f.run().text, Not(HasSubstr("mountpoint=\"/a\"} 0\n")));
}

// A FUSE server in a process of its own that can be stopped, so that statfs of its mount hangs.
class HelloServer {
 public:
  explicit HelloServer(const std::string& at) : at_(at) {
    int ready[2];
    if (pipe(ready) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      ready_fd = ready[1];
      fuse_operations ops{};
      ops.init = [](fuse_conn_info*, fuse_config*) -> void* {
        const char one = 1;
        return write(ready_fd, &one, 1) == 1 ? nullptr : nullptr;
      };
      ops.getattr = [](const char* path, struct stat* st, fuse_file_info*) {
        if (std::string_view(path) != "/") return -ENOENT;
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return 0;
      };
      ops.statfs = [](const char*, struct statvfs* st) {
        st->f_bsize = st->f_frsize = 4096;
        st->f_blocks = 1000, st->f_bfree = 500, st->f_bavail = 400, st->f_files = 7, st->f_ffree = 3;
        return 0;
      };
      char name[] = "hello", foreground[] = "-f", single[] = "-s";
      char* argv[] = {name, foreground, single, at_.data(), nullptr};
      _exit(fuse_main(4, argv, &ops, nullptr));
    }
    close(ready[1]);
    char one = 0;
    up_ = read(ready[0], &one, 1) == 1;
    close(ready[0]);
  }
  ~HelloServer() {
    umount2(at_.c_str(), MNT_DETACH);
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  void signal(int number) const {
    kill(pid_, number);
    if (number == SIGSTOP) waitpid(pid_, nullptr, WUNTRACED);
  }
  [[nodiscard]] bool up() const { return up_; }

 private:
  static inline int ready_fd = -1;
  std::string at_;
  pid_t pid_ = -1;
  bool up_ = false;
};

TEST(Filesystem, AHangingMountCostsOnlyItself) {
  if (geteuid() != 0 || access("/dev/fuse", W_OK) != 0) GTEST_SKIP() << "mounting FUSE needs root and /dev/fuse";
  CollectorFixture f("filesystem");
  const auto point = f.root() + "/root/mnt";
  std::filesystem::create_directories(point);
  HelloServer server(point);
  ASSERT_TRUE(server.up());
  f.write("proc/1/mountinfo", fmt::format("1 0 {} / / rw - ext4 /dev/sda1 rw\n2 1 {} / /mnt rw - fuse.hello hello rw\n",
                                          device_of(f.root()), device_of(point)));
  const std::string good = "device=\"hello\",device_error=\"\",fstype=\"fuse.hello\",mountpoint=\"/mnt\"";
  const std::string stuck =
      "device=\"hello\",device_error=\"mountpoint timeout\",fstype=\"fuse.hello\",mountpoint=\"/mnt\"";
  const std::string local = "node_filesystem_avail_bytes{device=\"/dev/sda1\"";

  auto text = f.run().text;
  EXPECT_THAT(text, HasSubstr(line("node_filesystem_size_bytes", good, "4096000")));
  EXPECT_THAT(text, HasSubstr(line("node_filesystem_free_bytes", good, "2048000")));
  EXPECT_THAT(text, HasSubstr(line("node_filesystem_avail_bytes", good, "1638400")));
  EXPECT_THAT(text, HasSubstr(line("node_filesystem_files_free", good, "3")));

  server.signal(SIGSTOP);
  text = f.run().text;
  EXPECT_THAT(text, HasSubstr(line("node_filesystem_size_bytes", good, "4096000"))) << "the last known";
  f.clock.advance_ns(4'900'000'000);
  EXPECT_THAT(f.run().text, HasSubstr(line("node_filesystem_size_bytes", good, "4096000")));
  f.clock.advance_ns(200'000'000);
  for (int i = 0; i < 3; ++i) {
    text = f.run().text;
    EXPECT_THAT(text, HasSubstr(line("node_filesystem_device_error", stuck, "1")));
    EXPECT_THAT(text, HasSubstr(local));
    EXPECT_THAT(text, Not(HasSubstr(good)));
  }

  server.signal(SIGCONT);
  for (int i = 0; i < 1000 && f.run().text.find(good) == std::string::npos; ++i) usleep(1000);
  EXPECT_THAT(f.run().text, HasSubstr(line("node_filesystem_size_bytes", good, "4096000")));
}

// What the path leads to is another file system: its numbers are not this one's.
TEST(Filesystem, HiddenByAnotherMount) {
  CollectorFixture f("filesystem");
  std::filesystem::create_directories(f.root() + "/root/home");
  f.write("proc/1/mountinfo", fmt::format("1 0 {} / / rw - ext4 /dev/sda1 rw\n2 1 0:99 / /home rw - ext4 /dev/sdb1 rw\n"
                                          "3 1 0:98 / /home rw - nfs4 srv:/x rw\n",
                                          device_of(f.root())));
  const auto text = f.run().text;
  for (const std::string device : {"device=\"/dev/sdb1\"", "device=\"srv:/x\""}) {
    EXPECT_EQ(lines_with(lines_with(text, device), "bytes"), "");
    EXPECT_THAT(lines_with(text, device), HasSubstr("node_filesystem_device_error{" + device +
                                                    ",device_error=\"another "
                                                    "file system is mounted there\""));
  }
  EXPECT_THAT(text, HasSubstr("node_filesystem_size_bytes{device=\"/dev/sda1\""));
}

std::string of_mount(const std::string& device, const std::string& type, const std::string& error = "") {
  return "device=\"" + device + "\",device_error=\"" + error + "\",fstype=\"" + type + "\",mountpoint=\"/mnt\"";
}

// Two mounts with the same labels: the one that paths lead to has them, wherever it stands in the table.
TEST(Filesystem, MountedTwiceWithTheSameNames) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  CollectorFixture f("filesystem", {{"proc/1/mountinfo", "->/proc/self/mountinfo"}},
                     {{"collector.filesystem.mount-points-include", "^/mnt$"}});
  const auto point = f.root() + "/root/mnt";
  std::filesystem::create_directories(point);
  const auto size = [&](const char* bytes) {
    return line("node_filesystem_size_bytes", of_mount("vitald-test", "tmpfs"), bytes);
  };
  for (const char* kib : {"64", "128", "256"})
    ASSERT_EQ(mount("vitald-test", point.c_str(), "tmpfs", kib[0] == '2' ? MS_RDONLY : 0,
                    fmt::format("size={}k", kib).c_str()),
              0)
        << strerror(errno);
  for (const char* bytes : {"262144", "131072", "65536"}) {
    const auto text = f.run().text;
    EXPECT_THAT(text, HasSubstr(size(bytes)));
    EXPECT_THAT(text, Not(HasSubstr("another file system")));
    EXPECT_EQ(lines_with(text, "_readonly"), line("node_filesystem_readonly", of_mount("vitald-test", "tmpfs"),
                                                  std::string(bytes) == "262144" ? "1" : "0"));
    const auto infos = lines_with(text, "_mount_info");
    EXPECT_EQ(std::ranges::count(infos, '\n'), 1) << infos;
    ASSERT_EQ(umount2(point.c_str(), MNT_DETACH), 0);
  }
  EXPECT_EQ(f.run().text, "");
}

// Two mounts of one file system at one place, one of them moved there: the table does not have them in the order in
// which they lie, and the one above is the one that a program writes to.
TEST(Filesystem, MovedOntoAMountOfTheSame) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  for (const bool readonly_above : {false, true})
    for (const bool above_is_older : {false, true}) {
      SCOPED_TRACE(fmt::format("read-only above: {}, it is older: {}", readonly_above, above_is_older));
      CollectorFixture f("filesystem", {{"proc/1/mountinfo", "->/proc/self/mountinfo"}},
                         {{"collector.filesystem.mount-points-include", "^/mnt$"}});
      const auto all = f.root() + "/root", source = all + "/source", point = all + "/mnt", other = all + "/other";
      for (const auto& folder : {source, point, other}) std::filesystem::create_directories(folder);
      // What is shared cannot be moved.
      ASSERT_EQ(mount(all.c_str(), all.c_str(), nullptr, MS_BIND, nullptr), 0) << strerror(errno);
      ASSERT_EQ(mount(nullptr, all.c_str(), nullptr, MS_PRIVATE, nullptr), 0) << strerror(errno);
      ASSERT_EQ(mount("vitald-test", source.c_str(), "tmpfs", 0, "size=64k"), 0) << strerror(errno);
      const auto bind = [&](const std::string& to, bool readonly) {
        ASSERT_EQ(mount(source.c_str(), to.c_str(), nullptr, MS_BIND, nullptr), 0) << strerror(errno);
        const auto flags = MS_REMOUNT | MS_BIND | (readonly ? MS_RDONLY : 0);
        ASSERT_EQ(mount(nullptr, to.c_str(), nullptr, flags, nullptr), 0) << strerror(errno);
      };
      if (above_is_older) bind(other, readonly_above);
      bind(point, !readonly_above);
      if (!above_is_older) bind(other, readonly_above);
      ASSERT_EQ(mount(other.c_str(), point.c_str(), nullptr, MS_MOVE, nullptr), 0) << strerror(errno);
      EXPECT_EQ(lines_with(f.run().text, "_readonly"),
                line("node_filesystem_readonly", of_mount("vitald-test", "tmpfs"), readonly_above ? "1" : "0"));
      ASSERT_EQ(umount2(all.c_str(), MNT_DETACH), 0);
    }
}

// A mount that stands before the one that it is below, as after a move: its path leads through it all the same, and
// asking for it may hang.
TEST(Filesystem, BelowANetworkMountThatComesLater) {
  const auto threads = [] {
    std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  CollectorFixture f("filesystem", {}, {{"collector.filesystem.mount-points-exclude", "^/net$"}});
  std::filesystem::create_directories(f.root() + "/root/net/below");
  f.write("proc/1/mountinfo",
          fmt::format("3 2 {} / /net/below rw - ext4 /dev/sdb1 rw\n2 1 0:98 / /net rw - nfs4 srv:/x rw\n",
                      device_of(f.root())));
  const auto before = threads();
  EXPECT_THAT(f.run().text, HasSubstr("device=\"/dev/sdb1\""));
  EXPECT_GT(threads(), before) << "helpers";
}

// The same of those that are asked by helpers, where it is known only once they have answered.
TEST(Filesystem, FuseMountedAgainOverItself) {
  if (geteuid() != 0 || access("/dev/fuse", W_OK) != 0) GTEST_SKIP() << "mounting FUSE needs root and /dev/fuse";
  CollectorFixture f("filesystem");
  const auto point = f.root() + "/root/mnt";
  std::filesystem::create_directories(point);
  HelloServer below(point);
  ASSERT_TRUE(below.up());
  const auto first = device_of(point);
  HelloServer above(point);
  ASSERT_TRUE(above.up());
  for (const auto& [one, two] : {std::pair(first, device_of(point)), std::pair(device_of(point), first)}) {
    f.write("proc/1/mountinfo", fmt::format("2 1 {} / /mnt rw - fuse.hello hello rw\n"
                                            "3 2 {} / /mnt rw - fuse.hello hello rw\n",
                                            one, two));
    const auto text = f.run().text;
    EXPECT_THAT(text, HasSubstr(line("node_filesystem_size_bytes", of_mount("hello", "fuse.hello"), "4096000")));
    EXPECT_THAT(text, HasSubstr(line("node_filesystem_device_error", of_mount("hello", "fuse.hello"), "0")));
    EXPECT_THAT(text, Not(HasSubstr("another file system")));
  }
}

// Neither is where the path leads: one of them says so, once.
TEST(Filesystem, TwoThatAreBothHidden) {
  const auto got = run_collector("filesystem", {{"proc/1/mountinfo",
                                                 "2 1 0:98 / / rw - tmpfs t rw\n"
                                                 "3 2 0:99 / / ro - tmpfs t rw\n"}});
  const std::string labels =
      "device=\"t\",device_error=\"another file system is mounted there\",fstype=\"tmpfs\",mountpoint=\"/\"";
  EXPECT_EQ(got.text,
            line("node_filesystem_device_error", labels, "1") + line("node_filesystem_readonly", labels, "1"));
}

// The kernel's own mount table, which is read again only when the kernel announces a change.
TEST(Filesystem, FollowsTheLiveMountTable) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  CollectorFixture f("filesystem", {{"proc/1/mountinfo", "->/proc/self/mountinfo"}},
                     {{"collector.filesystem.mount-points-include", "^/mnt$"}});
  const auto point = f.root() + "/root/mnt";
  std::filesystem::create_directories(point);
  EXPECT_EQ(f.run().text, "");
  const std::string readonly =
      "node_filesystem_readonly{device=\"vitald-test\",device_error=\"\",fstype=\"tmpfs\","
      "mountpoint=\"/mnt\"} ";
  ASSERT_EQ(mount("vitald-test", point.c_str(), "tmpfs", 0, "size=64k"), 0) << strerror(errno);
  EXPECT_THAT(f.run().text, HasSubstr(readonly + "0\n"));
  EXPECT_THAT(f.run().text, HasSubstr(readonly + "0\n")) << "nothing announced";
  ASSERT_EQ(mount(nullptr, point.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_THAT(f.run().text, HasSubstr(readonly + "1\n"));
  ASSERT_EQ(mount(nullptr, point.c_str(), nullptr, MS_REMOUNT, nullptr), 0);
  EXPECT_THAT(f.run().text, HasSubstr(readonly + "0\n"));
  ASSERT_EQ(umount2(point.c_str(), MNT_DETACH), 0);
  EXPECT_EQ(f.run().text, "");
}

}  // namespace
}  // namespace vitald
