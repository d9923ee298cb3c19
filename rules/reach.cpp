// SPDX-License-Identifier: Apache-2.0
#include "rules/reach.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "rules/alert_reach.h"
#include "rules/promql/labels.h"
#include "rules/promql/walk.h"

namespace vitald {

namespace {

constexpr std::string_view kServerSeries[] = {"up", "scrape_duration_seconds", "scrape_samples_scraped"};
constexpr std::size_t kMostWarnings = 10;
constexpr std::string_view kAlerts = "ALERTS", kAlertsForState = "ALERTS_FOR_STATE";
// Those of the parts of histograms and summaries.
constexpr std::string_view kPartLabels[] = {"le", "quantile"};

// One * for any text that is not empty.
bool matches(std::string_view pattern, std::string_view name) {
  const auto star = pattern.find('*');
  if (star == pattern.npos) return pattern == name;
  const auto before = pattern.substr(0, star), after = pattern.substr(star + 1);
  return name.size() > before.size() + after.size() && name.starts_with(before) && name.ends_with(after);
}

std::string without_digits(std::string_view text) {
  std::string out;
  std::ranges::copy_if(text, std::back_inserter(out), [](char c) { return c < '0' || c > '9'; });
  return out;
}

class Reach {
 public:
  Reach(std::span<const KnownFamily> families, const LabelMap& series_labels, const NamesHere& names_here,
        const AlertReach& alerts)
      : series_labels_(series_labels), names_here_(names_here), alerts_(alerts) {
    for (const auto& f : families) (f.name.find('*') == f.name.npos ? families_ : patterns_).push_back(&f);
    for (const auto* f : families_) names_.push_back(f->name);
    names_.insert(names_.end(), std::begin(kServerSeries), std::end(kServerSeries));
    std::ranges::sort(names_);
    std::ranges::stable_sort(families_, {}, &KnownFamily::name);
  }

  void made_by_rules(std::span<const RuleGroup> groups) {
    for (const auto& g : groups)
      for (const auto& r : g.rules)
        if (!r.alert) recorded_.insert(r.name);
  }

  void look(const RuleGroup& g, const Rule& r) {
    if (!r.expr) return;
    for (auto& t : troubles(*r.expr))
      if (told_.insert(t.about).second)
        warnings.push_back(fmt::format("{}: group '{}', rule '{}': {}", g.file, g.name, r.name, t.what));
  }

  [[nodiscard]] std::string unknown(std::string_view name) const {
    const auto trouble = trouble_with_name(name);
    return trouble ? trouble->what : std::string();
  }

  std::vector<std::string> warnings;

 private:
  enum class Kind : std::uint8_t {
    typo,     // of the name: nobody can have meant it
    nothing,  // makes it, or can match it
    not_here  // a label that it has not, a collector that is off
  };
  struct Trouble {
    Kind kind;
    std::string about, what;  // told once for what it is about
  };
  using Troubles = std::vector<Trouble>;
  using Families = std::span<const KnownFamily* const>;

  // What an expression says for what is not there is no trouble with it.
  [[nodiscard]] Troubles troubles(const promql::Expr& e) const {
    if (e.kind == promql::Kind::call) {
      const auto& call = static_cast<const promql::Call&>(e);
      Troubles all;
      for (const auto& a : call.args) append(all, troubles(*a));
      if (call.name.starts_with("absent")) std::erase_if(all, [](const auto& t) { return t.kind == Kind::not_here; });
      return all;
    }
    if (e.kind == promql::Kind::binary) {
      const auto& b = static_cast<const promql::Binary&>(e);
      auto left = troubles(*b.lhs), right = troubles(*b.rhs);
      if (b.op == promql::BinaryOp::lor && left.empty() != right.empty())
        std::erase_if(left.empty() ? right : left, [](const auto& t) { return t.kind != Kind::typo; });
      append(left, std::move(right));
      return left;
    }
    Troubles all;
    promql::each_part(e, [&](const promql::Expr& part) { append(all, troubles(part)); });
    if (e.kind == promql::Kind::selector)
      if (auto found = trouble(static_cast<const promql::Selector&>(e))) all.push_back(std::move(*found));
    return all;
  }
  static void append(Troubles& to, Troubles from) { std::ranges::move(from, std::back_inserter(to)); }

