// SPDX-License-Identifier: Apache-2.0
#include "core/os/program_start.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "core/mutex.h"

namespace vitald {

struct ProgramStart::State {
  Start start;
  Fd done;
  ProcessBirth birth;
  Mutex mutex;
  std::optional<Result<Process>> result GUARDED_BY(mutex);
  bool given_up GUARDED_BY(mutex) = false;

  void run() {
    auto made = [this]() -> Result<Process> {
      try {
        return start(birth);
      } catch (const std::exception& e) {  // no memory
        return fail(Errc::io, e.what());
      }
    }();
    start = nullptr;  // the pipes' ends that only the program has
    {
      const MutexLock lock(mutex);
      if (given_up && made) made->signal_group(SIGKILL);
      result = std::move(made);
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(done.get(), &one, sizeof one);  // an eventfd at 0 takes it
  }
};

Result<ProgramStart> ProgramStart::begin(Start start) {
  auto state = std::make_shared<State>();
  state->start = std::move(start);
  state->done.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->done) return fail(from_errno("eventfd", errno));
  try {
    std::thread([state] {
      pthread_setname_np(pthread_self(), "start");
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, nullptr);
      state->run();
    }).detach();
  } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
    return fail(Errc::io, fmt::format("no thread to start a program with: {}", e.what()));
  }
  return ProgramStart(std::move(state));
}

ProgramStart& ProgramStart::operator=(ProgramStart&& other) noexcept {
  if (this == &other) return *this;
  if (state_) give_up();
  state_ = std::move(other.state_);
  return *this;
}

ProgramStart::~ProgramStart() {
  if (state_) give_up();
}

int ProgramStart::fd() const { return state_->done.get(); }

bool ProgramStart::done() const {
  pollfd p{fd(), POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

Result<Process> ProgramStart::take() {
  const MutexLock lock(state_->mutex);
  auto result = std::exchange(state_->result, std::nullopt);
  if (!result) return fail(Errc::io, "the program's start is not over");
  return std::move(*result);
}

// Its birth may just be over, before whoever gives up has looked: then it is a process that nobody asked to end.
void ProgramStart::give_up() {
  state_->birth.end();
  const MutexLock lock(state_->mutex);
  state_->given_up = true;
  if (state_->result && *state_->result) (*state_->result)->signal_group(SIGKILL);
}

}  // namespace vitald
