// SPDX-License-Identifier: Apache-2.0
#include "rules/history/columns.h"

#include <algorithm>

namespace vitald::history {

std::optional<promql::Point> Columns::at(const FeedState& feed, std::uint32_t id, std::uint32_t slot, std::int64_t t_ms,
                                         std::int64_t lookback_ms) {
  const auto oldest = t_ms - lookback_ms;
  if (const auto own = feed.find(id, slot); own != kNobody)
    for (auto i = feed.size; i-- > 0;) {
      const auto& row = feed.head->rows[i];
      if (row.t_ms > t_ms) continue;
      if (row.t_ms <= oldest) return {};
      const double v = row.at(own);
      if (is_none(v)) continue;
      if (promql::is_stale(v)) return {};
      return promql::Point{row.t_ms, v};
    }
  for (auto c = feed.chunks->size(); c-- > 0;) {
    const auto& chunk = *(*feed.chunks)[c];
    if (chunk.last_ms() <= oldest) return {};
    if (chunk.first_ms() > t_ms) continue;
    const auto own = chunk.find(id, slot);
    if (own == kNobody) continue;
    double values[kBlock];
    std::int64_t times[kBlock];
    chunk.values(own, values);
    chunk.times(times);
    for (auto i = chunk.count(); i-- > 0;) {
      if (times[i] > t_ms) continue;
      if (times[i] <= oldest) return {};
      if (is_none(values[i])) continue;
      if (promql::is_stale(values[i])) return {};
      return promql::Point{times[i], values[i]};
    }
  }
  return {};
}

Columns::Whole Columns::whole(const FeedState& feed, std::uint32_t id, std::uint32_t slot) {
  Whole out;
  const auto add = [&out](std::int64_t t_ms, double v) {
    if (is_none(v)) return;
    if (promql::is_stale(v)) return out.ends.push_back(t_ms);
    out.times.push_back(t_ms);
    out.values.push_back(v);
  };
  double values[kBlock];
  std::int64_t times[kBlock];
  for (const auto& chunk : *feed.chunks) {
    const auto own = chunk->find(id, slot);
    if (own == kNobody) continue;
    chunk->values(own, values);
    chunk->times(times);
    for (std::size_t i = 0; i < chunk->count(); ++i) add(times[i], values[i]);
  }
  if (const auto own = feed.find(id, slot); own != kNobody)
    for (std::size_t i = 0; i < feed.size; ++i) add(feed.head->rows[i].t_ms, feed.head->rows[i].at(own));
  return out;
}

void Columns::lay_out(const FeedState& feed) {
  parts_.clear();
  times_.clear();
  std::int64_t times[kBlock];
  const auto add = [&](std::size_t chunk, std::size_t count) {
    const auto from = static_cast<std::size_t>(std::lower_bound(times, times + count, first_ms_) - times);
    const auto to = static_cast<std::size_t>(std::upper_bound(times, times + count, last_ms_) - times);
    if (from >= to) return;
    parts_.push_back({chunk, from, to});
    times_.insert(times_.end(), times + from, times + to);
  };
  const auto& chunks = *feed.chunks;
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    if (chunks[c]->last_ms() < first_ms_ || chunks[c]->first_ms() > last_ms_) continue;
    chunks[c]->times(times);
    add(c, chunks[c]->count());
  }
  for (std::size_t i = 0; i < feed.size; ++i) times[i] = feed.head->rows[i].t_ms;
  add(chunks.size(), feed.size);
}

promql::Points Columns::range(const FeedState& feed, std::size_t key, std::uint32_t id, std::uint32_t slot,
                              std::int64_t first_ms, std::int64_t last_ms, std::int64_t offset_ms,
                              promql::SeriesSource::Buffer& buffer) {
  if (key != key_ || first_ms != first_ms_ || last_ms != last_ms_) {
    key_ = key;
    first_ms_ = first_ms;
    last_ms_ = last_ms;
    lay_out(feed);
  }
  buffer.values.resize(times_.size());
  auto* out = buffer.values.data();
  bool holes = false;
  double values[kBlock];
  for (const auto& part : parts_) {
    const auto n = part.to - part.from;
    const bool in_head = part.chunk == feed.chunks->size();
    const auto own = in_head ? feed.find(id, slot) : (*feed.chunks)[part.chunk]->find(id, slot);
    if (own == kNobody) {
      std::fill_n(out, n, none_marker());
      holes = true;
    } else if (in_head) {
      for (std::size_t i = 0; i < n; ++i) out[i] = feed.head->rows[part.from + i].at(own);
      holes = holes || std::any_of(out, out + n, is_hole);
    } else {
      // A whole chunk straight to its place.
      const auto& chunk = *(*feed.chunks)[part.chunk];
      const bool whole = n == chunk.count();
      chunk.values(own, whole ? out : values);
      if (!whole) std::copy_n(values + part.from, n, out);
      holes = holes || chunk.has_holes(own);
    }
    out += n;
  }
  if (!holes) return {times_.data(), buffer.values.data(), times_.size(), offset_ms};
  buffer.times.clear();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < times_.size(); ++i) {
    if (is_hole(buffer.values[i])) continue;
    buffer.values[kept++] = buffer.values[i];
    buffer.times.push_back(times_[i]);
  }
  return {buffer.times.data(), buffer.values.data(), kept, offset_ms};
}

}  // namespace vitald::history
