// SPDX-License-Identifier: Apache-2.0
// What receivers are at, for whoever asks: what waits for each, why it is not taken, and of commands what they said
// last. Receivers live on the pipeline's thread and their commands on queues' own; here both leave what the API shows.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "exporters/deliver/queue.h"

namespace vitald {

// One run of a command that has ended.
struct CommandRun {
  enum class Result : std::uint8_t { ok, failed, timeout, cut_off };  // cut_off: vitald ended, it is run again
  std::string alert;                                                  // its name
  std::string status;                                                 // firing, resolved
  Result result = Result::ok;
  std::string end;       // "exit status 3"; empty: it has not ended
  int exit_status = -1;  // -1: a signal ended it, or nothing did
  std::int64_t began_wall_ms = 0, took_ns = 0;
  std::string output;  // the last 4 KiB of it
};
const char* to_string(CommandRun::Result result);

// Thread-safe.
class ReceiverBook {
 public:
  static constexpr std::size_t kMostRuns = 3;  // the last ones of each receiver

  struct Row {
    std::string name, text;  // text: as in the start report
    QueueStats queue;
    std::vector<CommandRun> runs;  // the newest first
  };

  // `stats` is called by whoever asks, until close().
  void open(const std::string& name, std::string text, std::function<QueueStats()> stats);
  void close(const std::string& name);
  // Of one that is not open: nothing.
  void note(const std::string& name, CommandRun run);
  [[nodiscard]] std::vector<Row> rows() const;  // by name

 private:
  struct Entry {
    std::string text;
    std::function<QueueStats()> stats;
    std::deque<CommandRun> runs;
  };
  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
};

// That of this process.
ReceiverBook& receiver_book();

}  // namespace vitald
