// SPDX-License-Identifier: Apache-2.0
#include "core/log_queue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/os/fd.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::string dropped(std::uint64_t lines) { return fmt::format("dropped {}\n", lines); }

struct Pipe {
  Pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) std::abort();
    read.reset(fds[0]), write.reset(fds[1]);
    fcntl(write.get(), F_SETPIPE_SZ, 4096);
  }
  Fd read, write;
};

struct LogQueueTest : Pipe, testing::Test {
  // What comes until nothing has come for a while.
  std::vector<std::string> lines() {
    std::string text;
    char chunk[65536];
    for (pollfd p{read.get(), POLLIN, 0}; poll(&p, 1, 300) > 0 && p.revents & POLLIN;) {
      const auto n = ::read(read.get(), chunk, sizeof chunk);
      if (n <= 0) break;
      text.append(chunk, static_cast<std::size_t>(n));
    }
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = text.find('\n', at);
      out.push_back(text.substr(at, end - at));
      at = end == std::string::npos ? text.size() : end + 1;
    }
    return out;
  }

  std::atomic<std::uint64_t> counted{0};
  LogQueue queue{write.get(), dropped, [this](std::uint64_t n) { counted += n; }};
};

TEST_F(LogQueueTest, NobodyWaitsAndWhatIsMissingIsTold) {
  queue.start();
  const auto begin = SystemClock::read(CLOCK_MONOTONIC);
  constexpr std::size_t kLines = 20'000;
  for (std::size_t i = 0; i < kLines; ++i) queue.push(fmt::format("line {:06} {}\n", i, std::string(30, 'x')));
  EXPECT_LT(SystemClock::read(CLOCK_MONOTONIC) - begin, 2 * kSecond);
  EXPECT_FALSE(queue.flush(kSecond / 20));
  EXPECT_GT(counted, kLines / 2);

  // The writing thread may make room for a line in between: then there are two gaps, each told in its place.
  std::size_t next = 0, told = 0;
  for (const auto& line : lines()) {
    if (line.starts_with("dropped ")) {
      const auto gap = std::stoul(line.substr(8));
      next += gap;
      told += gap;
    } else {
      ASSERT_EQ(line, fmt::format("line {:06} {}", next++, std::string(30, 'x')));
    }
  }
  EXPECT_EQ(told, counted);
  EXPECT_EQ(next, kLines);
  queue.push("again\n");
  EXPECT_TRUE(queue.flush(5 * kSecond));
  EXPECT_THAT(lines(), testing::ElementsAre("again"));
}

TEST_F(LogQueueTest, WhatIsMissingIsToldInItsPlace) {
  queue.start();
  const std::string big(4000, 'b');
  while (counted == 0) queue.push(big + "\n");
  // Room for some: the gap comes before what is said after it.
  char chunk[16384];
  for (int i = 0; i < 4; ++i) ASSERT_GT(::read(read.get(), chunk, sizeof chunk), 0);
  const auto until = SystemClock::read(CLOCK_MONOTONIC) + 5 * kSecond;
  for (const auto lost = counted.load(); SystemClock::read(CLOCK_MONOTONIC) < until;) {
    queue.push("after\n");
    if (counted == lost) break;
    counted = lost;
    std::this_thread::yield();
  }
  auto got = lines();
  ASSERT_GE(got.size(), 2U);
  EXPECT_EQ(got.back(), "after");
  EXPECT_THAT(got[got.size() - 2], testing::StartsWith("dropped "));
}

TEST_F(LogQueueTest, WithoutAThreadASlowReaderGetsAll) {
  std::thread slow([this] {
    for (std::size_t i = 0; i < 300; ++i) queue.push(fmt::format("{} {}\n", i, std::string(1000, 'x')));
    write.reset();
  });
  const auto got = lines();
  slow.join();
  ASSERT_EQ(got.size(), 300U);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], fmt::format("{} {}", i, std::string(1000, 'x')));
  EXPECT_EQ(counted, 0U);
}

TEST_F(LogQueueTest, ALineIsCutToWhatAPipeTakesWhole) {
  fcntl(write.get(), F_SETPIPE_SZ, 65536);
  queue.push(std::string(5000, 'x') + "\nnext\n");
  const auto got = lines();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].size(), LogQueue::kMostLineBytes - 1);
  EXPECT_THAT(got[0], testing::EndsWith("x..."));
  EXPECT_EQ(got[1], "next");
}

TEST(LogQueue, AFullDiskIsTriedAgain) {
  const Fd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  const Fd file(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const Fd target(fcntl(full.get(), F_DUPFD_CLOEXEC, 0));
  std::uint64_t counted = 0;
  LogQueue queue(target.get(), dropped, [&](std::uint64_t n) { counted += n; });
  queue.start();
  queue.push("one\n");
  const auto begin = SystemClock::read(CLOCK_MONOTONIC);
  while (queue.flush(kSecond / 100)) {
  }
  EXPECT_FALSE(queue.flush(10 * kSecond)) << "the end does not wait for a disk";
  EXPECT_LT(SystemClock::read(CLOCK_MONOTONIC) - begin, 2 * kSecond);
  dup3(file.get(), target.get(), O_CLOEXEC);  // there is room
  queue.push("two\n");
  while (!queue.flush(kSecond)) {
  }
  char text[100];
  const auto n = pread(file.get(), text, sizeof text, 0);
  EXPECT_EQ(std::string(text, static_cast<std::size_t>(std::max<ssize_t>(n, 0))), "one\ntwo\n");
  EXPECT_EQ(counted, 0U);
}

}  // namespace
}  // namespace vitald
