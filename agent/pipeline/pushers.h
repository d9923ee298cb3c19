// SPDX-License-Identifier: Apache-2.0
// Hands finished snapshots to the destinations that metrics are pushed to, each at its interval. All of them share one
// thread, which reads the newest snapshot and asks for a collection only where none came by itself. Without a
// destination there is no thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/snapshot.h"
#include "exporters/push/push.h"

namespace vitald {

// All that a reload replaces.
struct PushConfig {
  std::vector<PushPtr> destinations;
  std::shared_ptr<const StateDir> state = {};  // where what waits is kept; null: nowhere
  std::int64_t interval_ns = 5'000'000'000;    // the pipeline's: so often is collected what averages are made of
};

class Pushers {
 public:
  struct Source {
    std::function<SnapshotPtr()> latest;
    // A collection that begins at this time or later, on somebody else's thread.
    std::function<void(std::int64_t boot_ns)> want;
  };
  Pushers(Source source, const Clock& clock);
  ~Pushers();
  Pushers(const Pushers&) = delete;
  Pushers& operator=(const Pushers&) = delete;

  // From any thread. In force soon after: those that stay as they were go on, of the others what waits goes over to the
  // one of the same name.
  void configure(PushConfig config);
  // There is a new snapshot. From any thread; never waits.
  void published();
  // Series are told to be over, and what is being sent has `patience_ns` to arrive; the rest is kept or told as lost.
  void stop(std::int64_t patience_ns);

 private:
  // Of one destination: when its next numbers are due.
  struct Due {
    std::unique_ptr<Push> push;
    std::int64_t at_ns = INT64_MIN;
    std::uint64_t sequence = 0;  // of the snapshot that it was given last
    std::int64_t asked_ns = INT64_MIN / 2;
    std::int64_t seen_ns = 0;  // when the snapshot began that it has seen last
  };
  void run();
  void apply(PushConfig config);
  // When it wants to be looked at again.
  std::int64_t serve(Due& due, const SnapshotPtr& latest, std::int64_t now_ns);
  void push(Due& due, const Snapshot& snapshot);
  void look_for_left_behind(const StateDir& state);
  void drain(std::span<const Due> dues, std::int64_t patience_ns) const;
  void finish();

  const Source source_;
  const Clock& clock_;
  // The thread's.
  std::vector<Due> all_;
  std::int64_t interval_ns_ = 0;
  std::set<std::string> left_behind_said_, failures_said_;

  std::atomic<bool> any_ = false;
  Mutex mutex_;
  CondVar wake_;
  std::unique_ptr<PushConfig> next_ GUARDED_BY(mutex_);
  bool news_ GUARDED_BY(mutex_) = false, stopping_ GUARDED_BY(mutex_) = false;
  std::int64_t stop_patience_ns_ GUARDED_BY(mutex_) = 0;
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace vitald
