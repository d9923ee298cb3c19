// SPDX-License-Identifier: Apache-2.0
// Reads files that may lie on a server which does not answer: on a thread of its own, while the caller waits for
// signals or as long as it likes. After some seconds the log says what is waited for.
#pragma once

#include <signal.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace vitald {

// What the work is at, for the log; empty: nothing that would have to be said. Thread-safe.
class WaitsFor {
 public:
  WaitsFor();
  void at(std::string what);  // "the rules, --rules.file=/etc/vitald/*.yaml"
  [[nodiscard]] std::string text() const;

 private:
  friend class Loading;
  struct State;
  std::shared_ptr<State> state_;
};

class Loading {
 public:
  static constexpr std::int64_t kSayNs = 5'000'000'000;

  // `work` outlives this where it hangs: what it uses must belong to it, or to the program as long as it lives. Where
  // no thread is to be had it is done here, before this returns.
  Loading(const char* thread, std::function<void(WaitsFor&)> work);
  ~Loading();
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;

  // False when it is not done by then. An exception of the work is thrown here.
  bool wait(std::int64_t patience_ns);
  // These signals are blocked. 0: it is done; else which one came.
  int wait_or_signal(const sigset_t& signals);
  [[nodiscard]] std::string waits_for() const;

 private:
  struct Task;
  bool wait_until(std::int64_t boot_ns);
  void say(std::int64_t now_boot_ns);

  std::int64_t begin_boot_ns_;
  bool said_ = false;
  WaitsFor waits_;
};

}  // namespace vitald
