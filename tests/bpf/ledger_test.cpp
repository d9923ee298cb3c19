// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/ledger.h"

#include <gtest/gtest.h>

namespace vitald {
namespace {

using Ledger = OwnerLedger<1>;

Owner unit(const std::string& name) { return {OwnerKind::unit, name, {}, {}, {}, {}, {}, {}}; }

std::string text(const Ledger& ledger) {
  std::string out;
  for (const auto& e : ledger.entries()) out += e.owner.name + "=" + std::to_string(e.total()[0]) + " ";
  return out;
}

TEST(OwnerLedger, OneOwnerOfManyCgroups) {
  Ledger ledger(10);
  auto* a = ledger.open(unit("a"), 0);
  EXPECT_EQ(ledger.open(unit("a"), 0), a);
  a->live[0] += 3;
  a->live[0] += 4;
  EXPECT_EQ(text(ledger), "other=0 a=7 ");
  ledger.begin_round();
  EXPECT_EQ(text(ledger), "other=0 a=0 ");
}

TEST(OwnerLedger, StaysAWhileAndGoesToOther) {
  Ledger ledger(10);
  auto* a = ledger.open(unit("a"), 0);
  a->gone[0] = 5;
  ledger.close(*a, 100);
  ledger.drop_empty(149, 50);
  EXPECT_EQ(text(ledger), "other=0 a=5 ");
  EXPECT_EQ(ledger.open(unit("a"), 149), a) << "a unit that restarts goes on counting";
  ledger.drop_empty(1000, 50);
  EXPECT_EQ(text(ledger), "other=0 a=5 ");
  ledger.close(*a, 1000);
  ledger.drop_empty(1050, 50);
  EXPECT_EQ(text(ledger), "other=5 ");
}

TEST(OwnerLedger, NeverGoesBack) {
  Ledger ledger(10);
  auto* a = ledger.open(unit("a"), 0);
  const auto round = [&](std::uint64_t live) {
    ledger.begin_round();
    a->live[0] += live;
    ledger.end_round();
    return a->shown[0];
  };
  EXPECT_EQ(round(5), 5u);
  EXPECT_EQ(round(4), 5u);
  EXPECT_EQ(round(6), 6u);
}

TEST(OwnerLedger, Limit) {
  Ledger ledger(3);
  auto* a = ledger.open(unit("a"), 0);
  ledger.open(unit("b"), 0);
  EXPECT_EQ(ledger.open(unit("c"), 0), &ledger.other());
  ledger.close(ledger.other(), 0);
  a->gone[0] = 7;
  ledger.close(*a, 1);
  EXPECT_EQ(ledger.open(unit("c"), 2)->owner.name, "c") << "the empty one makes room";
  EXPECT_EQ(text(ledger), "other=7 b=0 c=0 ");
}

}  // namespace
}  // namespace vitald
