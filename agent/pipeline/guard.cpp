// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <span>
#include <tuple>
#include <unordered_map>

#include "core/anybody.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/part_names.h"
#include "core/series_identity.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// As many sentences as one batch's problems are worth; the rest is counted.
constexpr std::size_t kMaxSentences = 20;

constexpr std::string_view kSuccess = "node_scrape_collector_success";
constexpr std::string_view kLeftOut = "vitald_collector_left_out";
constexpr std::string_view kTextfileError = "node_textfile_scrape_error";
constexpr std::string_view kRules = "rules";

// Who stays where two say the same.
enum Rank : int { kCollector, kRule, kAnybody };  // what anybody may write: text files, what programs print
Rank rank_of(std::string_view collector) {
  return collector == kRules ? kRule : written_by_anybody(collector) ? kAnybody : kCollector;
}
std::string owner_text(std::string_view collector) {
  return collector == kRules ? "the rules" : fmt::format("the collector {}", collector);
}

std::uint64_t bit_of(const MetricDesc* desc) {
  return std::uint64_t{1} << (std::bit_cast<std::uintptr_t>(desc) / 32 % 64);
}

bool lost_some(const Layout& layout) { return layout.samples().size() != layout.value_count(); }

}  // namespace

struct Guard::Instruments {
  prometheus::Counter& gathering = instruments().counter(
      "promhttp_metric_handler_errors_total",
      "Total number of internal errors encountered by the promhttp metric handler.", {{"cause", "gathering"}});
  prometheus::Gauge& conflicts = instruments().gauge(
      "vitald_conflicts",
      "Families and series left out because another collector, a text file or a rule gives them too.");
};

Guard::Guard() : instruments_(std::make_unique<Instruments>()) {}
Guard::~Guard() = default;

void Guard::check(std::vector<BatchPtr>& batches, std::shared_ptr<const FamilyNames> of_rules) {
  if (of_rules != of_rules_) {
    of_rules_ = std::move(of_rules);
    known_.clear();
  }
  try {
    look(batches);
  } catch (...) {  // no memory: half a verdict must not be taken for one
    known_.clear();
    throw;
  }
}

void Guard::look(std::vector<BatchPtr>& batches) {
  bool other = !same_families(batches), other_series = false, other_layouts = other;
  if (other) {
    decide_families(batches);
    other_series = true;
  } else {
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (known_[i].layout == batches[i]->layout) continue;
      known_[i].layout = batches[i]->layout;
      other_layouts = true;
      if (find_shared_series(known_[i])) other_series = true;
      else leave_out(known_[i]);
    }
  }
  if (other_series) {
    decide_series();
    for (auto& known : known_) leave_out(known);
  }
  if (other_layouts) tell(batches);
  if (!clean_) apply(batches);
}

bool Guard::same_families(const std::vector<BatchPtr>& batches) const {
  return std::ranges::equal(batches, known_, [](const BatchPtr& b, const Known& k) {
    return k.layout && k.layout->families() == b->layout->families() && k.collector == b->collector;
  });
}

// True when they are not those of before. One pass over all series of a layout, so it looks at pointers only.
bool Guard::find_shared_series(Known& known) {
  auto before = std::move(known.shared_series);
  known.shared_series.clear();
  if (known.shared_mask != 0)
    for (const auto& s : known.layout->samples())
      if ((bit_of(s.family) & known.shared_mask) != 0 &&
          std::ranges::find(known.shared, s.family) != known.shared.end())
        known.shared_series.emplace_back(s.family, s.series);
  return before != known.shared_series;
}

