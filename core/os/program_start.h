// SPDX-License-Identifier: Apache-2.0
// Starts a program on a thread of its own: to open one that lies on a server which does not answer takes for ever, and
// whoever starts it has others to look after.
#pragma once

#include <functional>
#include <memory>

#include "core/os/process.h"
#include "core/result.h"

namespace vitald {

class ProgramStart {
 public:
  using Start = std::function<Result<Process>(ProcessBirth&)>;

  // `start` calls Process::start() with that birth. It runs on the other thread, which may outlive this: what it uses
  // must belong to it. Fails when there is no thread to be had.
  static Result<ProgramStart> begin(Start start);

  ProgramStart(ProgramStart&&) = default;
  ProgramStart& operator=(ProgramStart&& other) noexcept;
  // Gives up, and waits for nothing.
  ~ProgramStart();

  [[nodiscard]] int fd() const;  // readable once it is done
  [[nodiscard]] bool done() const;
  // Once it is done, and once only.
  Result<Process> take();
  // Kills what was started, in whatever state, unless it is taken already; it is done soon after, but where the kernel
  // cannot kill it either.
  void give_up();

 private:
  struct State;
  explicit ProgramStart(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace vitald
