// SPDX-License-Identifier: Apache-2.0
#include "core/event.h"

#include <algorithm>

#include "core/snapshot.h"

namespace vitald {

void EventLog::append(const Snapshot& snapshot) {
  const MutexLock lock(mutex_);
  for (const auto& batch : snapshot.batches) {
    if (batch->events.empty() && batch->events_left_out == 0) continue;
    // A worker's last good batch stays in the snapshots that follow. Two batches of one collector (the agent's own
    // rows about a worker) have no events in one of them.
    auto& seen = seen_boot_ns_.try_emplace(batch->collector, INT64_MIN).first->second;
    if (batch->collected_boot_ns <= seen) continue;
    seen = batch->collected_boot_ns;
    left_out_ += batch->events_left_out;
    for (const auto& event : batch->events) {
      if (entries_.size() == most_) entries_.pop_front();
      entries_.push_back({++newest_, batch->collector, event});
    }
  }
}

std::vector<EventLog::Entry> EventLog::since(std::uint64_t after, std::size_t most) const {
  const MutexLock lock(mutex_);
  const auto first = std::ranges::upper_bound(entries_, after, {}, &Entry::sequence);
  const auto count = std::min<std::size_t>(most, static_cast<std::size_t>(entries_.end() - first));
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

std::uint64_t EventLog::newest() const {
  const MutexLock lock(mutex_);
  return newest_;
}

std::uint64_t EventLog::left_out() const {
  const MutexLock lock(mutex_);
  return left_out_;
}

}  // namespace vitald
