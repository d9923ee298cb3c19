// SPDX-License-Identifier: Apache-2.0
#include "rules/reach.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "core/text/suggest.h"
#include "rules/promql/labels.h"
#include "rules/promql/walk.h"

namespace vitald {

namespace {

constexpr std::string_view kServerSeries[] = {"up", "scrape_duration_seconds", "scrape_samples_scraped"};
constexpr std::size_t kMostWarnings = 10;

// One * for any text that is not empty.
bool matches(std::string_view pattern, std::string_view name) {
  const auto star = pattern.find('*');
  if (star == pattern.npos) return pattern == name;
  const auto before = pattern.substr(0, star), after = pattern.substr(star + 1);
  return name.size() > before.size() + after.size() && name.starts_with(before) && name.ends_with(after);
}

class Reach {
 public:
  Reach(std::span<const std::string_view> families, const LabelMap& series_labels) : series_labels_(series_labels) {
    for (const auto f : families) (f.find('*') == f.npos ? names_ : patterns_).push_back(f);
    names_.insert(names_.end(), std::begin(kServerSeries), std::end(kServerSeries));
    std::ranges::sort(names_);
  }

  void made_by_rules(std::span<const RuleGroup> groups) {
    for (const auto& g : groups)
      for (const auto& r : g.rules)
        if (!r.alert) recorded_.insert(r.name);
  }

  void look(const RuleGroup& g, const Rule& r) {
    if (!r.expr) return;
    promql::each_selector(*r.expr, [&](const promql::Selector& s) {
      const auto [about, what] = trouble(s);
      if (!what.empty() && told_.insert(about).second)
        warnings.push_back(fmt::format("{}: group '{}', rule '{}': {}", g.file, g.name, r.name, what));
    });
  }

  [[nodiscard]] std::string unknown(std::string_view name) const {
    if (known(name)) return {};
    const auto near = closest(name, names_);
    return near.empty()
               ? fmt::format("no collector and no rule makes '{}': unless a textfile has it, this matches nothing",
                             name)
               : fmt::format("no collector and no rule makes '{}', did you mean '{}'?", name, near);
  }

  std::vector<std::string> warnings;

 private:
  [[nodiscard]] bool known(std::string_view name) const {
    if (std::ranges::binary_search(names_, name) || recorded_.contains(std::string(name))) return true;
    for (const std::string_view suffix : {"_bucket", "_sum", "_count"})
      if (name.ends_with(suffix) && std::ranges::binary_search(names_, name.substr(0, name.size() - suffix.size())))
        return true;
    return std::ranges::any_of(patterns_, [&](auto p) { return matches(p, name); });
  }

  struct Trouble {
    std::string about, what;  // told once for what it is about
  };
  [[nodiscard]] Trouble trouble(const promql::Selector& s) const {
    std::string name;
    for (const auto& m : s.matchers)
      if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal) name = m.value;
    if (!name.empty())
      if (auto what = unknown(name); !what.empty()) return {name, std::move(what)};
    for (const auto& m : s.matchers)
      for (const auto& other : s.matchers)
        if (m.op == promql::MatchOp::equal && m.name == other.name && !other.matches(m.value)) {
          const auto selector = promql::to_string(s);
          return {selector, fmt::format("{} matches nothing: what it asks of {} excludes itself", selector, m.name)};
        }
    // What a rule recorded or an alert says may have any label; what a collector writes has no job and no instance.
    if (name.empty() || recorded_.contains(name) || name.starts_with("ALERTS")) return {};
    for (const auto& m : s.matchers) {
      if (m.name != "job" && m.name != "instance") continue;
      const auto own = series_labels_.find(m.name);
      const std::string value = own == series_labels_.end() ? std::string() : own->second;
      if (m.matches(value)) continue;
      const auto selector = promql::to_string(s);
      if (own == series_labels_.end())
        return {"label " + m.name, fmt::format("{} matches nothing, and so may others: here no series has a {}; "
                                               "--rules.series-label={}=VALUE gives it to all",
                                               selector, m.name, m.name)};
      return {selector,
              fmt::format("{} matches nothing: here {} is '{}' (--rules.series-label)", selector, m.name, value)};
    }
    return {};
  }

  const LabelMap& series_labels_;
  std::vector<std::string_view> names_, patterns_;
  std::set<std::string> recorded_, told_;
};

}  // namespace

std::string unknown_series(std::string_view name, std::span<const RuleGroup> groups,
                           std::span<const std::string_view> families) {
  static const LabelMap kNone;
  Reach reach(families, kNone);
  reach.made_by_rules(groups);
  // Series of alerts are any rule's.
  return name.starts_with("ALERTS") ? std::string() : reach.unknown(name);
}

std::span<const std::string_view> server_series() { return kServerSeries; }

std::vector<std::string> unreachable(std::span<const RuleGroup> groups, std::span<const std::string_view> families,
                                     const LabelMap& series_labels) {
  Reach reach(families, series_labels);
  reach.made_by_rules(groups);
  for (const auto& g : groups)
    for (const auto& r : g.rules) reach.look(g, r);
  auto& out = reach.warnings;
  if (out.size() > kMostWarnings) {
    const auto more = out.size() - kMostWarnings;
    out.resize(kMostWarnings);
    out.push_back(fmt::format("{} more selectors of rules match nothing on this host", more));
  }
  return out;
}

}  // namespace vitald
