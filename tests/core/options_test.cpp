// SPDX-License-Identifier: Apache-2.0
#include "core/options.h"

#include <gtest/gtest.h>

namespace vitald {
namespace {

TEST(Options, Durations) {
  EXPECT_EQ(parse_duration_ns("500ms"), 500'000'000);
  EXPECT_EQ(parse_duration_ns("1h30m"), 5'400'000'000'000);
  EXPECT_EQ(parse_duration_ns("0"), 0);
  EXPECT_EQ(parse_duration_ns("3.46608s"), 3'466'080'000);
  EXPECT_EQ(parse_duration_ns("1.5h0.25ms"), 5'400'000'250'000);
  for (const auto* bad : {"", "15", "s", "1 s", "-1s", "1.s", ".5s", "1.5", "9999999999999y", "5x"})
    EXPECT_FALSE(parse_duration_ns(bad)) << bad;
}

TEST(Options, DefaultsAndLists) {
  const FlagSpec flags[] = {
      {"a.dir", FlagType::list, "", ""}, {"a.on", FlagType::boolean, "true", ""}, {"a.n", FlagType::number, "3", ""}};
  Options o;
  o.declare(flags);
  EXPECT_TRUE(o.list("a.dir").empty());
  o.append("a.dir", "x"), o.append("a.dir", "y");
  EXPECT_EQ(o.list("a.dir"), (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(o.flag("a.on"));
  EXPECT_FALSE(o.given("a.on"));
  o.set("a.on", "false");
  EXPECT_FALSE(o.flag("a.on"));
  EXPECT_EQ(o.number("a.n"), 3);
}

TEST(OptionsDeathTest, AFlagThatNobodyDeclaredIsABug) {
  Options o;
  const FlagSpec flags[] = {{"a.on", FlagType::boolean, "true", ""}};
  o.declare(flags);
  EXPECT_DEATH((void)o.number("a.no"), "vitald: bug, please report: .*core/options.cpp:[0-9]+: no flag 'a.no' is");
  EXPECT_DEATH(o.set("a.no", "1"), "no flag 'a.no' is declared");
  EXPECT_TRUE(o.flag("a.on"));
}

}  // namespace
}  // namespace vitald
