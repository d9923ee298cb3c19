// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/shared_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "core/clock.h"

namespace vitald {
namespace {

class SharedFileTest : public testing::Test {
 protected:
  SharedFileTest() {
    char name[] = "/tmp/vitald-test-XXXXXX";
    root_ = mkdtemp(name);
    host_.emplace(Host::Roots{root_, root_, root_, root_}, &clock_);
  }
  ~SharedFileTest() override { std::filesystem::remove_all(root_); }

  void write(std::string_view text) { std::ofstream(root_ + "/stat", std::ios::trunc) << text; }
  std::string read(SharedFile& file) {
    const auto text = file.read();
    return text ? std::string(*text) : text.error().text.substr(root_.size());
  }

  std::string root_;
  FakeClock clock_;
  std::optional<Host> host_;
};

}  // namespace

TEST_F(SharedFileTest, OneReadPerCycle) {
  SharedFile a(*host_, host_->procfs("stat")), b(*host_, host_->procfs("stat"));
  write("1");
  EXPECT_EQ(read(a), "1");
  write("2");
  EXPECT_EQ(read(b), "1") << "the same cycle: the text that a has read";
  EXPECT_EQ(read(b), "2") << "nobody has the same text twice";
  EXPECT_EQ(read(a), "2");
  write("3");
  clock_.advance_ns(11'000'000);
  EXPECT_EQ(read(b), "3");
  write("4");
  clock_.advance_ns(11'000'000);
  EXPECT_EQ(read(a), "4") << "new to a, but too old";
}

TEST_F(SharedFileTest, AnErrorIsNotShared) {
  SharedFile a(*host_, host_->procfs("stat")), b(*host_, host_->procfs("stat"));
  EXPECT_EQ(read(a), "/stat: No such file or directory (ENOENT)");
  write("1");
  EXPECT_EQ(read(b), "1");
  EXPECT_EQ(read(a), "1");
}

TEST_F(SharedFileTest, EachHostHasItsOwn) {
  const Host other(Host::Roots{root_, root_, root_, root_}, &clock_);
  SharedFile a(*host_, host_->procfs("stat")), b(other, other.procfs("stat"));
  write("1");
  EXPECT_EQ(read(a), "1");
  write("2");
  EXPECT_EQ(read(b), "2");
}

// Neither sees half a text, nor waits for the other.
TEST_F(SharedFileTest, ReadersOnTwoThreads) {
  const std::string text(5000, 'v');
  write(text);
  std::vector<int> whole(2);
  std::vector<std::jthread> threads;
  for (auto& count : whole)
    threads.emplace_back([&] {
      SharedFile file(*host_, host_->procfs("stat"));
      for (int i = 0; i < 2000; ++i) {
        const auto got = file.read();
        count += got && *got == text;
      }
    });
  threads.clear();
  EXPECT_EQ(whole, std::vector<int>(2, 2000));
}

}  // namespace vitald
