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

Guesses::Known known(Guesses& g, unsigned char number, std::int64_t* until = nullptr) {
  std::int64_t unused = 0;
  return g.known(job("", "", number).digest, until ? *until : unused);
}

TEST(Guesses, WhatWasComparedIsKnown) {
  Guesses g;
  EXPECT_FALSE(g.take());
  g.add(job("a", "u", 1), 0);
  g.add(job("a", "u", 2), 0);
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
    g.add(job("evil", "u", i), 0);
    g.decided(*g.take(), false, 0);
  }
  for (unsigned char i = 10; i < 30; ++i) g.add(job("evil", "u", i), 0);
  g.add(job("prometheus", "u", 99), 0);  // last of all
  std::vector<int> order{g.take()->digest[0], g.take()->digest[0]};
  EXPECT_TRUE(order[0] == 99 || order[1] == 99) << order[0] << " " << order[1];
  EXPECT_EQ(std::min(order[0], order[1]), 10);  // and the oldest is not forgotten
}

// A server behind the same address and with the same user's name as somebody who tries passwords.
TEST(Guesses, WhoComesLastToACrowdedShareIsSoonCompared) {
  Guesses g;
  for (unsigned char i = 1; i <= 20; ++i) g.add(job("same", "u", i), 0);
  g.decided(*g.take(), false, 0);
  g.add(job("same", "u", 99), 0);
  std::vector<int> order;
  for (int i = 0; i < 2; ++i) order.push_back(g.take()->digest[0]);
  EXPECT_NE(std::ranges::find(order, 99), order.end());
}

TEST(Guesses, WhoComesToAFullShareTakesAnyonesPlace) {
  Guesses g;
  unsigned char number = 0;
  for (std::size_t i = 0; i < Guesses::kMostOfShare; ++i) g.add(job("evil", "u", ++number), 0);
  g.add(job("prometheus", "u", 200), 0);
  g.add(job("evil", "u", 201), 0);
  EXPECT_TRUE(g.waits(job("", "", 201).digest));
  EXPECT_TRUE(g.waits(job("", "", 200).digest));  // only the same share makes room
  std::vector<unsigned char> out;
  for (unsigned char i = 1; i <= number; ++i)
    if (!g.waits(job("", "", i).digest)) out.push_back(i);
  ASSERT_EQ(out.size(), 1U);
  std::int64_t until = 0;
  EXPECT_EQ(known(g, out[0], &until), Guesses::Known::out);
  EXPECT_EQ(until, Guesses::kOutNs);
  g.add(job("evil", "u", out[0]), until);  // and comes again, in the place of another one
  EXPECT_TRUE(g.waits(job("", "", out[0]).digest));
  EXPECT_EQ(known(g, out[0]), Guesses::Known::no);
}

TEST(Guesses, NotMoreArePushedOutThanConnectionsCanBeSparedFor) {
  Guesses g;
  unsigned char number = 0;
  for (std::size_t i = 0; i < Guesses::kMostOfShare + Guesses::kMostOut + 20; ++i) g.add(job("evil", "u", ++number), 0);
  std::size_t refused = 0, out = 0;
  for (unsigned char i = 1; i <= number; ++i) {
    const auto state = known(g, i);
    refused += state == Guesses::Known::refused ? 1 : 0;
    out += state == Guesses::Known::out ? 1 : 0;
    EXPECT_TRUE(state != Guesses::Known::refused || known(g, i) == Guesses::Known::no) << "told once";
  }
  EXPECT_EQ(refused, 20U);
  EXPECT_EQ(out, Guesses::kMostOut);
}

TEST(Guesses, WhereAllIsFullTheLargestShareMakesRoom) {
  Guesses g;
  unsigned char number = 0;
  for (std::size_t i = 0; i < Guesses::kMostOfShare; ++i) g.add(job("evil", "u", ++number), 0);
  for (std::size_t i = Guesses::kMostOfShare; i < Guesses::kMost; ++i) g.add(job("evil", "v", ++number), 0);
  g.add(job("prometheus", "u", 200), 0);
  EXPECT_TRUE(g.waits(job("", "", 200).digest));
  for (auto i = static_cast<unsigned char>(Guesses::kMostOfShare + 1); i <= number; ++i)
    EXPECT_TRUE(g.waits(job("", "", i).digest));
}

