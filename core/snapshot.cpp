// SPDX-License-Identifier: Apache-2.0
#include "core/snapshot.h"

#include <chrono>
#include <utility>

namespace vitald {

std::size_t Snapshot::series_count() const {
  std::size_t n = 0;
  for (const auto& batch : batches) n += batch->layout->samples().size();
  return n;
}

void SnapshotHub::publish(SnapshotPtr snapshot) {
  {
    const std::lock_guard lock(mutex_);
    latest_.swap(snapshot);  // the old one is released after the lock
  }
  published_.notify_all();
}

SnapshotPtr SnapshotHub::wait_newer(std::int64_t boot_ns, std::int64_t patience_ns) const {
  std::unique_lock lock(mutex_);
  const bool came = published_.wait_for(lock, std::chrono::nanoseconds(patience_ns),
                                        [&] { return latest_ && latest_->boot_ns >= boot_ns; });
  return came ? latest_ : nullptr;
}

SnapshotPtr SnapshotHub::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace vitald
