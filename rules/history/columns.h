// SPDX-License-Identifier: Apache-2.0
// Reading one series of one feed back out of chunks and head, for the rules and for views alike.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "rules/history/chunk.h"
#include "rules/promql/series_source.h"

namespace vitald::history {

using Chunks = std::vector<std::shared_ptr<const Chunk>>;  // oldest first

// A feed at one moment. What it points to never changes, apart from rows of the head behind `size`.
struct FeedState {
  std::shared_ptr<const Chunks> chunks;
  std::shared_ptr<const Head> head;
  std::size_t size = 0;  // rows of the head
  std::shared_ptr<const Ids> ids;

  // Where the series is in the head; kNobody: it is not.
  [[nodiscard]] std::uint32_t find(std::uint32_t id, std::uint32_t hint) const {
    return hint < ids->size() && (*ids)[hint] == id ? hint : kNobody;
  }
};

// Times here are boot time; what is handed out carries the offset to wall time.
class Columns {
 public:
  // The newest sample in (t - lookback, t]; none when it is a stale marker.
  static std::optional<promql::Point> at(const FeedState& feed, std::uint32_t id, std::uint32_t slot, std::int64_t t_ms,
                                         std::int64_t lookback_ms);
  // All samples in [first, last]. `key` says which feed this is: the times of a range are worked out once for all of
  // its series that are asked for one after the other.
  promql::Points range(const FeedState& feed, std::size_t key, std::uint32_t id, std::uint32_t slot,
                       std::int64_t first_ms, std::int64_t last_ms, std::int64_t offset_ms,
                       promql::SeriesSource::Buffer& buffer);
  // All there is of one series, without holes; when it ended is in `ends`.
  struct Whole {
    std::vector<std::int64_t> times, ends;
    std::vector<double> values;
  };
  static Whole whole(const FeedState& feed, std::uint32_t id, std::uint32_t slot);
  // The feeds have got more rows.
  void forget() { key_ = SIZE_MAX; }

 private:
  struct Part {
    std::size_t chunk, from, to;  // rows of it; chunk == chunks.size(): of the head
  };
  void lay_out(const FeedState& feed);

  std::size_t key_ = SIZE_MAX;
  std::int64_t first_ms_ = 0, last_ms_ = 0;
  std::vector<Part> parts_;
  std::vector<std::int64_t> times_;
};

}  // namespace vitald::history
