// SPDX-License-Identifier: Apache-2.0
// Who is named as the one that cost others, and that the sums are conserved.
#include "sensors/owner/pairs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/host.h"

namespace vitald {
namespace {

constexpr MetricDesc kDesc{"t", MetricType::counter, "h", "culprit", "", ""};

class Pairs : public testing::Test {
 protected:
  OwnerId owner(int n) { return table_.hold({fmt::format("/o{}", n), ""}); }
  // By culprit, of one victim.
  std::map<std::string, double> shown(OwnerId victim) {
    BatchWriter out("t");
    out.begin(0);
    pairs_.emit(kDesc, 1, out);
    const auto batch = out.finish({}, 0, 0);
    const std::string name(table_.at(victim)->owner.name);
    std::map<std::string, double> all;
    for (const auto& s : batch->layout->samples()) {
      const std::string text(batch->layout->prefix(s));
      if (text.find("owner=\"" + name + "\"") == std::string::npos) continue;
      const auto at = text.find("culprit=\"") + 9;
      all[text.substr(at, text.find('"', at) - at)] = batch->values[s.value];
    }
    return all;
  }
  void round(std::int64_t later_ns = 15'000'000'000) {
    clock_.advance_ns(later_ns);
    pairs_.end_round(clock_.boot_ns());
  }
  FakeClock clock_;
  Host host_{Host::Roots(), &clock_};
  OwnerTable table_{host_};
  OwnerPairs pairs_{table_, 2, 100};
};

using Map = std::map<std::string, double>;

TEST_F(Pairs, TheFewWorstByNameTheRestTogether) {
  const auto v = owner(0), a = owner(1), b = owner(2), c = owner(3);
  pairs_.add_all(v, 1000);
  pairs_.add(v, a, 500);
  pairs_.add(v, b, 300);
  pairs_.add(v, c, 99);  // is not worth a name
  round();
  EXPECT_EQ(shown(v), (Map{{"/o1", 500}, {"/o2", 300}, {"other", 200}}));
}

TEST_F(Pairs, AnotherIsNamedWhenItCostsTwiceAsMuch) {
  const auto v = owner(0), a = owner(1), b = owner(2), c = owner(3);
  pairs_.add_all(v, 1000);
  pairs_.add(v, a, 500), pairs_.add(v, b, 300);
  round();
  pairs_.add_all(v, 400);
  pairs_.add(v, c, 400);  // 300 * 0.9 is more than half of it
  round();
  EXPECT_EQ(shown(v), (Map{{"/o1", 500}, {"/o2", 300}, {"other", 600}}));
  pairs_.add_all(v, 400);
  pairs_.add(v, c, 400);
  round();
  EXPECT_EQ(shown(v), (Map{{"/o1", 500}, {"/o3", 400}, {"other", 600}})) << "begins with what is new";
}

TEST_F(Pairs, APartThatIsCountedBeforeTheWhole) {
  const auto v = owner(0), a = owner(1);
  pairs_.add_all(v, 100);
  pairs_.add(v, a, 150);
  round();
  EXPECT_EQ(shown(v), (Map{{"/o1", 100}, {"other", 0}})) << "never more than the whole";
  pairs_.add_all(v, 100);
  round();
  EXPECT_EQ(shown(v), (Map{{"/o1", 150}, {"other", 50}}));
}

// Who scrapes often does not make it forget faster.
TEST_F(Pairs, WhatWasIsForgottenByTimeAndNotByRounds) {
  const auto v = owner(0), a = owner(1), b = owner(2), c = owner(3);
  pairs_.add_all(v, 1000);
  pairs_.add(v, a, 500), pairs_.add(v, b, 300);
  round();
  for (int i = 0; i < 1000; ++i) round(1'000'000);
  pairs_.add_all(v, 400);
  pairs_.add(v, c, 400);
  round(0);
  EXPECT_EQ(shown(v), (Map{{"/o1", 500}, {"/o2", 300}, {"other", 600}}));
  round(600'000'000'000);
  pairs_.add_all(v, 400);
  pairs_.add(v, c, 400);
  round(0);
  EXPECT_EQ(shown(v), (Map{{"/o1", 500}, {"/o3", 400}, {"other", 600}}));
}

TEST_F(Pairs, OwnersThatAreDroppedEndWithTheirSeries) {
  table_.set_limit(10);
  const auto v = owner(0), a = owner(1);
  pairs_.add_all(v, 1000);
  pairs_.add(v, a, 800);
  round();
  table_.release(a);
  clock_.advance_ns(400'000'000'000);
  table_.cycle(clock_.boot_ns());
  clock_.advance_ns(400'000'000'000);
  table_.cycle(clock_.boot_ns());
  pairs_.add_all(v, 10);
  round();
  EXPECT_EQ(shown(v), (Map{{"other", 210}}));
}

TEST_F(Pairs, MoreCulpritsThanAreFollowed) {
  const auto v = owner(0);
  for (int i = 1; i <= 100; ++i) {
    pairs_.add_all(v, 10);
    pairs_.add(v, owner(i), 10);
  }
  round();
  EXPECT_EQ(shown(v), (Map{{"other", 1000}}));
}

}  // namespace
}  // namespace vitald
