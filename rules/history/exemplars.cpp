// SPDX-License-Identifier: Apache-2.0
#include "rules/history/exemplars.h"

#include <algorithm>
#include <utility>

#include "core/text/exported_names.h"
#include "rules/promql/walk.h"

namespace vitald {
namespace {

// A server keeps its own job and instance and renames what the target says, as the history does.
promql::Labels as_in_history(std::vector<std::pair<std::string, std::string>> labels,
                             const std::map<std::string, std::string>& series_labels) {
  rename_beside(series_labels, labels);
  labels.insert(labels.end(), series_labels.begin(), series_labels.end());
  return promql::Labels(std::move(labels));
}

// The sample of a place in the values: they are in that order.
const Sample* sample_at(const Layout& layout, std::uint32_t at) {
  const auto samples = layout.samples();
  const auto found = std::ranges::lower_bound(samples, at, {}, &Sample::value);
  return found == samples.end() || found->value != at ? nullptr : &*found;
}

}  // namespace

void ExemplarLog::append(const Snapshot& snapshot) {
  const MutexLock lock(mutex_);
  const auto now_ms = snapshot.wall_ns / 1'000'000;
  for (const auto& batch : snapshot.batches) {
    if (batch->exemplars.empty()) continue;
    auto& seen = seen_boot_ns_.try_emplace(batch->collector, INT64_MIN).first->second;
    if (batch->collected_boot_ns <= seen) continue;
    seen = batch->collected_boot_ns;
    for (const auto& exemplar : batch->exemplars) {
      const auto* sample = sample_at(*batch->layout, exemplar.at);
      if (!sample) continue;
      const auto key = Layout::prefix(*sample);
      auto at = kept_.find(key);
      if (at == kept_.end()) {
        if (kept_.size() >= kMostSeries) make_room();
        Kept fresh;
        fresh.labels.emplace_back(promql::kMetricName, Layout::name(*sample));
        for (const auto& l : Layout::labels(*sample)) fresh.labels.emplace_back(l.name, l.value);
        at = kept_.emplace(std::string(key), std::move(fresh)).first;
      }
      // A bucket shows the same one until there is a newer one.
      auto& newest = at->second.newest;
      // After the clock was set back what lies in the future would keep out all that comes.
      while (!newest.empty() && newest.back().wall_ms > now_ms) newest.pop_back();
      if (!newest.empty() && newest.back().wall_ms >= exemplar.wall_ms) continue;
      if (newest.size() == kMostOfOne) newest.pop_front();
      newest.push_back(exemplar);
    }
  }
}

void ExemplarLog::make_room() {
  const auto oldest = std::ranges::min_element(kept_, {}, [](const auto& kept) {
    return kept.second.newest.empty() ? INT64_MIN : kept.second.newest.back().wall_ms;
  });
  if (oldest != kept_.end()) kept_.erase(oldest);
}

std::vector<ExemplarLog::Series> ExemplarLog::find(const promql::Expr& selectors,
                                                   const std::map<std::string, std::string>& series_labels,
                                                   std::int64_t start_ms, std::int64_t end_ms) const {
  std::vector<Series> out;
  {
    const MutexLock lock(mutex_);
    for (const auto& [text, kept] : kept_) {
      Series series;
      for (const auto& e : kept.newest)
        if (e.wall_ms >= start_ms && e.wall_ms <= end_ms) series.exemplars.push_back(e);
      if (series.exemplars.empty()) continue;
      series.labels = as_in_history(kept.labels, series_labels);
      bool wanted = false;
      promql::each_selector(selectors, [&](const promql::Selector& s) {
        wanted |= std::ranges::all_of(s.matchers,
                                      [&](const promql::Matcher& m) { return m.matches(series.labels.get(m.name)); });
      });
      if (wanted) out.push_back(std::move(series));
    }
  }
  std::ranges::sort(out, {}, [](const Series& s) { return s.labels.text_with_name(); });
  return out;
}

std::size_t ExemplarLog::size() const {
  const MutexLock lock(mutex_);
  std::size_t out = 0;
  for (const auto& [text, kept] : kept_) out += kept.newest.size();
  return out;
}

}  // namespace vitald
