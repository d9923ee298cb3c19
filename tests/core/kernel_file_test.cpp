// SPDX-License-Identifier: Apache-2.0
#include "core/os/kernel_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/os/descriptors.h"

namespace vitald {
namespace {

class KernelFileTest : public testing::Test {
 protected:
  KernelFileTest() {
    char name[] = "/tmp/vitald-test-XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~KernelFileTest() override { std::filesystem::remove_all(dir_); }
  std::string file(const std::string& name, std::string_view text) {
    std::ofstream(dir_ + "/" + name) << text;
    return dir_ + "/" + name;
  }
  std::string dir_;
};

constexpr KernelFile::Read kAll[] = {KernelFile::Read::whole, KernelFile::Read::records,
                                     KernelFile::Read::short_records, KernelFile::Read::sysctl};

TEST_F(KernelFileTest, RereadsWhatChanged) {
  KernelFile f(file("a", "one"));
  EXPECT_EQ(*f.read(), "one");
  file("a", "a longer second");
  EXPECT_EQ(*f.read(), "a longer second");
}

TEST_F(KernelFileTest, GrowsForLargeFiles) {
  const std::string large(300'000, 'x');
  const auto path = file("large", large);
  for (const auto how : kAll) {
    KernelFile f(path, how);
    EXPECT_EQ(f.read()->size(), large.size());
    EXPECT_EQ(f.read()->size(), large.size());
  }
}

TEST_F(KernelFileTest, ExactlyAsLargeAsTheBuffer) {
  for (const auto how : kAll)
    for (const std::size_t n : {255U, 256U, 257U, 16384U, 32768U, 600000U})
      EXPECT_EQ(read_kernel_file(file("n", std::string(n, 'y')), how)->size(), n);
}

TEST_F(KernelFileTest, WhatDoesNotEndIsAnError) {
  const auto sparse = file("sparse", "");
  std::filesystem::resize_file(sparse, std::size_t{1} << 30);
  for (const auto& path : {sparse, std::string("/dev/zero")}) {
    const auto text = read_kernel_file(path);
    ASSERT_FALSE(text) << path;
    EXPECT_EQ(text.error().text, path + ": does not end after 64 MiB");
  }
  EXPECT_EQ(*read_kernel_file(file("a", "text")), "text");
}

TEST_F(KernelFileTest, RealProcFiles) {
  KernelFile stat("/proc/stat");
  EXPECT_TRUE(stat.read()->starts_with("cpu "));
  EXPECT_TRUE(stat.read()->starts_with("cpu "));
  EXPECT_TRUE(read_kernel_file("/proc/self/mounts", KernelFile::Read::records)->ends_with("\n"));
  EXPECT_EQ(*read_kernel_file("/proc/sys/kernel/ostype", KernelFile::Read::sysctl), "Linux\n");
}

// /proc/kallsyms has megabytes of short records, a page a read.
TEST_F(KernelFileTest, ShortRecordsToTheEnd) {
  const auto all = [](KernelFile::Read how) {
    const auto text = read_kernel_file("/proc/kallsyms", how);
    return text ? std::string(*text) : text.error().text;
  };
  // BPF programs that others load and unload are in it, so two reads may differ. EXPECT_EQ() would then look for the
  // difference in megabytes, which takes all memory there is.
  std::string records;
  bool same = false;
  for (int i = 0; i < 100 && !same; ++i) {
    records = all(KernelFile::Read::records);
    same = all(KernelFile::Read::short_records) == records;
  }
  EXPECT_GT(records.size(), 100'000u);
  EXPECT_TRUE(same);
  for (const auto* path : {"/proc/devices", "/proc/modules", "/proc/net/protocols"})
    if (const auto read = read_kernel_file(path, KernelFile::Read::records); read) {
      const std::string want(*read);
      EXPECT_EQ(*read_kernel_file(path, KernelFile::Read::short_records), want) << path;
    }
}

TEST_F(KernelFileTest, TextFilesAreBounded) {
  for (const std::size_t n : {0U, 1U, 4096U, 99'999U, 100'000U}) {
    const auto text = read_text_file(file("n", std::string(n, 'y')), 100'000);
    ASSERT_TRUE(text) << text.error().text;
    EXPECT_EQ(*text, std::string(n, 'y'));
  }
  const auto path = file("n", std::string(100'001, 'y'));
  EXPECT_EQ(read_text_file(path, 100'000).error().text, path + ": 100001 bytes, expected at most 100000");
  EXPECT_EQ(read_text_file("/dev/zero", 100'000).error().text, "/dev/zero: not a regular file");
  EXPECT_EQ(*read_text_file("/dev/null", 100'000), "");
  EXPECT_TRUE(read_text_file("/proc/self/status", 100'000)->starts_with("Name:"));  // has no size
  EXPECT_EQ(read_text_file(dir_ + "/absent", 10).error().kind, Errc::gone);
  EXPECT_FALSE(read_text_file(dir_, 1 << 20));
  ASSERT_EQ(mkfifo((dir_ + "/pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_text_file(dir_ + "/pipe", 10).error().text, dir_ + "/pipe: not a regular file");  // nor does it hang
}

TEST_F(KernelFileTest, AFifoGivesNothingInsteadOfHanging) {
  const auto path = dir_ + "/fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(*read_kernel_file(path), "");
}

TEST_F(KernelFileTest, MissingIsGone) {
  KernelFile f(dir_ + "/none");
  const auto text = f.read();
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind, Errc::gone);
  file("none", "now");
  EXPECT_EQ(*f.read(), "now");
}

TEST_F(KernelFileTest, BeyondTheLimitOpensForEachRead) {
  keep_descriptors_below(48);
  std::vector<KernelFile> files;
  for (int i = 0; i < 100; ++i) files.emplace_back("/proc/sys/kernel/ostype", KernelFile::Read::sysctl);
  for (int round = 0; round < 2; ++round)
    for (auto& f : files) EXPECT_EQ(*f.read(), "Linux\n");
  EXPECT_TRUE(files.front().is_open());
  EXPECT_FALSE(files.back().is_open());
  EXPECT_LE(std::ranges::count_if(files, &KernelFile::is_open), 48);
  keep_descriptors_below(INT_MAX);
}

// Of a file that is no kernel's a new one may take the place at any time: a collector writes it aside and renames it.
TEST_F(KernelFileTest, WhatTookItsPlaceIsRead) {
  KernelFile f(file("a", "one"));
  for (const std::string text : {"two", "three"}) {
    EXPECT_NE(*f.read(), text);
    std::filesystem::rename(file("new", text), dir_ + "/a");
    EXPECT_EQ(*f.read(), text);
    EXPECT_FALSE(f.is_open());
  }
  KernelFile kernels("/proc/loadavg");
  EXPECT_TRUE(kernels.read());
  EXPECT_TRUE(kernels.is_open());
  if (KernelFile sysfs("/sys/kernel/mm/transparent_hugepage/enabled"); sysfs.read()) {
    EXPECT_TRUE(sysfs.is_open());
  }
}

TEST_F(KernelFileTest, ListDirectoryIsSorted) {
  file("b", ""), file("a", ""), file("10", "");
  EXPECT_EQ(*list_directory(dir_), (std::vector<std::string>{"10", "a", "b"}));
  EXPECT_EQ(list_directory(dir_ + "/x").error().kind, Errc::gone);
}

}  // namespace
}  // namespace vitald
