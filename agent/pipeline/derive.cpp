// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/derive.h"

#include <algorithm>

namespace vitald {

Result<std::unique_ptr<Collector>> DerivedCollector::make(const CollectorEntry& entry, const Host& host,
                                                          const Options& options, const SoFar& so_far) {
  if (entry.runs != Runs::after) return entry.info->make(host, options);
  auto made = entry.info->derive(host, options);
  if (!made) return fail(std::move(made.error()));
  return std::make_unique<DerivedCollector>(std::move(*made), so_far);
}

void insert_batch(Snapshot& snapshot, BatchPtr batch) {
  const auto at = std::ranges::upper_bound(snapshot.batches, batch->collector, {},
                                           [](const auto& b) -> const std::string& { return b->collector; });
  snapshot.batches.insert(at, std::move(batch));
}

}  // namespace vitald
