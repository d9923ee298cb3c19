// SPDX-License-Identifier: Apache-2.0
// The exemplars of a snapshot that a server was not sent before, and the rows of the table that they belong to.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/snapshot.h"
#include "exporters/encode/series_table.h"

namespace vitald {

struct RowExemplar {
  std::uint32_t row = 0;    // of the table
  std::uint32_t value = 0;  // which of the table's values it is of: of a native histogram that of a bucket
  const Exemplar* exemplar = nullptr;
};

// Not thread-safe.
class NewExemplars {
 public:
  // Ascending by row, those of a row by time; each with a time, later than that of the row's exemplars sent before: a
  // server refuses others. They stay until the next call, as long as the snapshot does.
  std::span<const RowExemplar> find(const SeriesTable& table, const Snapshot& snapshot);

 private:
  std::vector<RowExemplar> found_;
  std::unordered_map<std::uint64_t, std::int64_t> sent_ms_;  // by the row's key
};

}  // namespace vitald
