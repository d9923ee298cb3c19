// SPDX-License-Identifier: Apache-2.0
#include "core/snapshot.h"

#include <utility>

namespace vitald {

std::size_t Snapshot::series_count() const {
  std::size_t n = 0;
  for (const auto& batch : batches) n += batch->layout->samples().size();
  return n;
}

void SnapshotHub::publish(SnapshotPtr snapshot) {
  const MutexLock lock(mutex_);
  latest_.swap(snapshot);  // the old one is released after the lock
}

SnapshotPtr SnapshotHub::latest() const {
  const MutexLock lock(mutex_);
  return latest_;
}

}  // namespace vitald
