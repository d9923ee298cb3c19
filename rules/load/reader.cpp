// SPDX-License-Identifier: Apache-2.0
#include "rules/load/reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text/suggest.h"
#include "rules/promql/lexer.h"

namespace vitald {

namespace {

constexpr std::size_t kMaxTexts = 1000;  // labels, annotations; Prometheus has some dozens

}  // namespace

// The line says where.
std::string RuleReader::unknown_key(const std::string&, const std::string& key,
                                    std::span<const std::string_view> known) const {
  const auto near = closest(key, known);
  return near.empty() ? fmt::format("unknown key '{}', expected one of {}", key, fmt::join(known, ", "))
                      : fmt::format("unknown key '{}', expected '{}'?", key, near);
}

bool RuleReader::map(const YAML::Node& n, std::string_view what, std::span<const std::string_view> known,
                     std::string_view expected) {
  if (!n.IsMap()) return say(n, fmt::format("{} is {}, expected {}", what, kind_of(n), expected)), false;
  each(n, "", known, [](const std::string&, const std::string&, const YAML::Node&) {});
  return true;
}

std::vector<YAML::Node> RuleReader::list(const YAML::Node& parent, const char* key) {
  const YAML::Node n = parent[key];
  if (!n || n.IsNull()) return {};
  if (n.IsSequence()) return items(n);
  say(n, fmt::format("{} is {}, expected a list", key, kind_of(n)));
  return {};
}

bool RuleReader::misspelt(const YAML::Node& map, std::string_view key) {
  const std::string_view meant[] = {key};
  return std::ranges::any_of(map, [&](const auto& entry) {
    return entry.first.IsScalar() && entry.first.Scalar() != key && !closest(entry.first.Scalar(), meant).empty();
  });
}

std::string RuleReader::text(const YAML::Node& parent, const char* key, Need need) {
  const YAML::Node n = parent[key];
  if (!n || n.IsNull()) {
    if (need != Need::nothing && (n || !misspelt(parent, key)))
      say(n ? n : parent, fmt::format("no {}, expected one", key));
    return {};
  }
  if (!n.IsScalar()) return say(n, fmt::format("{} is {}, expected text", key, kind_of(n))), std::string();
  if (need == Need::text && n.Scalar().empty()) say(n, fmt::format("{} is empty, expected text", key));
  return n.Scalar();
}

std::int64_t RuleReader::duration(const YAML::Node& parent, const char* key, Need need) {
  const auto t = text(parent, key, need);
  if (const YAML::Node n = parent[key]; need != Need::text && n && n.IsScalar() && n.Scalar().empty())
    say(n, fmt::format("{} is empty, expected a duration, e.g. 30s, 5m, 1h30m", key));
  if (t.empty() || t == "0") return 0;
  const auto ms = promql::parse_duration_ms(t);
  if (ms == promql::kTooLong) say(parent[key], fmt::format("{}: '{}' is longer than 292 years", key, t));
  else if (ms < 0) say(parent[key], fmt::format("{}: '{}' is not a duration, expected e.g. 30s, 5m, 1h30m", key, t));
  return std::max<std::int64_t>(ms, 0);
}

void RuleReader::each_text(const YAML::Node& parent, const char* key, const Pair& visit) {
  const YAML::Node n = parent[key];
  if (!n || n.IsNull() || !map(n, key, {}, "a map of names to texts")) return;
  if (n.size() > kMaxTexts) return say(n, fmt::format("{} names in {}, expected at most {}", n.size(), key, kMaxTexts));
  for (const auto& entry : n) {
    if (!entry.first.IsScalar() || !(entry.second.IsScalar() || entry.second.IsNull())) {
      say(entry.second, fmt::format("{} is {}, expected text", key, kind_of(entry.second)));
      continue;
    }
    visit(entry.first, entry.second.IsNull() ? std::string() : entry.second.Scalar(), entry.second);
  }
}

}  // namespace vitald
