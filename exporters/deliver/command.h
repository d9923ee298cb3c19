// SPDX-License-Identifier: Apache-2.0
// The destination that runs a command for alert transitions: no shell, a timeout, a queue in front. The alert is
// Alertmanager-webhook-shaped JSON on standard input plus VITALD_ALERT_* in the environment.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "core/os/state_dir.h"

namespace vitald {

class Queue;

struct CommandHookSettings {
  std::string name;                  // receiver name, for logs, metrics and the JSON
  std::vector<std::string> command;  // argv; argv[0] is a path
  std::int64_t timeout_ns = 10'000'000'000;
  std::size_t queue_limit = 10'000;  // that wait; the oldest is dropped and counted when it is full
  std::string user;                  // run as; empty: as "nobody" when we are root, else as ourselves
  std::string external_url;
  LabelMap external_labels;
  bool operator==(const CommandHookSettings&) const = default;
};

// What waits survives a restart where there is a state folder; then notify() returns when it is on disk. The commands
// run one at a time, in order.
class CommandHook {
 public:
  // `before` is the hook of this name until now: what waits there goes on here.
  explicit CommandHook(CommandHookSettings settings, std::shared_ptr<const StateDir> state = nullptr,
                       std::unique_ptr<CommandHook> before = nullptr);
  ~CommandHook();  // ends a running command, within a second; it is run again when what waits was kept
  CommandHook(const CommandHook&) = delete;
  CommandHook& operator=(const CommandHook&) = delete;

  // From any thread; never waits for the command, and for a disk that hangs a second, once.
  void notify(std::span<const AlertTransition> transitions);
  void notify(const AlertTransition& transition) { notify({&transition, 1}); }
  void stop();     // begins to end it; several end at the same time then
  void measure();  // brings metrics of waiting up to date
  [[nodiscard]] const CommandHookSettings& settings() const { return settings_; }

 private:
  CommandHookSettings settings_;
  std::unique_ptr<Queue> queue_;
};

// One transition as the JSON an Alertmanager webhook (version "4") would carry.
std::string webhook_json(const AlertTransition& transition, const CommandHookSettings& settings);

// The texts in the body of an item of this destination; nothing when it is none. For CommandHook and its fuzz target.
std::optional<std::vector<std::string_view>> parts_of(std::string_view body);

}  // namespace vitald
