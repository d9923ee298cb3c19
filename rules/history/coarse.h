// SPDX-License-Identifier: Apache-2.0
// Old samples of chosen series, fewer of them: of each stretch of time the last.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rules/history/chunk.h"

namespace vitald::history {

// Does it have one row at most for each stretch of `every_ms`?
bool is_coarse(const Chunk& chunk, std::int64_t every_ms);

// Of the series `wanted` of `from`, one row for each stretch of `every_ms`: the last value of each in it. They are put
// behind those of `before`, a coarse chunk that ends before `from` begins, or null. What takes the place of `before`:
// chunks of `most_span_ms` at most; none where there is nothing of them.
std::vector<std::shared_ptr<const Chunk>> coarser(const std::shared_ptr<const Chunk>& before, const Chunk& from,
                                                  const Ids& wanted, std::int64_t every_ms, std::int64_t most_span_ms);

}  // namespace vitald::history
