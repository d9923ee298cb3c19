// SPDX-License-Identifier: Apache-2.0
// What the rules know goes to the state folder, so that a restart forgets nothing: read before the first round, written
// at the end and every --history.save-interval. A thread of its own writes: a disk that hangs holds up nobody.
#pragma once

#include <cstdint>
#include <memory>

#include "core/host.h"
#include "core/os/state_dir.h"

namespace vitald {

class History;
class RuleEngine;

class Keeper {
 public:
  // The names of its files in the state folder.
  static constexpr const char* kHistoryFile = "history";

  Keeper(std::shared_ptr<const StateDir> state, const Host& host);
  // Waits for what is being written, two seconds at most.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // What an earlier run left goes to rules that have judged nothing. A file that cannot be read is set aside, with a
  // warning.
  void restore(RuleEngine& rules);
  // From here on this one is written. By the thread that writes to it.
  void keep(std::shared_ptr<const History> history);
  // From any thread. So often; 0: only by save().
  void set_interval(std::int64_t ns);
  // From any thread: all of it now. False when that takes longer; it goes on then.
  bool save(std::int64_t patience_ns);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // its thread has it too: one that hangs in the kernel outlives this
};

}  // namespace vitald
