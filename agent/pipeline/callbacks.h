// SPDX-License-Identifier: Apache-2.0
// URLs that programs registered while vitald runs: each is posted the events of one type as they come. Registrations
// survive a restart where there is a state folder, and so does what waits for them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/event.h"
#include "core/mutex.h"
#include "core/os/state_dir.h"
#include "core/result.h"
#include "core/text/sections.h"
#include "exporters/deliver/queue.h"

namespace vitald {

struct Callback {
  std::string id;          // a UUID
  std::string event_type;  // one of event_types(), one that programs post, or "*": all
  std::string url;
  std::int64_t created_ms = 0;
};
// Of all events that vitald itself has.
std::span<const std::string_view> event_types();
// What is wrong with the type of an event that a program posts; empty: nothing. Not one of vitald's own, nor one that a
// slip of the finger makes of them: nobody but vitald says that an alert fires.
std::string posted_type_problem(std::string_view type);
// What is wrong with a type that somebody asks for; empty: nothing. All that may be posted may be asked for.
std::string event_type_problem(std::string_view type);

// By which one that comes twice is known (Idempotency-Key). A transition of an alert that a crash cut off is an event
// of the next run, too.
std::string event_key(const EventLog::Entry& entry);

Result<> save(const std::vector<Callback>& callbacks, SectionWriter::Sink sink);
Result<std::vector<Callback>> load_callbacks(SectionReader::Source source, std::size_t file_bytes);

class Callbacks {
 public:
  static constexpr std::size_t kMost = 50;
  static constexpr const char* kFile = "callbacks";

  // Goes on with those that an earlier run left; one that cannot be read is set aside, with a warning.
  explicit Callbacks(std::shared_ptr<const StateDir> state);
  ~Callbacks();
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;

  // From any thread. In force when it is on disk. `newest`: of the log's events; those up to it are not told.
  Result<Callback> add(std::string event_type, std::string url, std::int64_t now_ms, std::uint64_t newest);
  // absent: there is none of this id. What waits for it is let go.
  Result<> remove(const std::string& id);
  struct Row {
    Callback callback;
    QueueStats stats;
  };
  [[nodiscard]] std::vector<Row> rows() const;
  [[nodiscard]] bool empty() const;

  // The events of the log that were not there at the last call go to who wants them; alerts that are silenced or
  // inhibited go to nobody. By one thread. Queues that had nothing to do for a while end with their threads.
  // `wall_at_boot_ns`: the wall clock's time when the machine booted.
  void tell(const EventLog& log, std::int64_t wall_at_boot_ns);

 private:
  struct Registered {
    Callback callback;
    std::shared_ptr<Queue> queue;  // null: nothing waits
    std::uint64_t delivered = 0;   // by queues before this one
    QueueStats::Dropped dropped = {};
    std::int64_t busy_boot_ns = 0;
    std::uint64_t after = 0;  // events that were there before it are not its
  };
  void end_idle();
  std::shared_ptr<Queue> begin(const std::string& id);
  [[nodiscard]] std::shared_ptr<Queue> queue_for(const Callback& callback) const;
  Result<> store(const std::vector<Callback>& callbacks) const;

  const std::shared_ptr<const StateDir> state_;
  std::uint64_t told_ = 0;
  Mutex changing_;  // held over a write
  mutable Mutex mutex_;
  std::map<std::string, Registered> all_ GUARDED_BY(mutex_);
};

}  // namespace vitald