  [[nodiscard]] Families families_of(std::string_view name) const {
    return {std::ranges::lower_bound(families_, name, {}, &KnownFamily::name),
            std::ranges::upper_bound(families_, name, {}, &KnownFamily::name)};
  }
  // With those of which it is a part.
  [[nodiscard]] Families makers_of(std::string_view name) const {
    if (const auto whole = families_of(name); !whole.empty()) return whole;
    for (const std::string_view suffix : {"_bucket", "_sum", "_count"})
      if (name.ends_with(suffix))
        if (const auto found = families_of(name.substr(0, name.size() - suffix.size())); !found.empty()) return found;
    return {};
  }

  [[nodiscard]] std::optional<Trouble> trouble_with_name(std::string_view name) const {
    if (std::ranges::binary_search(names_, name) || recorded_.contains(std::string(name)) || !makers_of(name).empty())
      return std::nullopt;
    if (std::ranges::any_of(patterns_, [&](const auto* p) { return matches(p->name, name); })) return like_here(name);
    const auto near = closest(name, names_);
    if (near.empty())
      return Trouble{
          Kind::nothing, std::string(name),
          fmt::format("no collector and no rule makes '{}': unless a textfile has it, this matches nothing", name)};
    return Trouble{Kind::typo, std::string(name),
                   fmt::format("no collector and no rule makes '{}', did you mean '{}'?", name, near)};
  }

  // The kernel may have it elsewhere. Here it has not, and one letter from it stands one that it has; not a digit:
  // TCP6_inuse is there where there is IPv6.
  [[nodiscard]] std::optional<Trouble> like_here(std::string_view name) const {
    if (!names_here_) return std::nullopt;
    if (!asked_) {
      here_ = names_here_();
      asked_ = true;
      std::ranges::sort(here_);
    }
    if (std::ranges::binary_search(here_, name)) return std::nullopt;
    const std::vector<std::string_view> all(here_.begin(), here_.end());
    const auto near = closest(name, all, 1);
    if (near.empty() || without_digits(near) == without_digits(name)) return std::nullopt;
    return Trouble{Kind::typo, std::string(name),
                   fmt::format("this machine has no '{}' now, did you mean '{}'?", name, near)};
  }

  [[nodiscard]] std::optional<Trouble> trouble(const promql::Selector& s) const {
    std::string name;
    for (const auto& m : s.matchers)
      if (m.name == promql::kMetricName && m.op == promql::MatchOp::equal) name = m.value;
    if (!name.empty())
      if (auto found = trouble_with_name(name)) return found;
    for (const auto& m : s.matchers)
      for (const auto& other : s.matchers)
        if (m.op == promql::MatchOp::equal && m.name == other.name && !other.matches(m.value)) {
          const auto selector = promql::to_string(s);
          return Trouble{Kind::nothing, selector,
                         fmt::format("{} matches nothing: what it asks of {} excludes itself", selector, m.name)};
        }
    if (name == kAlerts || name == kAlertsForState) return trouble_with_alerts(s, name);
    // What a rule recorded may have any label; what a collector writes has no job and no instance.
    if (name.empty() || recorded_.contains(name)) return std::nullopt;
    if (auto found = trouble_with_target(s)) return found;
    if (auto found = trouble_with_switch(name)) return found;
    return trouble_with_labels(s, name);
  }

  [[nodiscard]] std::optional<Trouble> trouble_with_alerts(const promql::Selector& s, const std::string& name) const {
    Matchers rest;
    for (const auto& m : s.matchers) {
      if (m.name == promql::kMetricName) continue;
      if (m.name != "alertstate" || name != kAlerts) rest.push_back(m);
      else if (!m.matches("pending") && !m.matches("firing"))
        return Trouble{Kind::typo, m.value,
                       fmt::format("{} matches nothing: alertstate is pending or firing", promql::to_string(s))};
    }
    const auto why = alerts_.problem(rest);
    if (why.empty()) return std::nullopt;
    const auto selector = promql::to_string(s);
    return Trouble{why.find("did you mean") == why.npos ? Kind::nothing : Kind::typo, selector,
                   fmt::format("{} matches nothing: {}", selector, why)};
  }

