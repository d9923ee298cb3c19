// SPDX-License-Identifier: Apache-2.0
#include "rules/keep.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text/scan.h"
#include "rules/promql/parser.h"

namespace vitald {

std::optional<History::Keep> parse_keep(std::string_view text, std::vector<std::string>& problems) {
  const auto bad = [&](std::string_view what) {
    problems.push_back(fmt::format(
        "--history.keep: '{}': {}; expected e.g. {{__name__=~\"node_hwmon.*\"}} for 7d every 1m", text, what));
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

std::vector<std::string> keeps_without_effect(std::span<const std::string> texts, std::span<const History::Keep> keep,
                                              std::int64_t retention_ms,
                                              const std::function<std::string(std::string_view)>& unknown) {
  const auto same = [](const History::Keep& a, const History::Keep& b) {
    return std::ranges::equal(a.match, b.match, [](const promql::Matcher& x, const promql::Matcher& y) {
      return x.name == y.name && x.op == y.op && x.value == y.value;
    });
  };
  const auto why = [&](std::size_t i) -> std::string {
    const auto& k = keep[i];
    if (k.for_ms <= retention_ms) return "so long all samples are kept anyway (history.retention)";
    if (k.every_ms >= k.for_ms) return "'every' is not shorter than 'for', so nothing is left";
    for (std::size_t before = 0; before < i; ++before)
      if (same(keep[before], k))
        return fmt::format("entry {} is for the same series, and the first one counts", before + 1);
    for (const auto& m : k.match)
      if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal)
        if (auto text = unknown(m.value); !text.empty()) return text;
    return {};
  };
  std::vector<std::string> out;
  for (std::size_t i = 0; i < keep.size(); ++i)
    if (const auto text = why(i); !text.empty()) out.push_back(fmt::format("--history.keep: '{}': {}", texts[i], text));
  return out;
}

}  // namespace vitald
