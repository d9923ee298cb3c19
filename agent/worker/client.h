// SPDX-License-Identifier: Apache-2.0
// A collector in a process of its own (`vitald worker NAME`): the agent's side. What hangs, leaks or
// crashes over there costs that collector's metrics and nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/collector.h"

namespace vitald {

struct WorkerSettings {
  std::string collector;
  std::vector<std::string> arguments;           // the agent's own flags: the worker reads the same configuration
  std::int64_t deadline_ns = 5'000'000'000;     // an answer later than this: kill and restart
  std::int64_t backoff_min_ns = 1'000'000'000;  // between restarts, doubling with jitter
  std::int64_t backoff_max_ns = 60'000'000'000;
  // Memory that it shares with other workers: the descriptor, which lives as long as the client, and the variable of
  // its environment that has the number there. -1: none.
  int memory = -1;
  std::string memory_variable = {};
  std::int64_t drop_after_ns = 30'000'000'000;  // age at which the last good batch is no longer shown
};

// One call at a time; none waits for the process, but for the destructor (at most 200 ms) and for a process that
// closed its pipe and is about to end (20 ms). Virtual so that the pipeline is tested without processes.
class WorkerClient {
 public:
  explicit WorkerClient(WorkerSettings settings);
  virtual ~WorkerClient();  // ends the process: SIGTERM, then SIGKILL; never waits for one in D state
  WorkerClient(const WorkerClient&) = delete;
  WorkerClient& operator=(const WorkerClient&) = delete;

  // Asks for one batch; starts the process when there is none and its backoff has passed. A request still
  // in flight is not multiplied.
  virtual void request(std::int64_t now_boot_ns);
  // To poll(2) for POLLIN; -1 when there is no process.
  [[nodiscard]] virtual int fd() const;
  // Reads what came, watches the deadline, reaps. True when a new batch or failure arrived.
  virtual bool advance(std::int64_t now_boot_ns);
  // A request was sent and not yet answered.
  [[nodiscard]] virtual bool busy() const;

  // The last good batch, or an empty failed one with the reason; health.ok is false while the worker is
  // late, dead or not yet started. Null before the first answer.
  [[nodiscard]] virtual BatchPtr batch(std::int64_t now_boot_ns) const;

  struct Stats {
    std::uint64_t starts = 0, deadline_kills = 0, crashes = 0;
    int pid = -1;        // -1: not running
    bool stuck = false;  // was killed and does not die (D state)
    std::int64_t cpu_ns = 0;
  };
  [[nodiscard]] virtual Stats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The process' side: answers requests on standard input with frames on standard output until it is closed.
// Returns the exit status.
int worker_main(Collector& collector, const std::string& name);

}  // namespace vitald