void Guard::decide_families(const std::vector<BatchPtr>& batches) {
  known_.clear();
  struct Entry {
    std::string_view name;
    Rank rank;
    std::size_t batch;
    const MetricDesc* desc;
    bool out = false;
  };
  std::vector<Entry> all;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    auto& known = known_.emplace_back();
    known.collector = batches[i]->collector;
    known.layout = batches[i]->layout;
    for (const auto* desc : *batches[i]->layout->families())
      all.push_back({desc->name, rank_of(known.collector), i, desc});
  }
  std::ranges::stable_sort(all, [](const Entry& a, const Entry& b) {
    return std::tie(a.name, a.rank, a.batch) < std::tie(b.name, b.rank, b.batch);
  });
  const auto out = [&](Entry& e, std::string sentence) {
    if (e.out) return;
    e.out = true;
    auto& known = known_[e.batch];
    known.families_out.push_back(e.desc);
    known.sentences.push_back(std::move(sentence));
  };
  const auto named = [&](std::string_view name) {  // clang 14 knows no subrange
    return std::span(std::ranges::lower_bound(all, name, {}, &Entry::name),
                     std::ranges::upper_bound(all, name, {}, &Entry::name));
  };

  if (of_rules_)
    for (auto& e : all) {
      if (e.rank != kAnybody) continue;
      auto name = of_rules_->find(e.name);
      for (const auto suffix : part_suffixes(e.desc->type))
        if (name == of_rules_->end()) name = of_rules_->find(std::string(e.name).append(suffix));
      if (name != of_rules_->end())
        out(e, fmt::format("{}: {} is a family of the rules; what {} gives under this name is left out", e.name, *name,
                           known_[e.batch].collector));
    }
  for (std::size_t first = 0, end; first < all.size(); first = end) {
    for (end = first + 1; end < all.size() && all[end].name == all[first].name;) ++end;
    auto& stays = all[first];
    for (auto i = first + 1; i < end; ++i) {
      auto& e = all[i];
      const auto& owner = known_[stays.batch].collector;
      // The same descriptor is the same declaration.
      if (e.desc == stays.desc) continue;
      if (e.rank > stays.rank)
        out(e, fmt::format("{}: a family of {}; what {} gives under this name is left out", e.name, owner_text(owner),
                           known_[e.batch].collector));
      else if (e.desc->type != stays.desc->type)
        out(e, fmt::format("{}: {} calls it a {}, {} already a {}; left out", e.name, known_[e.batch].collector,
                           to_string(e.desc->type), owner, to_string(stays.desc->type)));
    }
  }
  // A histogram's or summary's lines have names of their own, which nobody else may have.
  for (auto& e : all) {
    for (const auto suffix : part_suffixes(e.desc->type)) {
      if (e.out) break;
      const auto name = std::string(e.name).append(suffix);
      for (auto& part : named(name)) {
        if (part.out) continue;
        if (part.rank < e.rank)
          out(e, fmt::format("{}: its lines would have the name of {}, a family of {}; left out", e.name, name,
                             owner_text(known_[part.batch].collector)));
        else
          out(part,
              fmt::format("{}: the name of lines of {}, a {} of {}; what {} gives under it is left out", name, e.name,
                          to_string(e.desc->type), known_[e.batch].collector, known_[part.batch].collector));
      }
    }
  }
  for (std::size_t first = 0, end; first < all.size(); first = end) {
    for (end = first + 1; end < all.size() && all[end].name == all[first].name;) ++end;
    if (std::count_if(&all[first], &all[first] + (end - first), [](const Entry& e) { return !e.out; }) < 2) continue;
    for (auto i = first; i < end; ++i) {
      if (all[i].out) continue;
      auto& known = known_[all[i].batch];
      known.shared.push_back(all[i].desc);
      known.shared_mask |= bit_of(all[i].desc);
    }
  }
  for (auto& known : known_) {
    std::ignore = find_shared_series(known);
  }
}

void Guard::decide_series() {
  std::vector<std::size_t> order(known_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return rank_of(known_[i].collector); });
  std::unordered_map<std::string_view, std::size_t> owner;
  std::deque<std::string> made;
  for (const auto i : order) {
    auto& known = known_[i];
    std::erase_if(known.sentences, [](const std::string& s) { return s.ends_with("gives it too; left out"); });
    known.series_out.clear();
    std::size_t untold = 0;
    for (const auto& [family, series] : known.shared_series) {
      std::string own;
      auto identity = identity_of(*series, own);
      if (!own.empty()) identity = made.emplace_back(std::move(own));
      const auto [at, is_new] = owner.emplace(identity, i);
      if (is_new) continue;
      known.series_out.push_back(series);
      if (known.series_out.size() <= kMaxSentences)
        known.sentences.push_back(fmt::format("{}: {} gives it too; left out", trim({series->text, series->text_size}),
                                              known_[at->second].collector));
      else ++untold;
    }
    if (untold > 0)
      known.sentences.push_back(fmt::format("{} more series, each of which another gives it too; left out", untold));
  }
}

