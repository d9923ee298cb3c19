// SPDX-License-Identifier: Apache-2.0
// Runs programs at their intervals on a thread of its own and keeps what each printed last: no shell, a deadline, a
// bound on what they print. One that hangs is ended with all that it started, and costs the others nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sensors/read/exposition.h"
#include "sensors/service/exec_program.h"

namespace vitald {

class ExecRunner {
 public:
  static constexpr std::size_t kMostOutput = 4 << 20;

  // How a run may end.
  enum class Outcome : std::uint8_t { ok, failed, timeout, refused, not_started };
  static constexpr std::size_t kOutcomes = 5;

  // Of one program. What is in it does not change.
  struct State {
    std::shared_ptr<const Exposition> content;  // of the last good run; null: there was none
    std::int64_t content_boot_ns = 0, content_wall_ns = 0;
    std::uint64_t runs[kOutcomes] = {};
    bool ended = false;                    // one run did
    bool ok = false;                       // the last one was good
    std::string why;                       // if not
    std::int64_t last_ns = 0, cpu_ns = 0;  // how long the last one took; of all
  };

  explicit ExecRunner(std::vector<ExecProgram> programs);
  ~ExecRunner();  // ends what runs; never waits for one that cannot be killed
  ExecRunner(const ExecRunner&) = delete;
  ExecRunner& operator=(const ExecRunner&) = delete;

  // The first call starts the thread, and waits so long at most for first runs to end. In the order of the programs.
  [[nodiscard]] std::vector<State> states(std::int64_t first_wait_ns);
  [[nodiscard]] const std::vector<ExecProgram>& programs() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

const char* to_string(ExecRunner::Outcome outcome);

}  // namespace vitald
