// SPDX-License-Identifier: Apache-2.0
#include "agent/surroundings.h"

#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/config/check.h"
#include "agent/config/places.h"
#include "agent/loading.h"
#include "core/log.h"
#include "core/mutex.h"

namespace vitald {
namespace {

void look_now(const Config& config, WaitsFor& waits) {
  std::vector<std::string> problems, warnings;
  waits.at("programs, users and files of receivers and pushes; all else goes on");
  check_receivers(config, problems);
  waits.at("files that patterns fit (--collector.textfile.directory, --rules.file); all else goes on");
  check_patterns(config.options, warnings);
  for (const auto& p : problems)
    log::error("a receiver does not work as it is configured", {{"err", at_its_place(p, config.file.settings)}});
  for (const auto& w : warnings)
    log::warn("a setting has no effect", {{"setting", at_its_place(w, config.file.settings)}});
}

}  // namespace

struct Surroundings::State {
  mutable Mutex mutex;
  std::optional<Config> next GUARDED_BY(mutex);
  bool running GUARDED_BY(mutex) = false;

  bool run_one() {
    std::optional<Config> config;
    {
      const MutexLock lock(mutex);
      config = std::exchange(next, std::nullopt);
      running = config.has_value();
    }
    if (!config) return false;
    try {
      Loading loading("surroundings", [config = std::move(*config)](WaitsFor& waits) { look_now(config, waits); });
      loading.wait(std::numeric_limits<std::int64_t>::max());
    } catch (const std::exception& e) {  // no memory, no thread
      log::warn("what the configuration names was not looked at", {{"err", e.what()}});
    }
    return true;
  }
};

Surroundings::Surroundings() : state_(std::make_shared<State>()) {}

bool Surroundings::idle() const {
  const MutexLock lock(state_->mutex);
  return !state_->running;
}

void Surroundings::look(Config config) {
  const MutexLock lock(state_->mutex);
  state_->next = std::move(config);
  if (state_->running) return;
  try {
    std::thread([state = state_] {
      while (state->run_one()) {
      }
    }).detach();
    state_->running = true;
  } catch (const std::exception& e) {  // TasksMax=, no memory
    log::warn("what the configuration names was not looked at", {{"err", e.what()}});
  }
}

}  // namespace vitald
