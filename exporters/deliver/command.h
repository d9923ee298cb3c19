// SPDX-License-Identifier: Apache-2.0
// Runs a command for alert transitions: no shell, a timeout, a bounded queue. The alert is
// Alertmanager-webhook-shaped JSON on standard input plus VITALD_ALERT_* in the environment.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/alert.h"

namespace vitald {

struct CommandHookSettings {
  std::string name;                  // receiver name, for logs, metrics and the JSON
  std::vector<std::string> command;  // argv; argv[0] is a path
  std::int64_t timeout_ns = 10'000'000'000;
  std::size_t queue_limit = 100;  // the oldest is dropped and counted when it is full
  std::string user;               // run as; empty: as "nobody" when we are root, else as ourselves
  std::string external_url;
  LabelMap external_labels;
  bool operator==(const CommandHookSettings&) const = default;
};

// notify() from any thread, never blocks; one thread of its own runs the commands one at a time, in order.
class CommandHook {
 public:
  explicit CommandHook(CommandHookSettings settings);
  ~CommandHook();  // ends a running command and drops the queue, within a second
  CommandHook(const CommandHook&) = delete;
  CommandHook& operator=(const CommandHook&) = delete;

  void notify(const AlertTransition& transition);
  [[nodiscard]] const CommandHookSettings& settings() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One transition as the JSON an Alertmanager webhook (version "4") would carry.
std::string webhook_json(const AlertTransition& transition, const CommandHookSettings& settings);

}  // namespace vitald
