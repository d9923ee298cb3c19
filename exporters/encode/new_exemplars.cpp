// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/new_exemplars.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace vitald {
namespace {

const Exemplar* exemplar_at(const Snapshot& snapshot, std::uint32_t batch, std::uint32_t value) {
  const auto& all = snapshot.batches[batch]->exemplars;
  const auto found = std::ranges::lower_bound(all, value, {}, &Exemplar::at);
  return found != all.end() && found->at == value && found->wall_ms > 0 ? &*found : nullptr;
}

}  // namespace

std::span<const RowExemplar> NewExemplars::find(const SeriesTable& table, const Snapshot& snapshot) {
  found_.clear();
  if (std::ranges::all_of(snapshot.batches, [](const auto& b) { return b->exemplars.empty(); })) return {};
  const auto rows = table.rows();
  const auto add = [&](std::uint32_t row, std::uint32_t batch, std::uint32_t value, std::size_t at) {
    if (const auto* e = exemplar_at(snapshot, batch, value)) found_.push_back({row, static_cast<std::uint32_t>(at), e});
  };
  for (std::uint32_t i = 0; i < rows.size(); ++i) {
    const auto& row = rows[i];
    if (row.batch == SeriesRow::kUp || snapshot.batches[row.batch]->exemplars.empty()) continue;
    if (row.histogram == SeriesRow::kNoHistogram) {
      add(i, row.batch, row.value, i);
      continue;
    }
    const auto& h = table.histograms()[row.histogram];
    const auto buckets = table.bucket_values(h);
    for (std::uint32_t b = 0; b < buckets.size(); ++b) add(i, h.batch, buckets[b], table.buckets_at(h) + b);
  }
  std::erase_if(found_, [&](const RowExemplar& e) {
    const auto sent = sent_ms_.find(rows[e.row].key);
    return sent != sent_ms_.end() && e.exemplar->wall_ms <= sent->second;
  });
  std::ranges::sort(found_, {}, [](const RowExemplar& e) { return std::tuple(e.row, e.exemplar->wall_ms, e.value); });
  // Of two of one time a server takes one.
  const auto same = [](const RowExemplar& a, const RowExemplar& b) {
    return a.row == b.row && a.exemplar->wall_ms == b.exemplar->wall_ms;
  };
  found_.erase(std::unique(found_.begin(), found_.end(), same), found_.end());  // clang 14 knows no subrange
  if (sent_ms_.size() > 2 * rows.size()) {                                      // of series that are no more
    std::unordered_map<std::uint64_t, std::int64_t> kept;
    for (const auto& row : rows)
      if (const auto at = sent_ms_.find(row.key); at != sent_ms_.end()) kept.insert(*at);
    sent_ms_ = std::move(kept);
  }
  for (const auto& e : found_) sent_ms_[rows[e.row].key] = e.exemplar->wall_ms;
  return found_;
}

}  // namespace vitald
