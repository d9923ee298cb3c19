// SPDX-License-Identifier: Apache-2.0
// What happened at one moment, where a number would not tell it: an OOM kill, a device that went. Events travel in
// the batches of those that saw them; the log keeps the newest for who asks.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"

namespace vitald {

struct Event {
  std::string type;  // "oom_kill"; a short word, the same for all of a kind
  std::int64_t boot_ns = 0;
  std::string text;  // one sentence for a person
  std::vector<std::pair<std::string, std::string>> fields;

  bool operator==(const Event&) const = default;
};
using EventPtr = std::shared_ptr<const Event>;

struct Snapshot;

// The newest events, numbered 1, 2, 3, ... as they came. Thread-safe.
class EventLog {
 public:
  struct Entry {
    std::uint64_t sequence = 0;
    std::string collector;
    EventPtr event;
  };
  explicit EventLog(std::size_t most = 1024) : most_(most) {}

  // The events of all batches that were not in a snapshot before. One caller at a time, in order of time.
  void append(const Snapshot& snapshot);
  // Those after that sequence, the oldest first. A gap in the sequences: what lay there was overwritten.
  [[nodiscard]] std::vector<Entry> since(std::uint64_t after, std::size_t most) const;
  [[nodiscard]] std::uint64_t newest() const;
  // Those that came and found no room in their batch.
  [[nodiscard]] std::uint64_t left_out() const;

 private:
  const std::size_t most_;
  mutable Mutex mutex_;
  std::deque<Entry> entries_ GUARDED_BY(mutex_);
  // By collector: of its last batch.
  std::map<std::string, std::int64_t, std::less<>> seen_boot_ns_ GUARDED_BY(mutex_);
  std::uint64_t newest_ GUARDED_BY(mutex_) = 0, left_out_ GUARDED_BY(mutex_) = 0;
};

}  // namespace vitald
