// SPDX-License-Identifier: Apache-2.0
// Events that programs of this host have posted and no collection has taken yet: bounded, and never more than one
// collection a second for their sake.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "core/event.h"
#include "core/mutex.h"
#include "core/os/fd.h"

namespace vitald {

// Thread-safe. One per host (Host::shared).
class PostedEvents {
 public:
  static constexpr std::size_t kMost = 256;  // that wait

  PostedEvents();
  // False: too many wait.
  bool add(Event event, std::int64_t now_boot_ns);
  std::vector<Event> take(std::size_t most);
  // Readable when some wait and a second has gone by since it was so last; take() reads it.
  [[nodiscard]] int fd() const { return timer_.get(); }
  [[nodiscard]] std::uint64_t taken() const;
  [[nodiscard]] std::uint64_t refused() const;  // for want of room
  // One that was none, which its sender was told.
  void count_malformed();
  [[nodiscard]] std::uint64_t malformed() const;

 private:
  const Fd timer_;
  mutable Mutex mutex_;
  std::deque<Event> waiting_ GUARDED_BY(mutex_);
  std::int64_t last_ns_ GUARDED_BY(mutex_) = 0;  // when it is readable next, or was last
  bool armed_ GUARDED_BY(mutex_) = false;
  std::uint64_t taken_ GUARDED_BY(mutex_) = 0, refused_ GUARDED_BY(mutex_) = 0, malformed_ GUARDED_BY(mutex_) = 0;
};

}  // namespace vitald