  [[nodiscard]] std::optional<Trouble> trouble_with_target(const promql::Selector& s) const {
    for (const auto& m : s.matchers) {
      if (m.name != "job" && m.name != "instance") continue;
      const auto own = series_labels_.find(m.name);
      const std::string value = own == series_labels_.end() ? std::string() : own->second;
      if (m.matches(value)) continue;
      const auto selector = promql::to_string(s);
      if (own == series_labels_.end())
        return Trouble{Kind::nothing, "label " + m.name,
                       fmt::format("{} matches nothing, and so may others: here no series has a {}; "
                                   "--rules.series-label={}=VALUE gives it to all",
                                   selector, m.name, m.name)};
      // Whoever asks for another job asks for it everywhere: one of them is told.
      return Trouble{
          Kind::nothing, fmt::format("{} {}", m.name, m.value),
          fmt::format("{} matches nothing: here {} is '{}' (--rules.series-label)", selector, m.name, value)};
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Trouble> trouble_with_switch(const std::string& name) const {
    std::vector<const KnownFamily*> makers;
    std::ranges::copy(makers_of(name), std::back_inserter(makers));
    std::ranges::copy_if(patterns_, std::back_inserter(makers), [&](const auto* p) { return matches(p->name, name); });
    std::set<std::string_view> flags;
    for (const auto* f : makers) {
      if (f->off.empty()) return std::nullopt;
      flags.insert(f->off);
    }
    if (flags.empty()) return std::nullopt;
    const auto how = fmt::format("{}", fmt::join(flags, " or "));
    return Trouble{Kind::not_here, how,
                   fmt::format("'{}' is there only with {}, which is off: this matches nothing", name, how)};
  }

  [[nodiscard]] std::optional<Trouble> trouble_with_labels(const promql::Selector& s, const std::string& name) const {
    const auto makers = makers_of(name);
    if (makers.empty()) return std::nullopt;
    if (std::ranges::any_of(patterns_, [&](const auto* p) { return matches(p->name, name); })) return std::nullopt;
    std::set<std::string_view> has;
    for (const auto* f : makers)
      for (auto rest = f->labels; !rest.empty();) has.insert(take_until(rest, ','));
    if (has.contains("*")) return std::nullopt;  // what a device says of itself
    const std::vector<std::string_view> own(has.begin(), has.end());
    has.insert(std::begin(kPartLabels), std::end(kPartLabels));
    has.insert(promql::kMetricName);
    for (const auto& m : s.matchers) {
      if (has.contains(m.name) || series_labels_.contains(m.name) || m.matches("")) continue;
      const auto selector = promql::to_string(s);
      const auto near = closest(m.name, own);
      return Trouble{Kind::not_here, name + " " + m.name,
                     fmt::format("{} matches nothing: {}{}", selector,
                                 own.empty() ? std::string("the family has no labels")
                                             : fmt::format("the family has {}", fmt::join(own, ", ")),
                                 near.empty() ? "" : fmt::format("; did you mean '{}'?", near))};
    }
    return std::nullopt;
  }

  const LabelMap& series_labels_;
  const NamesHere& names_here_;
  const AlertReach& alerts_;
  std::vector<const KnownFamily*> families_, patterns_;  // the first by name
  std::vector<std::string_view> names_;
  mutable std::vector<std::string> here_;
  mutable bool asked_ = false;
  std::set<std::string> recorded_, told_;
};

}  // namespace

std::string unknown_series(std::string_view name, std::span<const RuleGroup> groups,
                           std::span<const KnownFamily> families) {
  static const LabelMap kNone;
  static const NamesHere kNobodySays;
  const AlertReach alerts({}, {}, kNone);
  Reach reach(families, kNone, kNobodySays, alerts);
  reach.made_by_rules(groups);
  // Series of alerts are any rule's.
  return name.starts_with("ALERTS") ? std::string() : reach.unknown(name);
}

std::span<const std::string_view> server_series() { return kServerSeries; }

std::vector<std::string> unreachable(std::span<const RuleGroup> groups, std::span<const KnownFamily> families,
                                     const LabelMap& series_labels, const NamesHere& names_here) {
  const AlertReach alerts(groups, families, series_labels);
  Reach reach(families, series_labels, names_here, alerts);
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
