// SPDX-License-Identifier: Apache-2.0
#include "rules/history/coarse.h"

#include <algorithm>

namespace vitald::history {

namespace {

std::int64_t stretch(std::int64_t t_ms, std::int64_t every_ms) {
  return t_ms >= 0 ? t_ms / every_ms : -((-t_ms + every_ms - 1) / every_ms);
}

}  // namespace

bool is_coarse(const Chunk& chunk, std::int64_t every_ms) {
  std::int64_t times[kBlock];
  chunk.times(times);
  for (std::size_t i = 1; i < chunk.count(); ++i)
    if (stretch(times[i], every_ms) == stretch(times[i - 1], every_ms)) return false;
  return true;
}

std::vector<std::shared_ptr<const Chunk>> coarser(const std::shared_ptr<const Chunk>& before, const Chunk& from,
                                                  const Ids& wanted, std::int64_t every_ms, std::int64_t most_span_ms) {
  auto ids = std::make_shared<Ids>();
  if (before)
    for (std::uint32_t slot = 0; slot < before->ids()->size(); ++slot)
      if (before->has(slot)) ids->push_back((*before->ids())[slot]);
  for (const auto id : wanted)
    if (std::ranges::find(*ids, id) == ids->end()) ids->push_back(id);

  std::vector<Row> rows;
  std::int64_t times[kBlock];
  double values[kBlock];
  const auto take = [&](const Chunk& chunk, auto&& is_wanted) {
    chunk.times(times);
    std::vector<std::size_t> row_of(chunk.count());
    for (std::size_t i = 0; i < chunk.count(); ++i) {
      if (rows.empty() || stretch(rows.back().t_ms, every_ms) != stretch(times[i], every_ms)) {
        auto& row = rows.emplace_back();
        row.count = static_cast<std::uint32_t>(ids->size());
        row.values = std::make_unique<double[]>(row.count);
        std::fill_n(row.values.get(), row.count, none_marker());
      }
      rows.back().t_ms = times[i];
      row_of[i] = rows.size() - 1;
    }
    for (std::size_t at = 0; at < ids->size(); ++at) {
      if (!is_wanted((*ids)[at])) continue;
      const auto slot = chunk.find((*ids)[at], kNobody);
      if (slot == kNobody) continue;
      chunk.values(slot, values);
      for (std::size_t i = 0; i < chunk.count(); ++i)
        if (!is_none(values[i])) rows[row_of[i]].values[at] = values[i];
    }
  };
  if (before) take(*before, [](std::uint32_t) { return true; });
  take(from, [&](std::uint32_t id) { return std::ranges::find(wanted, id) != wanted.end(); });

  std::vector<std::shared_ptr<const Chunk>> out;
  for (std::size_t begin = 0, count = 0; begin < rows.size(); begin += count) {
    Head head;
    const auto first_ms = rows[begin].t_ms;
    for (count = 1; count < kBlock && begin + count < rows.size(); ++count)
      if (rows[begin + count].t_ms - first_ms > most_span_ms) break;
    for (std::size_t i = 0; i < count; ++i) head.rows[i] = std::move(rows[begin + i]);
    auto chunk = Chunk::seal(head, count, ids, true);
    if (chunk->series() > 0) out.push_back(std::move(chunk));
  }
  return out;
}

}  // namespace vitald::history
