// SPDX-License-Identifier: Apache-2.0
#include "rules/keep.h"

#include <fmt/format.h>

#include "core/text/scan.h"
#include "rules/promql/parser.h"

namespace vitald {

std::optional<History::Keep> parse_keep(std::string_view text, std::vector<std::string>& problems) {
  const auto bad = [&](std::string_view what) {
    problems.push_back(fmt::format(
        "history.keep: '{}': {}; expected e.g. {{__name__=~\"node_hwmon.*\"}} for 7d every 1m", text, what));
    return std::nullopt;
  };
  // From behind: a matcher may hold any text.
  auto rest = trim(text);
  const auto take_last = [&](std::string_view word) -> std::optional<std::string_view> {
    const auto at = rest.rfind(word);
    if (at == rest.npos || at == 0 || !is_space(rest[at - 1])) return std::nullopt;
    const auto value = trim(rest.substr(at + word.size()));
    if (value.empty() || value.find_first_of(" }\"") != value.npos) return std::nullopt;
    rest = trim(rest.substr(0, at));
    return value;
  };
  History::Keep keep;
  if (const auto every = take_last("every ")) {
    keep.every_ms = promql::parse_duration_ms(*every);
    if (keep.every_ms <= 0) return bad(fmt::format("'{}' is no duration", *every));
  }
  const auto period = take_last("for ");
  if (!period) return bad("it does not say for how long");
  keep.for_ms = promql::parse_duration_ms(*period);
  if (keep.for_ms <= 0) return bad(fmt::format("'{}' is no duration", *period));
  std::vector<promql::Problem> found;
  const auto selector = promql::parse_selector(rest, found);
  if (!selector) return bad(found.empty() ? "no selector" : found.front().what);
  keep.match = selector->matchers;
  return keep;
}

}  // namespace vitald
