// SPDX-License-Identifier: Apache-2.0
#include "agent/http/outgoing.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::size_t kMiB = 1 << 20;

// Requests are numbers here: only where they are is looked at.
struct World {
  Outgoing all;
  std::array<char, 64> places{};
  std::vector<std::size_t> closed;

  Exchange& exchange(std::size_t number) { return *reinterpret_cast<Exchange*>(&places[number]); }
  bool add(std::size_t number, const std::string& peer, std::size_t bytes, std::int64_t now_ns, bool scrape = false) {
    return add(number, peer, std::make_shared<const std::string>(bytes, 'x'), now_ns, scrape);
  }
  bool add(std::size_t number, const std::string& peer, std::shared_ptr<const std::string> body, std::int64_t now_ns,
           bool scrape) {
    return all.add({&exchange(number), peer, std::move(body), now_ns, scrape}, [this](Exchange& e) {
      closed.push_back(static_cast<std::size_t>(reinterpret_cast<char*>(&e) - places.data()));
    });
  }
};

TEST(Outgoing, IsBounded) {
  World w;
  EXPECT_TRUE(w.add(1, "a", 40 * kMiB, 0)) << "one alone may be as large as it is";
  EXPECT_FALSE(w.add(2, "b", kMiB, 0));
  EXPECT_TRUE(w.add(3, "b", Outgoing::kLarge, 0)) << "small ones are not looked at";
  EXPECT_TRUE(w.add(4, "b", kMiB, 0, true)) << "a scrape is never refused";
  EXPECT_EQ(w.all.bytes(), 41 * kMiB);
  w.all.remove(w.exchange(1));
  EXPECT_TRUE(w.add(2, "b", kMiB, 0));
  EXPECT_EQ(w.all.bytes(), 2 * kMiB);
  EXPECT_TRUE(w.closed.empty());
}

TEST(Outgoing, AnAddressHasAShare) {
  World w;
  EXPECT_TRUE(w.add(1, "a", 10 * kMiB, 0));
  EXPECT_FALSE(w.add(2, "a", 7 * kMiB, 0));
  EXPECT_TRUE(w.add(3, "a", 6 * kMiB, 0));
  EXPECT_TRUE(w.add(4, "b", 10 * kMiB, 0)) << "others have the rest";
  // Its own slow one goes for it, as soon as it is slow: 6 MiB in 2.5 s, 10 MiB in 3.5 s.
  EXPECT_FALSE(w.add(5, "a", 3 * kMiB, 2 * kSecond));
  EXPECT_TRUE(w.add(5, "a", 3 * kMiB, 3 * kSecond));
  EXPECT_EQ(w.closed, std::vector<std::size_t>{3});
}

TEST(Outgoing, TheSlowestOfWhoHasMostGoesFirst) {
  World w;
  EXPECT_TRUE(w.add(1, "b", 8 * kMiB, 0));
  EXPECT_TRUE(w.add(2, "a", 6 * kMiB, 1));
  EXPECT_TRUE(w.add(3, "a", 6 * kMiB, 2));
  EXPECT_TRUE(w.add(4, "c", 11 * kMiB, 9 * kSecond));
  EXPECT_TRUE(w.add(5, "d", 4 * kMiB, 10 * kSecond));
  EXPECT_EQ(w.closed, std::vector<std::size_t>{2});
  EXPECT_EQ(w.all.bytes(), 29 * kMiB);
}

TEST(Outgoing, WhatManyAreSentCountsOnce) {
  World w;
  const auto body = std::make_shared<const std::string>(30 * kMiB, 'x');
  for (std::size_t i = 0; i < 40; ++i) EXPECT_TRUE(w.add(i, "a", body, 0, true));
  EXPECT_EQ(w.all.bytes(), 30 * kMiB);
  EXPECT_TRUE(w.add(50, "a", kMiB, 0)) << "scrapes are not in an address' share";
  EXPECT_TRUE(w.closed.empty());
}

}  // namespace
}  // namespace vitald
