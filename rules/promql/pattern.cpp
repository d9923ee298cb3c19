// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/pattern.h"

#include <re2/re2.h>

#include <algorithm>

#include "core/text/regex.h"

namespace vitald::promql {

namespace {

// Of a class of Unicode (\pL, \PL, also inside of brackets), and of a range or brackets.
constexpr std::uint64_t kUnicodeWork = 1000, kClassWork = 20;
constexpr std::uint64_t kMostRepeat = 1000;  // RE2 takes no larger count

// The greater count of `{2}`, `{2,}` or `{2,5}` at the beginning; 0: it is none of them.
std::uint64_t repeat_of(std::string_view text) {
  std::uint64_t most = 0, n = 0;
  for (const char c : text.substr(1)) {
    if (c == ',') n = 0;
    else if (c >= '0' && c <= '9') n = std::min(kMostRepeat, n * 10 + static_cast<std::uint64_t>(c - '0'));
    else return c == '}' ? most : 0;
    most = std::max(most, n);
  }
  return 0;
}

}  // namespace

// Escapes, \Q and brackets are not told apart from plain text: what only looks like a count or a class counts as one,
// so nothing that is one is ever missed.
std::uint64_t pattern_work(std::string_view pattern) {
  std::uint64_t once = 0, repeats = 1;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto c = pattern[i];
    const auto next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    once += c == '\\' && (next == 'p' || next == 'P') ? kUnicodeWork : c == '[' || c == '-' ? kClassWork : 1;
    if (c == '{') repeats += repeat_of(pattern.substr(i));
  }
  return once * repeats;
}

tl::expected<PatternPtr, PatternProblem> compile_pattern(const std::string& pattern, PatternBudget& budget) {
  const auto bad = [](std::string text, bool too_large) {
    return tl::unexpected(PatternProblem{std::move(text), too_large});
  };
  if (budget.given_up && budget.given_up()) {
    budget.gave_up = true;
    return bad("given up", true);
  }
  if (budget.count == 0) return bad("too many regular expressions at once", true);
  const auto work = pattern_work(pattern);
  if (work > budget.work)
    return bad("the regular expressions are too large together; write shorter ones, or smaller counts in braces", true);
  RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  options.set_max_mem(static_cast<std::int64_t>(budget.program_bytes));
  auto made = std::make_shared<const RE2>(pattern, options);
  if (!made->ok()) return bad(made->error(), made->error_code() == RE2::ErrorPatternTooLarge);
  if (matches_bytes(pattern)) return bad(std::string(kMatchesBytes), false);
  budget.work -= work;
  --budget.count;
  return made;
}

}  // namespace vitald::promql
