// SPDX-License-Identifier: Apache-2.0
#include "agent/reloader.h"

#include <fmt/format.h>
#include <pthread.h>

#include <chrono>
#include <exception>
#include <thread>
#include <utility>

namespace vitald {

void Reloader::ask(Done done) {
  const std::lock_guard lock(mutex_);
  // One that hangs for days is asked for again and again; those who waited longest have given up.
  if (asked_.size() >= kMostAsked) asked_.erase(asked_.begin());
  asked_.push_back(std::move(done));
  if (running_) return;
  running_ = true;
  std::thread([this] { run(); }).detach();  // there is one only while there is something to do
}

bool Reloader::idle(std::int64_t patience_ns) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::nanoseconds(patience_ns), [this] { return !running_; });
}

void Reloader::run() {
  pthread_setname_np(pthread_self(), "reload");
  std::unique_lock lock(mutex_);
  while (!asked_.empty()) {
    const auto asked = std::exchange(asked_, {});
    lock.unlock();
    const auto problems = [this]() -> Problems {
      try {
        return reload_();
      } catch (const std::exception& e) {
        return {fmt::format("bug, please report: exception '{}'", e.what())};
      }
    }();
    for (const auto& done : asked) done(problems);
    lock.lock();
  }
  running_ = false;
  ended_.notify_all();
}

}  // namespace vitald