// As BasicAuth asks, `per_second` comparisons a second: connections that guess, each at once again when it is answered,
// and a server that asks every second, gives up after one, and has a password that is right and was never compared.
struct Crowd {
  const char* name;
  std::size_t guessers;
  int per_second;
  const char *peer, *of_scraper;
  bool new_names;      // each guess has a user's name that nobody had
  std::size_t repeat;  // on so many connections each guess
  int most_lost;       // of the server's requests before the one that is answered
  int most_lost_of_all;
};
struct Lost {
  int most = 0, all = 0;
};
Lost lost_requests(const Crowd& crowd) {
  Guesses g;
  struct Asking {
    Guesses::Job job;
    std::int64_t arrived = 0;
  };
  std::uint32_t number = 0;
  std::int64_t now = kSecond;
  const std::int64_t comparison = kSecond / crowd.per_second;
  const auto guess = [&] {
    const auto n = static_cast<std::uint32_t>(number++ / crowd.repeat);
    auto j = job(crowd.peer, crowd.new_names ? "u" + std::to_string(n) : "u", 0);
    for (std::size_t i = 0; i < 4; ++i) j.digest[1 + i] = static_cast<unsigned char>(n >> (8 * i));
    return Asking{j, now + number % 1000};  // not all in the same round of the server's loop
  };
  const auto turn = [&](const Asking& a) {  // true: it is answered
    std::int64_t until = 0;
    const auto state = g.known(a.job.digest, until);
    if (state == Guesses::Known::good || state == Guesses::Known::refused) return true;
    if ((state == Guesses::Known::wrong || state == Guesses::Known::out) && now < until) return false;
    if (state == Guesses::Known::wrong) return true;
    g.asked(a.job.digest, a.arrived);
    if (!g.waits(a.job.digest)) g.add(a.job, now);
    return false;
  };
  std::vector<Asking> guessers;
  for (std::size_t i = 0; i < crowd.guessers; ++i) guessers.push_back(guess());
  Lost lost;
  for (unsigned char round = 1; round <= 12; ++round) {
    Asking right{job(crowd.of_scraper, "u", round), 0};
    const std::int64_t from = now + (3 + round % 3) * kSecond + round * comparison / 12;  // they were at it for a while
    bool good = false;
    while (!good) {
      auto next = g.take();
      const auto until = now + comparison;
      // Those who were answered ask again while it is compared; the server somewhen.
      for (auto& a : guessers)
        for (int tries = 0; tries < 20 && turn(a); ++tries) a = guess();
      now = until;
      if (now >= from) {
        const auto asked = from + (now - from) / kSecond * kSecond;
        if (right.arrived != 0 && asked != right.arrived)
          ++lost.all, lost.most = std::max(lost.most, static_cast<int>((asked - from) / kSecond));
        right.arrived = asked;
        turn(right);
      }
      if (!next) continue;
      good = next->digest == right.job.digest;
      g.decided(*next, good, now, comparison);
      if (now - from > 60 * kSecond) return {1000, 1000};
    }
  }
  return lost;
}
TEST(Guesses, TheRightOneIsFoundAmongMany) {
  for (const auto& crowd : {
           Crowd{"of its address and user", 100, 40, "same", "same", false, 1, 1, 8},
           Crowd{"of its address and user, and comparisons are dear", 100, 10, "same", "same", false, 1, 1, 8},
           Crowd{"of its address and user, each guess twice", 100, 10, "same", "same", false, 2, 4, 16},
           Crowd{"of its address and user, each guess four times", 100, 10, "same", "same", false, 4, 4, 16},
           Crowd{"of its user", 100, 10, "other", "same", false, 1, 0, 0},
           Crowd{"of any user", 200, 10, "b", "c", true, 1, 0, 0},
           Crowd{"of any user, from an address that sorts behind", 200, 10, "b", "a", true, 1, 0, 0},
       }) {
    const auto lost = lost_requests(crowd);
    EXPECT_LE(lost.most, crowd.most_lost) << crowd.name;
    EXPECT_LE(lost.all, crowd.most_lost_of_all) << crowd.name;
    RecordProperty(crowd.name, lost.all);
  }
}

