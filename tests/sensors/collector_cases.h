// SPDX-License-Identifier: Apache-2.0
// The table that most collectors' tests are: a tree of files, what is emitted, what is said.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "tests/sensors/run_collector.h"

namespace vitald {

struct CollectorCase {
  const char* name;
  Tree tree;
  std::string text;        // exposition lines in the order of emission
  std::string error = "";  // "kind: text"
  FlagValues flags = {};
};

// Runs every case twice on the same tree: the second run takes the path of kept files and layouts.
inline void check_cases(std::string_view collector, std::initializer_list<CollectorCase> cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture fixture(collector, c.tree, c.flags);
    for (const auto* run : {"first", "second"}) {
      SCOPED_TRACE(run);
      const auto got = fixture.run();
      EXPECT_EQ(got.text, c.text);
      EXPECT_EQ(got.error, c.error);
    }
  }
}

}  // namespace vitald
