// SPDX-License-Identifier: Apache-2.0
// The one place where regular expressions that somebody wrote into a query, a matcher or a rule are compiled. RE2 is
// linear in the text it looks at, but not in the expression: eight bytes (`\PL{333}`) take it a third of a second and
// 3 MiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace re2 {
class RE2;
}

namespace vitald::promql {

using PatternPtr = std::shared_ptr<const re2::RE2>;

// What compiling `pattern` takes at most, judged before RE2 sees it (its own limit is looked at only after it has
// written the expression out): one unit is a byte of a plain text and takes RE2 a quarter of a microsecond. Too much
// where a count in braces is far from what it counts.
std::uint64_t pattern_work(std::string_view pattern);

// How much all patterns of a request, of an expression or of a silence may take together. One thread.
struct PatternBudget {
  std::size_t program_bytes = 8 << 20;  // of one, as RE2 counts them (set_max_mem; its default)
  std::uint64_t work = 4'000'000;       // of all of them; see pattern_work()
  std::size_t count = std::numeric_limits<std::size_t>::max();
  std::function<bool()> given_up = {};  // looked at before each; empty: never
  bool gave_up = false;                 // it was true

  // Of whoever runs this program, in files: the defaults, a second for each expression.
  static PatternBudget of_owner() { return {}; }
  // Of one request, which may be anybody's: a fifth of a second and some 10 MiB at most, with what matching adds.
  static PatternBudget of_request(std::function<bool()> given_up = {}) {
    return {.program_bytes = 256 << 10, .work = 800'000, .count = 200, .given_up = std::move(given_up)};
  }
};

struct PatternProblem {
  std::string text;        // why
  bool too_large = false;  // it is a regular expression, or may be one
};
// `.` fits line feeds as well. On error the budget is as it was.
tl::expected<PatternPtr, PatternProblem> compile_pattern(const std::string& pattern, PatternBudget& budget);

}  // namespace vitald::promql
