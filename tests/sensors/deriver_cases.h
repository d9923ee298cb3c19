// SPDX-License-Identifier: Apache-2.0
// The table that derivers' tests are: per cycle a time, what the collectors gave, what must be made of it; all as text.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vitald {

// The flag's name and its value.
using FlagValues = std::vector<std::pair<std::string, std::string>>;

struct DeriverCycle {
  double at_s;        // when the numbers were collected
  std::string given;  // exposition lines
  std::string want;
  std::string from_anybody = {};  // lines of a text file
  bool want_inside = false;       // what only other readers in vitald see is in `want`, too
};

struct DeriverCase {
  const char* name;
  std::vector<DeriverCycle> cycles;  // one deriver sees them all
  std::string error = "";            // "kind: text" of the last cycle
  FlagValues flags = {};
};

// One cycle after the other; per cycle what was derived. `error`: of the last one.
std::vector<std::string> run_deriver(std::string_view name, const std::vector<DeriverCycle>& cycles, std::string& error,
                                     const FlagValues& flags = {});

inline void check_deriver(std::string_view name, std::initializer_list<DeriverCase> cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::string error;
    const auto got = run_deriver(name, c.cycles, error, c.flags);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], c.cycles[i].want) << "cycle " << i;
    EXPECT_EQ(error, c.error);
  }
}

}  // namespace vitald
