// SPDX-License-Identifier: Apache-2.0
// Pressure triggers of the running kernel.
#include "sensors/proc/stall_news.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace vitald {
namespace {

bool news_within(const StallNews& news, int ms) {
  pollfd fd{news.fd(), POLLIN, 0};
  return poll(&fd, 1, ms) == 1;
}

TEST(StallNews, TasksThatWaitForACpuAreNews) {
  if (access("/proc/pressure/cpu", W_OK) != 0) GTEST_SKIP() << "no /proc/pressure/cpu to write to";
  StallNews news;
  EXPECT_EQ(news.fd(), -1);
  const auto watched = news.watch("/proc/pressure/cpu", 50'000'000);
  if (!watched) GTEST_SKIP() << watched.error().text;
  std::atomic<bool> stop = false;
  std::vector<std::thread> hogs;
  for (long i = 0; i < 2 * sysconf(_SC_NPROCESSORS_ONLN); ++i)
    hogs.emplace_back([&] {
      while (!stop) {
      }
    });
  EXPECT_TRUE(news_within(news, 10'000));
  news.clear();
  EXPECT_TRUE(news_within(news, 10'000)) << "it goes on";
  stop = true;
  for (auto& t : hogs) t.join();
}

TEST(StallNews, WhatCannotBeWatched) {
  StallNews news;
  EXPECT_EQ(news.watch("/nonexistent", 1).error().kind, Errc::gone);
  EXPECT_EQ(news.fd(), -1);
  news.clear();
}

}  // namespace
}  // namespace vitald