// So long the first request of a server with the right password waits, which asks once and goes on waiting: the 99th of
// 100. Guessers of its address and user, each on a connection that it keeps or makes anew.
double first_answer_s(std::size_t guessers, int per_second) {
  Guesses g;
  std::uint32_t number = 0;
  std::int64_t now = kSecond;
  const std::int64_t comparison = kSecond / per_second;
  const auto guess = [&] {
    auto j = job("same", "u", 0);
    const auto n = ++number;
    for (std::size_t i = 0; i < 4; ++i) j.digest[1 + i] = static_cast<unsigned char>(n >> (8 * i));
    return std::pair(j, now + n % 1000);
  };
  const auto answered = [&](const Guesses::Job& j, std::int64_t arrived) {
    std::int64_t until = 0;
    switch (g.known(j.digest, until)) {
      case Guesses::Known::good:
      case Guesses::Known::refused: return true;
      case Guesses::Known::wrong: return now >= until;
      case Guesses::Known::out:
        if (now < until) return false;
        break;
      case Guesses::Known::no: break;
    }
    g.asked(j.digest, arrived);
    if (!g.waits(j.digest)) g.add(j, now);
    return false;
  };
  std::vector<std::pair<Guesses::Job, std::int64_t>> asking;
  for (std::size_t i = 0; i < guessers; ++i) asking.push_back(guess());
  std::vector<double> waited;
  for (unsigned char round = 1; round <= 100; ++round) {
    auto right = job("same", "u", round);
    const auto from = now + (round == 1 ? 20 : 1 + round % 3) * kSecond + round * comparison / 100;
    for (bool good = false; !good;) {
      if (now >= from) answered(right, from);  // and after it those who were answered
      for (auto& a : asking)
        for (int tries = 0; tries < 20 && answered(a.first, a.second); ++tries) a = guess();
      auto next = g.take();
      now += comparison;
      if (next) g.decided(*next, good = next->digest == right.digest, now, comparison);
      if (now - from > 60 * kSecond) return 60;
    }
    waited.push_back(static_cast<double>(now - from) / 1e9);
  }
  std::ranges::sort(waited);
  return waited[98];
}
TEST(Guesses, TheFirstRightOneIsAnsweredWithinASecond) {
  // With two hundred, a machine that compares twelve passwords a second has no second to spare for each: 1.3 s.
  for (const std::size_t guessers : {17, 200})
    for (const int per_second : {40, guessers == 17 ? 12 : 20}) {
      const auto s = first_answer_s(guessers, per_second);
      EXPECT_LE(s, 1) << guessers << " guessers, " << per_second << " comparisons a second";
      RecordProperty(std::to_string(guessers) + " at " + std::to_string(per_second), std::to_string(s));
    }
}

// Whoever insists is not pushed out, and not forgotten by those who do not.
TEST(Guesses, WhoAsksAgainIsComparedSoon) {
  Guesses g;
  const auto right = job("same", "u", 0);
  g.asked(right.digest, 1);
  g.add(right, 1);
  const auto many = [&](unsigned from) {
    for (unsigned n = from; n < from + 2000; ++n) {
      auto j = job("same", "u", 1);
      j.digest[1] = static_cast<unsigned char>(n);
      j.digest[2] = static_cast<unsigned char>(n >> 8);
      g.asked(j.digest, n);
      if (!g.waits(j.digest)) g.add(j, 1);
    }
  };
  g.asked(right.digest, 1);  // it looks again, and is the same request
  g.asked(right.digest, kSecond);
  many(0);
  EXPECT_TRUE(g.waits(right.digest));
  std::vector<int> order;
  for (int i = 0; i < 2; ++i) order.push_back(g.take()->digest[0]);
  EXPECT_EQ(order, (std::vector{1, 0}));
}

