// SPDX-License-Identifier: Apache-2.0
// One cycle's result for the whole host. Never changes once published: readers hold a reference, not a lock.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/batch.h"
#include "core/mutex.h"

namespace vitald {

struct Snapshot {
  std::uint64_t sequence = 0;     // 1, 2, 3, ... per run of the agent
  std::int64_t boot_ns = 0;       // when the cycle began, CLOCK_BOOTTIME
  std::int64_t wall_ns = 0;       // the same moment, CLOCK_REALTIME
  std::vector<BatchPtr> batches;  // sorted by collector name

  [[nodiscard]] std::size_t series_count() const;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

// Where the flow fans out: the one mutex between the writer and all readers. Thread-safe.
// (Not std::atomic<std::shared_ptr>: GCC 12's is reported as a race by ThreadSanitizer.)
class SnapshotHub {
 public:
  void publish(SnapshotPtr snapshot);
  // The newest one; null before the first cycle.
  [[nodiscard]] SnapshotPtr latest() const;

 private:
  mutable Mutex mutex_;
  SnapshotPtr latest_ GUARDED_BY(mutex_);
};

}  // namespace vitald
