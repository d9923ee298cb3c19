// SPDX-License-Identifier: Apache-2.0
#include "rules/history/chunk.h"

#include <algorithm>

namespace vitald::history {

std::shared_ptr<const Chunk> Chunk::seal(const Head& head, std::size_t count, std::shared_ptr<const Ids> ids) {
  auto out = std::make_shared<Chunk>();
  double column[kBlock];
  out->count_ = count;
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
