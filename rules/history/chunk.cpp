// SPDX-License-Identifier: Apache-2.0
#include "rules/history/chunk.h"

#include <algorithm>
#include <cmath>

namespace vitald::history {

std::shared_ptr<const Chunk> Chunk::seal(const Head& head, std::size_t count, std::shared_ptr<const Ids> ids,
                                         bool thinned) {
  auto out = std::make_shared<Chunk>();
  double column[kBlock];
  out->count_ = count;
  out->thinned_ = thinned;
  out->first_ms_ = head.rows[0].t_ms;
  out->last_ms_ = head.rows[count - 1].t_ms;
  for (std::size_t r = 0; r < count; ++r) column[r] = static_cast<double>(head.rows[r].t_ms - out->first_ms_);
  pack(column, count, out->packed_);
  out->offsets_.assign(ids->size(), kNobody);
  // A cache line of each row at a time.
  constexpr std::size_t kTile = 8;
  double tile[kTile][kBlock];
  for (std::size_t begin = 0; begin < ids->size(); begin += kTile) {
    const auto n = std::min(kTile, ids->size() - begin);
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t i = 0; i < n; ++i) tile[i][r] = head.rows[r].at(begin + i);
    for (std::size_t i = 0; i < n; ++i) {
      if (std::all_of(tile[i], tile[i] + count, is_none)) continue;
      out->offsets_[begin + i] = static_cast<std::uint32_t>(out->packed_.size());
      pack(tile[i], count, out->packed_);
      ++out->series_;
    }
  }
  out->ids_ = std::move(ids);
  out->close();
  return out;
}

void Chunk::close() {
  packed_.resize(packed_.size() + sizeof(std::uint64_t));
  packed_.shrink_to_fit();
}

std::shared_ptr<const Chunk> Chunk::with(Ids ids) const {
  auto out = std::make_shared<Chunk>();
  double ignored[kBlock];
  const auto copy = [&](std::size_t offset) {
    const auto* block = packed_.data() + offset;
    const auto at = static_cast<std::uint32_t>(out->packed_.size());
    out->packed_.insert(out->packed_.end(), block, unpack(block, count_, ignored));
    return at;
  };
  copy(0);  // the times
  for (const auto id : ids) out->offsets_.push_back(copy(offsets_[find(id, kNobody)]));
  out->series_ = ids.size();
  out->ids_ = std::make_shared<const Ids>(std::move(ids));
  out->count_ = count_;
  out->first_ms_ = first_ms_;
  out->last_ms_ = last_ms_;
  out->thinned_ = true;
  out->close();
  return out;
}

std::string_view Chunk::block(std::size_t offset) const {
  const auto* at = packed_.data() + offset;
  const auto* end = end_of_block(at, packed_.data() + packed_.size(), count_);
  return {reinterpret_cast<const char*>(at), static_cast<std::size_t>(end - at)};
}

std::shared_ptr<const Chunk> Chunk::of(std::shared_ptr<const Ids> ids, const std::vector<bool>& present,
                                       std::string_view blocks, std::size_t count, std::int64_t first_ms,
                                       std::int64_t last_ms, bool thinned) {
  if (count == 0 || count > kBlock || present.size() != ids->size() || last_ms < first_ms) return nullptr;
  auto out = std::make_shared<Chunk>();
  out->packed_.reserve(blocks.size() + sizeof(std::uint64_t));
  out->packed_.assign(blocks.begin(), blocks.end());
  const auto size = blocks.size();
  out->close();
  const auto* begin = out->packed_.data();
  std::size_t at = 0;
  double values[kBlock];
  // The next block; false when it is none.
  const auto step = [&] {
    const auto* end = end_of_block(begin + at, begin + size, count);
    if (!end) return false;
    unpack(begin + at, count, values);
    at = static_cast<std::size_t>(end - begin);
    return true;
  };
  if (!step() || history::has_holes(begin) || values[0] != 0 ||
      values[count - 1] != static_cast<double>(last_ms - first_ms))
    return nullptr;
  for (std::size_t i = 1; i < count; ++i)
    if (!(values[i] > values[i - 1]) || values[i] != std::floor(values[i])) return nullptr;
  out->offsets_.assign(present.size(), kNobody);
  for (std::size_t slot = 0; slot < present.size(); ++slot) {
    if (!present[slot]) continue;
    const auto offset = at;
    if ((*ids)[slot] == kNobody || !step()) return nullptr;
    // A hole that the block does not tell of would be read as a value.
    if (!history::has_holes(begin + offset) && std::any_of(values, values + count, is_hole)) return nullptr;
    out->offsets_[slot] = static_cast<std::uint32_t>(offset);
    ++out->series_;
  }
  if (at != size || out->series_ == 0) return nullptr;
  out->ids_ = std::move(ids);
  out->count_ = count;
  out->first_ms_ = first_ms;
  out->last_ms_ = last_ms;
  out->thinned_ = thinned;
  return out;
}

std::shared_ptr<const Chunk> Chunk::until(const std::shared_ptr<const Chunk>& chunk, std::int64_t t_ms) {
  if (chunk->last_ms_ <= t_ms) return chunk;
  std::int64_t times[kBlock];
  chunk->times(times);
  const auto count = static_cast<std::size_t>(std::upper_bound(times, times + chunk->count_, t_ms) - times);
  if (count == 0) return nullptr;
  auto out = std::make_shared<Chunk>();
  double values[kBlock];
  unpack(chunk->packed_.data(), chunk->count_, values);
  pack(values, count, out->packed_);
  out->offsets_.assign(chunk->offsets_.size(), kNobody);
  for (std::size_t slot = 0; slot < out->offsets_.size(); ++slot) {
    if (chunk->offsets_[slot] == kNobody) continue;
    chunk->values(static_cast<std::uint32_t>(slot), values);
    if (std::all_of(values, values + count, is_none)) continue;
    out->offsets_[slot] = static_cast<std::uint32_t>(out->packed_.size());
    pack(values, count, out->packed_);
    ++out->series_;
  }
  if (out->series_ == 0) return nullptr;
  out->ids_ = chunk->ids_;
  out->count_ = count;
  out->first_ms_ = chunk->first_ms_;
  out->last_ms_ = times[count - 1];
  out->thinned_ = chunk->thinned_;
  out->close();
  return out;
}

std::uint32_t Chunk::find(std::uint32_t id, std::uint32_t hint) const {
  auto slot = hint;
  if (slot >= ids_->size() || (*ids_)[slot] != id) {  // it came back after a while and got another one
    const auto at = std::ranges::find(*ids_, id);
    if (at == ids_->end()) return kNobody;
    slot = static_cast<std::uint32_t>(at - ids_->begin());
  }
  return offsets_[slot] == kNobody ? kNobody : slot;
}

void Chunk::values(std::uint32_t slot, double* out) const { unpack(packed_.data() + offsets_[slot], count_, out); }

void Chunk::times(std::int64_t* out) const {
  double since[kBlock];
  unpack(packed_.data(), count_, since);
  for (std::size_t i = 0; i < count_; ++i) out[i] = first_ms_ + static_cast<std::int64_t>(since[i]);
}

}  // namespace vitald::history