void Guard::leave_out(Known& known) {
  known.left.reset();
  if (known.families_out.empty() && known.series_out.empty()) return;
  std::vector<std::uint32_t> out;
  const auto samples = known.layout->samples();
  for (std::uint32_t i = 0; i < samples.size(); ++i)
    if (std::ranges::find(known.families_out, samples[i].family) != known.families_out.end() ||
        std::ranges::find(known.series_out, samples[i].series) != known.series_out.end())
      out.push_back(i);
  if (!out.empty()) known.left = known.layout->without(out);
}

std::size_t Guard::series_left_out(const Known& known) {
  return known.layout->samples().size() - known.left->samples().size();
}

// Which numbers say that something is missing, and the log, once for each.
void Guard::tell(const std::vector<BatchPtr>& batches) {
  std::vector<std::pair<std::string, std::string>> now;
  std::vector<std::string_view> failed;
  clean_ = true;
  for (const auto& known : known_) {
    if (known.left || lost_some(*known.layout)) failed.push_back(known.collector);
    if (known.left || lost_some(*known.layout) || !known.layout->mended().empty()) clean_ = false;
    for (const auto& sentence : known.sentences) now.emplace_back(known.collector, sentence);
  }
  instruments_->conflicts.Set(static_cast<double>(now.size()));
  // What collectors' own layouts left out their runner logs; nobody does for the rules.
  for (const auto& known : known_) {
    if (known.collector != kRules) continue;
    for (const auto& sentence : known.layout->mended()) now.emplace_back(known.collector, sentence);
    for (const auto& series : known.layout->duplicates())
      now.emplace_back(known.collector, fmt::format("{}: given twice; the first stays", series));
  }
  for (const auto& item : now)
    if (std::ranges::find(told_, item) == told_.end())
      log::warn("left out of the metrics", {{"collector", item.first}, {"err", item.second}});
  told_ = std::move(now);

  verdicts_.clear();
  if (failed.empty()) return;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto& layout = known_[i].left ? *known_[i].left : *known_[i].layout;
    for (const auto& s : layout.samples()) {
      if (s.family->name == kSuccess) {
        const auto labels = Layout::labels(s);
        if (labels.size() == 1 && std::ranges::find(failed, labels[0].value) != failed.end())
          verdicts_.push_back({i, s.value, 0});
      } else if (s.family->name == kLeftOut) {
        const auto labels = Layout::labels(s);
        for (const auto& known : known_)
          if (labels.size() == 1 && labels[0].value == known.collector && known.left)
            verdicts_.push_back({i, s.value, static_cast<double>(series_left_out(known)), true});
      } else if (known_[i].collector == "textfile" && known_[i].left && s.family->name == kTextfileError) {
        verdicts_.push_back({i, s.value, 1});
      }
    }
  }
}

void Guard::apply(std::vector<BatchPtr>& batches) {
  instruments_->gathering.Increment();
  std::vector<std::shared_ptr<Batch>> copies(batches.size());
  const auto copy = [&](std::size_t i) -> Batch& {
    if (!copies[i]) copies[i] = std::make_shared<Batch>(*batches[i]);
    return *copies[i];
  };
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (!known_[i].left) continue;
    auto& batch = copy(i);
    batch.layout = known_[i].left;
    for (const auto& sentence : known_[i].sentences) batch.health.problems.push_back({Errc::malformed, 0, sentence});
  }
  for (const auto& v : verdicts_) {
    auto& value = copy(v.batch).values[v.value];
    value = v.added ? value + v.number : v.number;
  }
  for (std::size_t i = 0; i < batches.size(); ++i)
    if (copies[i]) batches[i] = std::move(copies[i]);
}

}  // namespace vitald
