// SPDX-License-Identifier: Apache-2.0
#include "agent/reloader.h"

#include <fmt/format.h>
#include <pthread.h>

#include <exception>
#include <new>
#include <thread>
#include <utility>

#include "core/log.h"

namespace vitald {

void Reloader::ask(Done done) {
  MutexLock lock(mutex_);
  if (asked_.size() >= kMostAsked) {
    lock.unlock();
    return done({fmt::format("{} others wait for a reload already", kMostAsked)});
  }
  asked_.push_back(std::move(done));
  if (running_) return;
  try {
    std::thread([this] { run(); }).detach();  // there is one only while there is something to do
    running_ = true;
  } catch (const std::exception& e) {  // no thread to be had: TasksMax=, ulimit -u, no memory
    const auto asked = std::exchange(asked_, {});
    lock.unlock();
    for (const auto& each : asked) each({fmt::format("no thread to reload with: {}; try again", e.what())});
  }
}

bool Reloader::idle(std::int64_t patience_ns) {
  MutexLock lock(mutex_);
  return ended_.wait_for_ns(lock, patience_ns, [this]() REQUIRES(mutex_) { return !running_; });
}

void Reloader::run() {
  pthread_setname_np(pthread_self(), "reload");
  MutexLock lock(mutex_);
  while (!asked_.empty()) {
    const auto asked = std::exchange(asked_, {});
    lock.unlock();
    Problems problems;
    const auto* told = &problems;
    try {
      problems = reload_();
    } catch (const std::bad_alloc&) {
      told = &no_memory_;
    } catch (const std::exception& e) {
      told = &bug_;
      log::error("bug, please report: exception in a reload", {{"err", e.what()}});
    }
    for (const auto& done : asked) try {
        done(*told);
      } catch (const std::exception& e) {
        log::error("a reload's end could not be told", {{"err", e.what()}});
      }
    lock.lock();
  }
  running_ = false;
  ended_.notify_all();
}

}  // namespace vitald
