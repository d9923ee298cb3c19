// SPDX-License-Identifier: Apache-2.0
// One queue's folder on disk: segments that are appended to, read again and removed. Used by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/os/fd.h"
#include "core/os/state_dir.h"
#include "exporters/deliver/destination.h"

namespace vitald {

using ItemPtr = std::shared_ptr<const Item>;

class Journal {
 public:
  // `name` is the destination's; any text. Its folder is in the folder `in` of the state folder.
  // `most_bytes`: what its files are to be dropped at, each as a whole: the smaller it is the smaller they are.
  Journal(std::shared_ptr<const StateDir> state, std::string name, std::string_view in = "queue",
          std::size_t most_bytes = SIZE_MAX);

  struct Found {
    std::uint64_t done = 0;     // items up to this one are done with
    std::uint64_t last_id = 0;  // highest ever seen
    std::size_t items = 0;      // that are not done with
    std::int64_t oldest_wall_ms = 0;
    std::size_t damaged_bytes = 0;
  };
  // Makes the folder where it is missing, locks it, and looks through what an earlier run left. A file with damage is
  // set aside as NAME.damaged, and what is good in it stays; files that are not ours are left alone.
  Result<Found> open();

  // All of them or an error, as far as anyone can tell after a crash; they end on the disk where `sync` is set.
  Result<> append(std::span<const ItemPtr> items, bool sync);
  // Items up to this one are done with: what only has such is removed. The mark itself may be lost in a crash, then
  // the items come again.
  void done(std::uint64_t id);
  // Nothing waits any more: the folder is left empty.
  void remove_all();
  // Items after this one in order, of one segment at least; none when there are none.
  Result<std::vector<ItemPtr>> load(std::uint64_t after) const;
  // Up to which item one must give up to remove the oldest segment; 0: there is none.
  [[nodiscard]] std::uint64_t oldest_segment_ends() const;

  [[nodiscard]] std::size_t bytes() const;
  [[nodiscard]] std::string path() const { return state_->at(folder_); }

  // A file larger than this gets no more records.
  static constexpr std::size_t kSegmentBytes = 1 << 20, kLeastSegments = 8;

 private:
  struct Segment {
    std::string name;
    std::uint64_t last_id = 0;
    std::size_t items = 0, bytes = 0;
  };

  Result<std::string> bytes_of(const std::string& name) const;
  void set_aside(Segment& segment, const std::string& bytes, const std::vector<Item>& good);
  Result<> begin_segment(std::uint64_t first_id);
  Result<> append_once(std::span<const ItemPtr> items, bool sync);
  Result<> append_bytes(std::string_view bytes, bool sync);
  void mark();
  void remove(const Segment& segment) const;

  std::shared_ptr<const StateDir> state_;
  const std::size_t segment_bytes_;
  std::string name_, folder_;
  Fd lock_, current_;                          // current_: the last of segments_ is open for appending
  std::map<std::uint64_t, Segment> segments_;  // by first id
  std::uint64_t done_ = 0, last_id_ = 0;
};

// The folder of a queue that no receiver of this configuration has.
struct LeftBehind {
  std::string path;
  std::size_t items = 0;  // that wait in it
  bool removed = false;   // the newest of them is older than `keep_ms`, or there is none, and all files are ours
};
// All of them, but for those that a queue of before a reload is still ending with. `names`: of the receivers there are.
std::vector<LeftBehind> left_behind(const StateDir& state, std::span<const std::string> names, std::int64_t now_wall_ms,
                                    std::int64_t keep_ms, std::string_view in = "queue");

}  // namespace vitald
