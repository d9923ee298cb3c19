// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/trouble.h"

#include <gtest/gtest.h>

#include "sensors/read/left_out.h"

namespace vitald {
namespace {

Error bad(std::string text, Errc kind = Errc::malformed) { return {kind, 0, std::move(text)}; }

// Five bad lines in one function, two in another: one sentence, and all of them counted.
TEST(LeftOut, CountsWhatItIsAddedUpFrom) {
  LeftOut five, two, all;
  for (const auto* text : {"a", "b", "c", "d", "e"}) five.add(bad(text));
  for (const auto* text : {"f", "g"}) two.add(bad(text));
  all.add(Result<>{});
  EXPECT_TRUE(all.outcome());
  all.add(five.outcome());
  EXPECT_EQ(all.outcome().error(), bad("a (and 4 more)"));
  all.add(two.outcome());
  all.add(bad("h"));
  EXPECT_EQ(all.outcome().error(), bad("a (and 7 more)"));
  for (const auto* text : {"", "a (and more)", "a (and x more)", "(and 4 more)", "a (and 4 more) "})
    EXPECT_EQ(items_of(text), 1U) << text;
}

TEST(Trouble, SingleItemsCountBesideAFailure) {
  Trouble trouble("disks");
  const Error problems[] = {bad("sda"), bad("sdb", Errc::io)};
  EXPECT_FALSE(trouble.worked({}));
  EXPECT_EQ(trouble.left_out(), 0U);
  EXPECT_TRUE(trouble.worked(problems)) << "doctor shows them";
  EXPECT_FALSE(trouble.worked(problems)) << "the same";
  EXPECT_EQ(trouble.items(), (std::vector<std::string>{"sda", "sdb"}));
  EXPECT_EQ(trouble.left_out(), 2U);
  const auto error = bad("lines (and 2 more)");
  EXPECT_TRUE(trouble.failed(error, problems, false));
  EXPECT_FALSE(trouble.failed(error, problems, false)) << "known already";
  EXPECT_EQ(trouble.left_out(), 5U);
  EXPECT_EQ(trouble.errors()[static_cast<std::size_t>(Errc::malformed)], 2U + 2U + 2U);
  EXPECT_EQ(trouble.errors()[static_cast<std::size_t>(Errc::io)], 4U);
  EXPECT_TRUE(trouble.failed({Errc::absent, 0, "no disks"}, {}, false));
  EXPECT_EQ(trouble.left_out(), 0U) << "there is nothing to leave out";
  EXPECT_TRUE(trouble.worked({}));
  EXPECT_FALSE(trouble.any());
}

}  // namespace
}  // namespace vitald
