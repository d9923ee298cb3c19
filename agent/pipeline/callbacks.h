// SPDX-License-Identifier: Apache-2.0
// URLs that programs registered while vitald runs: each is posted the events of one type as they come. Registrations
// survive a restart where there is a state folder, and so does what waits for them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
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
  std::string event_type;  // "alert_firing", "oom_kill"; "*": all
  std::string url;
  std::int64_t created_ms = 0;
};
Result<> save(const std::vector<Callback>& callbacks, SectionWriter::Sink sink);
Result<std::vector<Callback>> load_callbacks(SectionReader::Source source, std::size_t file_bytes);

class Callbacks {
 public:
  static constexpr std::size_t kMost = 100;
  static constexpr const char* kFile = "callbacks";

  // Goes on with those that an earlier run left; one that cannot be read is set aside, with a warning.
  explicit Callbacks(std::shared_ptr<const StateDir> state);
  ~Callbacks();
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;

  // From any thread. In force when it is on disk.
  Result<Callback> add(std::string event_type, std::string url, std::int64_t now_ms);
  // absent: there is none of this id. What waits for it is let go.
  Result<> remove(const std::string& id);
  struct Row {
    Callback callback;
    QueueStats stats;
  };
  [[nodiscard]] std::vector<Row> rows() const;
  [[nodiscard]] bool empty() const;

  // The events of the log that were not there at the last call go to who wants them. By one thread.
  // `wall_at_boot_ns`: the wall clock's time when the machine booted.
  void tell(const EventLog& log, std::int64_t wall_at_boot_ns);

 private:
  struct Registered {
    Callback callback;
    std::shared_ptr<Queue> queue;
  };
  [[nodiscard]] std::shared_ptr<Queue> queue_for(const Callback& callback) const;
  Result<> store(const std::vector<Callback>& callbacks) const;

  const std::shared_ptr<const StateDir> state_;
  std::uint64_t told_ = 0;
  Mutex changing_;  // held over a write
  mutable Mutex mutex_;
  std::map<std::string, Registered> all_ GUARDED_BY(mutex_);
};

}  // namespace vitald
