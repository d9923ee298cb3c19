// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/pairs.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace vitald {
namespace {

constexpr double kMemoryNs = 142e9;    // a score falls to 1/e: a tenth less in 15 s
constexpr double kReplaces = 2;        // times the score of who is named and costs least
constexpr std::size_t kFollowed = 16;  // culprits of one victim

}  // namespace

OwnerPairs::OwnerPairs(OwnerTable& table, std::size_t named, std::uint64_t worth)
    : table_(table), named_(named), worth_(static_cast<double>(worth)) {}

void OwnerPairs::add_all(OwnerId victim, std::uint64_t amount) {
  if (amount != 0) victims_[victim].pending += static_cast<std::int64_t>(amount);
}

void OwnerPairs::add(OwnerId victim, OwnerId culprit, std::uint64_t amount) {
  if (amount == 0 || culprit == kOtherOwner) return;
  auto& culprits = victims_[victim].culprits;
  const auto it = culprits.find(culprit);
  if (it == culprits.end() && culprits.size() >= kFollowed) return;
  auto& c = it != culprits.end() ? it->second : culprits[culprit];
  c.pending += amount;
  c.fresh += amount;
}

void OwnerPairs::follow() {
  std::vector<OwnerId> gone;
  for (const auto& entry : victims_)
    if (table_.at(entry.first)->id != entry.first) gone.push_back(entry.first);
  for (const auto id : gone) {
    // What was shown ends with its series.
    const auto pending = victims_[id].pending;
    auto culprits = std::move(victims_[id].culprits);
    victims_.erase(id);
    const auto now = table_.at(id)->id;
    victims_[now].pending += pending;
    for (const auto& [culprit, c] : culprits) add(now, culprit, c.pending);
  }
  for (auto& entry : victims_) {
    auto& culprits = entry.second.culprits;
    gone.clear();
    for (const auto& c : culprits)
      if (table_.at(c.first)->id != c.first) gone.push_back(c.first);
    for (const auto id : gone) {
      const auto pending = culprits[id].pending;
      culprits.erase(id);
      add(entry.first, table_.at(id)->id, pending);
    }
  }
}

void OwnerPairs::choose(Victim& victim, double kept) const {
  std::size_t named = 0;
  for (auto& entry : victim.culprits) {
    auto& c = entry.second;
    c.score = c.score * kept + static_cast<double>(std::exchange(c.fresh, 0));
    named += c.named;
  }
  const auto by_score = [](const auto& a, const auto& b) { return a.second.score < b.second.score; };
  for (auto& entry : victim.culprits) {
    auto& c = entry.second;
    if (c.named || c.score < worth_) continue;
    if (named >= named_) {
      auto least = victim.culprits.end();
      for (auto it = victim.culprits.begin(); it != victim.culprits.end(); ++it)
        if (it->second.named && (least == victim.culprits.end() || by_score(*it, *least))) least = it;
      if (least == victim.culprits.end() || c.score < kReplaces * least->second.score) continue;
      least->second.named = false;
      least->second.amount = 0;
      --named;
    }
    c.named = true;
    ++named;
  }
}

void OwnerPairs::end_round(std::int64_t boot_ns) {
  follow();
  const auto kept = std::exp(-static_cast<double>(std::max<std::int64_t>(0, boot_ns - round_ns_)) / kMemoryNs);
  round_ns_ = boot_ns;
  for (auto& entry : victims_) {
    auto& victim = entry.second;
    choose(victim, kept);
    for (auto& culprit : victim.culprits) {
      auto& c = culprit.second;
      if (!c.named) {
        c.pending = 0;
        continue;
      }
      // A culprit's part may be counted before the whole: what is more than that, the next round has.
      const auto part = std::min(c.pending, static_cast<std::uint64_t>(std::max<std::int64_t>(0, victim.pending)));
      c.amount += part;
      c.pending -= part;
      victim.pending -= static_cast<std::int64_t>(part);
    }
    if (victim.pending > 0) victim.rest += static_cast<std::uint64_t>(std::exchange(victim.pending, 0));
    std::erase_if(victim.culprits, [&](const auto& c) { return !c.second.named && c.second.score < worth_ / 100; });
  }
}

void OwnerPairs::emit(const MetricDesc& desc, double per, BatchWriter& out) const {
  std::vector<Label> labels;
  for (const auto& entry : victims_) {
    const auto victim = table_.at(entry.first);
    const auto row = [&](std::string_view kind, std::string_view name, std::uint64_t amount) {
      labels.assign({{"culprit_kind", kind}, {"culprit", name}});
      labels.insert(labels.end(), victim->labels.begin(), victim->labels.end());
      out.set_labels(desc, static_cast<double>(amount) / per, labels);
    };
    for (const auto& culprit : entry.second.culprits) {
      if (!culprit.second.named) continue;
      const auto owner = table_.at(culprit.first);
      row(to_string(owner->owner.kind), owner->owner.name, culprit.second.amount);
    }
    row("other", "other", entry.second.rest);
  }
}

}  // namespace vitald
