// SPDX-License-Identifier: Apache-2.0
// Where things are delivered to, as the queue in front of it sees it: something that takes items, or does not now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"

namespace vitald {

struct Item {
  std::uint64_t id = 0;  // given by the queue; grows, and is the same after a restart
  std::string key;       // what it is about, for logs; with this a receiver knows one that it gets a second time
  std::string body;      // the destination's own format, complete: it may be read by the next run
  std::int64_t wall_ms = 0;
  std::uint32_t records = 1;
  // An alert about the delivery of alerts. That it is refused is no news: it would make that alert fire again each time
  // it ends, also where two receivers are told of each other. Not kept over a restart.
  bool about_delivery = false;

  bool operator==(const Item&) const = default;
};

// How long one attempt may take.
struct Attempt {
  std::int64_t deadline_boot_ns = 0;
  int stop_fd = -1;  // readable: vitald ends, or this destination does: come back at once, what is not taken is kept
};

struct Sent {
  std::size_t taken = 0;    // of the front: done with, they leave the queue
  std::size_t refused = 0;  // of those: the receiver will never take them
  // When not all were taken: the receiver's wish when to come again; 0: it has none.
  std::int64_t retry_after_ns = 0;
  // What is wrong although they were taken, or why not all were. Empty: nothing, or the receiver's wish.
  std::string problem = {};
  // Of `refused`, each in one of them at most: for their size (413), because the command for them failed, and whatever
  // the cause is, what was about the delivery of alerts.
  std::size_t too_large = 0, failed = 0, about_delivery = 0;
  // With `taken`: it loses what it is sent, or a part of it, and nothing that was taken since says otherwise.
  bool refusing = false;
};

// Called by its queue's thread only. An exception counts as an error.
class Destination {
 public:
  virtual ~Destination() = default;
  // The oldest items, at least one, in order. An error: none was taken, the same come again later.
  virtual Result<Sent> send(std::span<const Item> items, const Attempt& attempt) = 0;
};

}  // namespace vitald
