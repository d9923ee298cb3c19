// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/kernel_tree.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <fstream>

#include "core/os/descriptors.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

// Whether `ask()` is `wanted` before long: a look is shared by what asks within a millisecond, and other devices of
// this machine may be announced at any time.
template <class Ask>
bool soon(bool wanted, Ask&& ask) {
  for (int i = 0; i < 1000; ++i) {
    if (ask() == wanted) return true;
    usleep(1000);
  }
  return false;
}

TEST(DeviceWatch, Announcements) {
  const std::string uevent = "/sys/class/mem/null/uevent";
  if (access(uevent.c_str(), W_OK) != 0) GTEST_SKIP() << uevent << ": only root may have the kernel announce a device";
  DeviceWatch watch("/sys/class/mem"), other("/sys/block");
  EXPECT_TRUE(watch.changed()) << "the first time";
  EXPECT_TRUE(other.changed());
  EXPECT_TRUE(soon(false, [&] { return watch.changed(); }));
  EXPECT_TRUE(soon(false, [&] { return other.changed(); }));
  std::ofstream(uevent) << "change";
  EXPECT_TRUE(soon(true, [&] { return watch.changed(); }));
  EXPECT_TRUE(other.changed()) << "each watch is told once";
}

// Containers of an unprivileged user hear nothing, and not all that a driver does is announced.
TEST(DeviceWatch, NowAndThenWithoutAnnouncement) {
  if (access("/sys/class/mem", R_OK) != 0) GTEST_SKIP() << "/sys/class/mem: not there";
  for (const auto* folder : {"/sys/class/mem", "/sys/module"}) {
    FakeClock clock;
    DeviceWatch watch(folder, clock);
    EXPECT_TRUE(watch.changed());
    const auto quiet = [&] {
      clock.advance_ns(1);
      return watch.changed();
    };
    ASSERT_TRUE(soon(false, quiet)) << folder;
    clock.advance_ns(5'000'000'000);
    EXPECT_TRUE(watch.changed()) << folder;
  }
}

TEST(DeviceWatch, AlwaysWhereNothingIsAnnounced) {
  for (const auto* folder : {"/proc", "/tmp/class/mem", "/sys/fs/btrfs"}) {
    DeviceWatch watch(folder);
    EXPECT_TRUE(watch.changed() && watch.changed()) << folder;
  }
}

TEST(KernelDir, IsNotKeptOpenWhereDescriptorsAreFew) {
  KernelDir dir("/proc/sys");
  keep_descriptors_below(0);
  EXPECT_GE(mount_changes(), 1U);  // what listens to the mount table keeps one
  const int before = next_descriptor();
  EXPECT_TRUE(*dir.refresh());
  EXPECT_EQ(next_descriptor(), before);
  EXPECT_FALSE(*dir.refresh());
  keep_descriptors_below(INT_MAX);
  EXPECT_FALSE(*dir.refresh());
  EXPECT_GT(next_descriptor(), before);
}

TEST(KernelDir, AFolderThatTookItsPlace) {
  const auto root = fs::temp_directory_path() / ("vitald-other-dir-" + std::to_string(getpid()));
  fs::create_directories(root / "dir/a");
  fs::create_directories(root / "new/b");
  KernelDir dir((root / "dir").string());
  ASSERT_TRUE(dir.refresh());
  fs::rename(root / "dir", root / "old");
  fs::rename(root / "new", root / "dir");
  ASSERT_TRUE(*dir.refresh());
  EXPECT_EQ(dir.names().front(), "b");
  fs::remove_all(root);
}

TEST(KernelDir, NamesComeAndGo) {
  const auto root = fs::temp_directory_path() / ("vitald-dir-" + std::to_string(getpid()));
  KernelDir dir(root.string());
  EXPECT_EQ(dir.refresh().error().kind, Errc::gone);
  EXPECT_EQ(dir.refresh().error().kind, Errc::gone);
  fs::create_directories(root / "b");
  EXPECT_TRUE(*dir.refresh());
  EXPECT_FALSE(*dir.refresh());
  fs::create_directories(root / "a");
  EXPECT_TRUE(*dir.refresh());
  EXPECT_EQ(std::vector<std::string>(dir.names().begin(), dir.names().end()), (std::vector<std::string>{"a", "b"}));
  fs::remove_all(root);
  EXPECT_FALSE(dir.refresh());
  EXPECT_TRUE(dir.names().empty());
}

// What the kernel says is known until it announces something: the answer is the same.
TEST(KernelDir, OfDevices) {
  if (access("/sys/class/mem", R_OK) != 0) GTEST_SKIP() << "/sys/class/mem: not there";
  KernelDir mem("/sys/class/mem"), none("/sys/class/vitald_none");
  EXPECT_TRUE(*mem.refresh());
  EXPECT_FALSE(mem.names().empty());
  EXPECT_FALSE(*mem.refresh());
  EXPECT_FALSE(mem.names().empty());
  const auto first = none.refresh(), second = none.refresh();
  ASSERT_FALSE(first || second);
  EXPECT_EQ(first.error().text, second.error().text);
}

}  // namespace
}  // namespace vitald
