// SPDX-License-Identifier: Apache-2.0
#include "agent/http/guesses.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// Digests are numbers here.
Guesses::Job job(const std::string& peer, const std::string& user, unsigned char number) {
  Guesses::Job out{{}, peer, user, "p", "h", true};
  out.digest[0] = number;
  return out;
}

Guesses::Known known(const Guesses& g, unsigned char number, std::int64_t* until = nullptr) {
  std::int64_t unused = 0;
  return g.known(job("", "", number).digest, until ? *until : unused);
}

TEST(Guesses, WhatWasComparedIsKnown) {
  Guesses g;
  EXPECT_FALSE(g.take());
  ASSERT_TRUE(g.add(job("a", "u", 1)));
  ASSERT_TRUE(g.add(job("a", "u", 2)));
  EXPECT_EQ(known(g, 1), Guesses::Known::no);
  const auto first = g.take();
  EXPECT_EQ(first->digest[0], 2);
  EXPECT_TRUE(g.waits(first->digest));  // while it is compared
  g.decided(*first, true, 0);
  EXPECT_FALSE(g.waits(first->digest));
  EXPECT_EQ(known(g, 2), Guesses::Known::good);
  g.decided(*g.take(), false, 0);
  EXPECT_EQ(known(g, 1), Guesses::Known::wrong);
}

TEST(Guesses, EverySecondComparisonIsForWhoWasNotWrongOfLate) {
  Guesses g;
  for (unsigned char i = 1; i <= 3; ++i) {
    g.add(job("evil", "u", i));
    g.decided(*g.take(), false, 0);
  }
  for (unsigned char i = 10; i < 30; ++i) ASSERT_TRUE(g.add(job("evil", "u", i)));
  ASSERT_TRUE(g.add(job("prometheus", "u", 99)));  // last of all
  std::vector<int> order{g.take()->digest[0], g.take()->digest[0]};
  EXPECT_TRUE(order[0] == 99 || order[1] == 99) << order[0] << " " << order[1];
  EXPECT_EQ(std::min(order[0], order[1]), 10);  // and the oldest is not forgotten
}

// A server behind the same address and with the same user's name as somebody who tries passwords.
TEST(Guesses, WhoComesLastToACrowdedShareIsSoonCompared) {
  Guesses g;
  for (unsigned char i = 1; i <= 20; ++i) ASSERT_TRUE(g.add(job("same", "u", i)));
  g.decided(*g.take(), false, 0);
  ASSERT_TRUE(g.add(job("same", "u", 99)));
  std::vector<int> order;
  for (int i = 0; i < 2; ++i) order.push_back(g.take()->digest[0]);
  EXPECT_NE(std::ranges::find(order, 99), order.end());
}

TEST(Guesses, AShareIsFullWithoutKeepingOthersOut) {
  Guesses g;
  unsigned char number = 0;
  for (std::size_t i = 0; i < Guesses::kMostOfShare; ++i) ASSERT_TRUE(g.add(job("evil", "u", ++number)));
  EXPECT_FALSE(g.add(job("evil", "u", ++number)));
  EXPECT_TRUE(g.add(job("evil", "other", ++number)));
  EXPECT_TRUE(g.add(job("prometheus", "u", ++number)));
}

TEST(Guesses, WrongOnesAreAnsweredLaterTheMoreThereAre) {
  Guesses g;
  std::vector<std::int64_t> delays;
  const auto wrong = [&](const std::string& peer, unsigned char number, std::int64_t now) {
    g.add(job(peer, "user" + std::to_string(number), number));  // another user each time: it is the peer that counts
    g.decided(*g.take(), false, now);
    std::int64_t until = 0;
    EXPECT_EQ(known(g, number, &until), Guesses::Known::wrong);
    return until - now;
  };
  for (unsigned char i = 1; i <= 30; ++i) delays.push_back(wrong("evil", i, 0));
  EXPECT_EQ(delays.front(), Guesses::kStepNs);
  EXPECT_EQ(delays[4], 5 * Guesses::kStepNs);
  EXPECT_EQ(delays.back(), Guesses::kLongestNs);
  EXPECT_EQ(wrong("prometheus", 100, 0), Guesses::kStepNs);
  // Not more of them than connections can be spared for.
  EXPECT_GT(wrong("third", 101, 0), 0);
  EXPECT_EQ(wrong("fourth", 102, 0), 0);
  // It is forgotten: 30 wrong ones halve every ten seconds.
  EXPECT_LT(wrong("evil", 103, 60 * kSecond), 2 * Guesses::kStepNs);
}

TEST(Guesses, MemoryIsBoundedAndGoodOnesStay) {
  Guesses g;
  g.add(job("prometheus", "u", 1));
  g.decided(*g.take(), true, 0);
  for (int i = 0; i < 1500; ++i) {
    auto j = job("evil" + std::to_string(i), "u", 2);
    j.digest[1] = static_cast<unsigned char>(i);
    j.digest[2] = static_cast<unsigned char>(i >> 8);
    ASSERT_TRUE(g.add(j));
    g.decided(*g.take(), false, i);
  }
  EXPECT_EQ(known(g, 1), Guesses::Known::good);
  EXPECT_EQ(known(g, 2), Guesses::Known::no);  // the first wrong ones were forgotten
}

}  // namespace
}  // namespace vitald
