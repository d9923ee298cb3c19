// SPDX-License-Identifier: Apache-2.0
// The samples of one feed (a collector's batches), up to 64 rows at a time: a head that rows are added to, and chunks,
// which are heads that are full, turned into columns and packed. A row is what one batch brought; all series of a feed
// share its times. A series has a slot in the rows for as long as it lives, and is known by its id.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "rules/history/block.h"

namespace vitald::history {

inline constexpr std::uint32_t kNobody = UINT32_MAX;
using Ids = std::vector<std::uint32_t>;  // slot -> series id, kNobody: free

struct Row {
  std::int64_t t_ms = 0;    // CLOCK_BOOTTIME
  std::uint32_t count = 0;  // of `values`, by slot
  std::unique_ptr<double[]> values;
  [[nodiscard]] double at(std::size_t slot) const { return slot < count ? values[slot] : none_marker(); }
};

// The writer adds rows and never touches those that are there; how many there are is told beside it.
struct Head {
  std::array<Row, kBlock> rows;
};

class Chunk {
 public:
  // The first `count` rows of `head`, by slots as `ids` names them. `thinned`: there were other series.
  static std::shared_ptr<const Chunk> seal(const Head& head, std::size_t count, std::shared_ptr<const Ids> ids,
                                           bool thinned = false);
  // Those series only that `wanted(id)`: null when there are none, the same object when these are all.
  template <class F>
  static std::shared_ptr<const Chunk> only(const std::shared_ptr<const Chunk>& chunk, F&& wanted) {
    Ids kept;
    for (std::size_t slot = 0; slot < chunk->offsets_.size(); ++slot)
      if (chunk->offsets_[slot] != kNobody && wanted((*chunk->ids_)[slot])) kept.push_back((*chunk->ids_)[slot]);
    if (kept.empty()) return nullptr;
    if (kept.size() == chunk->series_) return chunk;
    return chunk->with(std::move(kept));
  }
  // What somebody else wrote: `present` says of each slot whether it has a block, `blocks` begin with the one of the
  // times, which lie between the two given. Null when it cannot be what seal() made.
  static std::shared_ptr<const Chunk> of(std::shared_ptr<const Ids> ids, const std::vector<bool>& present,
                                         std::string_view blocks, std::size_t count, std::int64_t first_ms,
                                         std::int64_t last_ms, bool thinned);
  // Its rows up to `t_ms`; null when there are none, the same object when these are all.
  static std::shared_ptr<const Chunk> until(const std::shared_ptr<const Chunk>& chunk, std::int64_t t_ms);
  // The packed times, and the block of a slot that has one: what of() takes.
  [[nodiscard]] std::string_view time_block() const { return block(0); }
  [[nodiscard]] std::string_view block_of(std::uint32_t slot) const { return block(offsets_[slot]); }
  [[nodiscard]] bool has(std::uint32_t slot) const { return offsets_[slot] != kNobody; }
  [[nodiscard]] const std::shared_ptr<const Ids>& ids() const { return ids_; }

  // Its slot here: `hint` if that is right. kNobody: it has no sample here.
  [[nodiscard]] std::uint32_t find(std::uint32_t id, std::uint32_t hint) const;

  // Both write count() numbers.
  void values(std::uint32_t slot, double* out) const;
  void times(std::int64_t* out) const;
  [[nodiscard]] bool has_holes(std::uint32_t slot) const { return history::has_holes(packed_.data() + offsets_[slot]); }

  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::int64_t first_ms() const { return first_ms_; }
  [[nodiscard]] std::int64_t last_ms() const { return last_ms_; }
  [[nodiscard]] std::size_t series() const { return series_; }
  [[nodiscard]] std::size_t samples() const { return series_ * count_; }
  [[nodiscard]] bool thinned() const { return thinned_; }
  // Of this object and what it points to, apart from the ids: chunks share them.
  [[nodiscard]] std::size_t bytes() const {
    return sizeof *this + offsets_.capacity() * sizeof(std::uint32_t) + packed_.capacity();
  }

 private:
  [[nodiscard]] std::shared_ptr<const Chunk> with(Ids ids) const;
  [[nodiscard]] std::string_view block(std::size_t offset) const;
  void close();

  std::shared_ptr<const Ids> ids_;
  std::vector<std::uint32_t> offsets_;  // by slot, into packed_
  std::vector<std::uint8_t> packed_;    // the times, then a block per series, then 8 bytes that unpack() may look at
  std::size_t count_ = 0, series_ = 0;
  std::int64_t first_ms_ = 0, last_ms_ = 0;
  bool thinned_ = false;
};

}  // namespace vitald::history
