// SPDX-License-Identifier: Apache-2.0
// Reads the configuration again on a thread of its own: its files may lie on a server that does not answer, and
// neither scrapes nor SIGTERM wait for that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/mutex.h"

namespace vitald {

class Reloader {
 public:
  using Problems = std::vector<std::string>;  // none: it is in force
  using Done = std::function<void(const Problems&)>;

  explicit Reloader(std::function<Problems()> reload) : reload_(std::move(reload)) {}
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  // `done` is called by that thread after a reload that began after this call; those who ask meanwhile share
  // the next one. At once, with a problem, when 64 wait already or there is no thread to be had.
  void ask(Done done);
  // False when one still runs: it cannot be ended, and this must not be destroyed.
  bool idle(std::int64_t patience_ns);

 private:
  static constexpr std::size_t kMostAsked = 64;
  void run();

  std::function<Problems()> reload_;
  // Made while there is memory.
  const Problems no_memory_{"out of memory; what was in force before may be so only in part, reload again"};
  const Problems bug_{"bug, please report: an exception, its text is in the log"};
  Mutex mutex_;
  CondVar ended_;
  std::vector<Done> asked_ GUARDED_BY(mutex_);
  bool running_ GUARDED_BY(mutex_) = false;
};

}  // namespace vitald
