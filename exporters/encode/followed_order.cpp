// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/followed_order.h"

namespace vitald {

void FollowedOrder::update(const Snapshot& snapshot, bool anew) {
  const bool may_follow = !anew && !conflicts_ && layouts_.size() == snapshot.batches.size() && !layouts_.empty();
  if (!may_follow || !follow(snapshot)) build(snapshot);
}

void FollowedOrder::build(const Snapshot& snapshot) {
  layouts_.clear();  // what is half done must not be taken for current
  families_.clear();
  entries_.clear();
  series_.clear();
  family_of_.clear();
  std::vector<const Batch*> batches;
  for (const auto& batch : snapshot.batches) batches.push_back(batch.get());
  const auto order = orders_.order(batches);
  conflicts_ = !order.conflicts.empty();
  entries_.reserve(order.entries.size());
  series_.reserve(order.entries.size());
  for (const auto& e : order.entries) {
    entries_.push_back({e.batch, e.sample->value, kNew});
    series_.push_back(e.sample->series);
  }
  for (const auto& f : order.families) {
    // Where descriptors of one name say different things, only this decides which one leaves.
    if (f.one_desc) family_of_.emplace(f.desc, static_cast<std::uint32_t>(families_.size()));
    families_.push_back({f.desc, f.first, f.count});
  }
  Layouts layouts;
  for (const auto& batch : snapshot.batches) layouts.push_back(batch->layout);
  layouts_ = std::move(layouts);
}

// False when it cannot be done this way.
bool FollowedOrder::follow(const Snapshot& snapshot) {
  if (!change_.find(layouts_, snapshot.batches, families_, family_of_, series_)) return false;
  std::vector<Family> families;
  std::vector<Entry> entries;
  std::vector<const SeriesInfo*> series;
  families.reserve(families_.size());
  entries.reserve(entries_.size() + change_.arrivals().size());
  series.reserve(entries_.size() + change_.arrivals().size());
  auto arrivals = change_.arrivals();
  for (std::uint32_t f = 0; f < families_.size(); ++f) {
    const auto& old = families_[f];
    Family family{old.desc, static_cast<std::uint32_t>(entries.size()), 0, f, true};
    for (auto at = old.first;; ++at) {
      while (!arrivals.empty() && arrivals.front().family == f && arrivals.front().place == at) {
        const auto& sample = *arrivals.front().sample;
        // The same line is there already: from another batch it is a conflict, from its own it went and came.
        if (at < old.first + old.count &&
            Layout::prefix(sample) == std::string_view(series_[at]->text, series_[at]->text_size)) {
          const auto now = change_.now(entries_[at].batch);
          if (now.empty() || now[entries_[at].value] != OrderChange::kGone) return false;
        }
        entries.push_back({arrivals.front().batch, sample.value, kNew});
        series.push_back(sample.series);
        arrivals = arrivals.subspan(1);
        family.same = false;
      }
      if (at == old.first + old.count) break;
      const auto& entry = entries_[at];
      const auto now = change_.now(entry.batch);
      const auto value = now.empty() ? entry.value : now[entry.value];
      if (value == OrderChange::kGone) {
        if (!family_of_.contains(old.desc)) return false;
        family.same = false;
        continue;
      }
      entries.push_back({entry.batch, value, at});
      series.push_back(series_[at]);
    }
    family.count = static_cast<std::uint32_t>(entries.size()) - family.first;
    if (family.count == 0) return false;  // what its name stood in the way of may leave now
    families.push_back(family);
  }
  Layouts layouts;
  for (const auto& batch : snapshot.batches) layouts.push_back(batch->layout);
  for (std::size_t b = 0; b < layouts_.size(); ++b)
    if (layouts_[b] != layouts[b]) orders_.forget(layouts_[b].get());
  layouts_ = std::move(layouts);
  families_ = std::move(families);
  entries_ = std::move(entries);
  series_ = std::move(series);
  return true;
}

}  // namespace vitald