// Who asked again and again in an attack that is over keeps no server's place that insists later.
TEST(Guesses, AnAttackThatIsOverIsForgotten) {
  Guesses g;
  const auto ask = [&](unsigned n, std::int64_t now) {
    auto j = job("same", "u", 1);
    j.digest[1] = static_cast<unsigned char>(n);
    j.digest[2] = static_cast<unsigned char>(n >> 8);
    for (int i = 0; i < 4; ++i) g.asked(j.digest, now + i);
  };
  for (unsigned n = 0; n < 2000; ++n) ask(n, 1 + n);
  const auto later = Guesses::kAskedNs + kSecond;
  const auto right = job("same", "u", 0);
  g.asked(right.digest, later);
  for (unsigned char n = 2; n < 5; ++n) g.asked(job("same", "u", n).digest, later + n);  // they take nobody's place
  g.asked(right.digest, later + kSecond);
  g.add(right, later + kSecond);
  for (unsigned char n = 5; n < 7; ++n) {
    const auto guess = job("same", "u", n);
    g.asked(guess.digest, later + 2 * kSecond);
    g.add(guess, later + 2 * kSecond);
  }
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) order.push_back(g.take()->digest[0]);
  EXPECT_EQ(order, (std::vector{6, 0, 5})) << "who asked last, who insists, who is left";
}

TEST(Guesses, WrongOnesAreAnsweredLaterTheMoreThereAre) {
  Guesses g;
  std::vector<std::int64_t> delays;
  const auto wrong = [&](const std::string& peer, unsigned char number, std::int64_t now) {
    g.add(job(peer, "user" + std::to_string(number), number), 0);  // another user each time: it is the peer that counts
    g.decided(*g.take(), false, now);
    std::int64_t until = 0;
    EXPECT_EQ(known(g, number, &until), Guesses::Known::wrong);
    return until - now;
  };
  for (unsigned char i = 1; i <= 30; ++i) delays.push_back(wrong("evil", i, 0));
  EXPECT_EQ(delays.front(), Guesses::kStepNs);
  EXPECT_EQ(delays[4], 5 * Guesses::kStepNs);
  EXPECT_EQ(delays[19], Guesses::kLongestNs);
  EXPECT_EQ(delays.back(), Guesses::kLongestNs + 10 * Guesses::kBetweenNs) << "one after the other";
  EXPECT_EQ(wrong("prometheus", 100, 0), Guesses::kStepNs) << "others do not wait for them";
  // It is forgotten: 30 wrong ones halve every ten seconds.
  EXPECT_LT(wrong("evil", 103, 60 * kSecond), 2 * Guesses::kStepNs);
}

TEST(Guesses, NotMoreWrongOnesAreHeldThanConnectionsCanBeSparedFor) {
  Guesses g;
  std::size_t held = 0;
  for (unsigned char i = 0; i < 240; ++i) {
    g.add(job("evil", "u", i), 0);
    g.decided(*g.take(), false, 0, kSecond);
    std::int64_t until = 0;
    EXPECT_EQ(known(g, i, &until), Guesses::Known::wrong);
    EXPECT_LE(until, Guesses::kLongestInTurnNs);
    held += until > 0 ? 1 : 0;
  }
  EXPECT_EQ(held, Guesses::kMostConnections);
}

TEST(Guesses, MemoryIsBoundedAndGoodOnesStay) {
  Guesses g;
  g.add(job("prometheus", "u", 1), 0);
  g.decided(*g.take(), true, 0);
  for (int i = 0; i < 1500; ++i) {
    auto j = job("evil" + std::to_string(i), "u", 2);
    j.digest[1] = static_cast<unsigned char>(i);
    j.digest[2] = static_cast<unsigned char>(i >> 8);
    g.add(j, 0);
    g.decided(*g.take(), false, i);
  }
  EXPECT_EQ(known(g, 1), Guesses::Known::good);
  EXPECT_EQ(known(g, 2), Guesses::Known::no);  // the first wrong ones were forgotten
}

}  // namespace
}  // namespace vitald
