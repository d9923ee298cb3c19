// SPDX-License-Identifier: Apache-2.0
// What waits for a destination: in order, bounded, and over restarts where there is a state folder. At least once: a
// receiver may get an item a second time after a crash, with the same key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/os/state_dir.h"
#include "exporters/deliver/destination.h"

namespace prometheus {
class Counter;
}

namespace vitald {

struct QueueStats {
  std::size_t waiting = 0;  // without those that the destination has at the moment
  std::size_t in_flight = 0;
  std::uint64_t delivered = 0;
  // What will never be delivered, as in vitald_delivery_dropped_total.
  struct Dropped {
    std::uint64_t full = 0, refused = 0, too_large = 0, failed = 0, about_delivery = 0, lost = 0;
    [[nodiscard]] std::uint64_t all() const { return full + refused + too_large + failed + about_delivery + lost; }
    Dropped& operator+=(const Dropped& more) {
      full += more.full, refused += more.refused, too_large += more.too_large, failed += more.failed, lost += more.lost;
      about_delivery += more.about_delivery;
      return *this;
    }
  } dropped;
  std::int64_t oldest_wall_ms = 0;  // 0: none waits
  std::size_t disk_bytes = 0;
  bool failing = false;   // the last attempt was none
  bool refusing = false;  // as vitald_delivery_refusing
  std::string problem;    // why; without `failing`: what is wrong although all was taken
};

struct QueueSettings {
  std::string name;  // of the destination: a label of metrics, the folder of the journal
  // What is delivered, another label: alerts, samples or events. Alerts that wait are worse than samples that do.
  std::string data_type = "alerts";
  // Every item is on disk before push() returns (alerts). Otherwise (metrics) they go there only while the destination
  // is away or slower than what comes, and at the end.
  bool journal = false;
  std::string folder = "queue";                // in the state folder; the journal is a folder in it
  std::size_t most_items = 10'000;             // that wait; the oldest are dropped
  std::size_t most_memory_bytes = 4 << 20;     // without a state folder the oldest are dropped
  std::size_t most_memory_records = SIZE_MAX;  // the same, in Item::records
  std::size_t most_disk_bytes = 64 << 20;      // the oldest are dropped
  std::size_t batch_items = 1;                 // for one send()
  std::size_t failing_batch_items = 0;         // while it fails, where more: what waits is news, too
  std::int64_t attempt_ns = 30'000'000'000;    // for one send()
  std::int64_t first_wait_ns = 1'000'000'000;  // after a failure; then twice as long each time
  std::int64_t most_wait_ns = 300'000'000'000;
  std::int64_t end_patience_ns = 1'000'000'000;
  // An item that is taken is no sign that all are, since what belongs together is several: vitald_delivery_refusing
  // is 0 again when all that waited was taken.
  bool items_go_together = false;
  // Called after every change, on whoever's thread and with the queue's lock: no calls back.
  std::function<void(const QueueStats&)> on_change = {};
  // The same for what is dropped, but for what the destination refuses; `reason` as in vitald_delivery_dropped_total.
  // Of what waits on disk it is called when the file is read or removed.
  std::function<void(std::string_view reason, std::uint64_t records)> on_drop = {};
};

// vitald_delivery_dropped_total, of this process; also for whoever loses what never came to a queue.
prometheus::Counter& dropped_items(const std::string& data_type, const std::string& destination,
                                   const std::string& reason);

class Queue {
 public:
  // Starts a thread that sends, and with a state folder one that writes. Never throws for want of threads: it is tried
  // again with each push().
  Queue(QueueSettings settings, std::unique_ptr<Destination> destination, std::shared_ptr<const StateDir> state,
        const Clock& clock);
  // Tells the destination to stop, then waits for it `end_patience_ns` at most. What is queued is in the journal then;
  // without one it is lost, and the log says how much.
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // From any thread. Waits for the disk in journal mode, a second at most: a disk that hangs holds up nobody.
  void push(Item item);
  void push(std::vector<Item> items);
  // Ends it as the destructor does, and gives back what waits unless the journal has it.
  std::vector<Item> end();
  // Tells the destination to stop and returns: whoever ends many does this first.
  void stop();
  // Brings the age of the oldest item up to date; whoever owns a timer calls it.
  void measure();
  [[nodiscard]] QueueStats stats() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // its threads have it too: one that hangs in the kernel outlives this
};

}  // namespace vitald
