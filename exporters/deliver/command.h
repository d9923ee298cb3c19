// SPDX-License-Identifier: Apache-2.0
// The destination that runs a command for alert transitions: no shell, a timeout, a queue in front. The alert is
// Alertmanager-webhook-shaped JSON on standard input plus VITALD_ALERT_* in the environment.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "exporters/deliver/receiver.h"

namespace vitald {

struct CommandReceiver final : ReceiverOf<CommandReceiver> {
  std::vector<std::string> command;  // argv; argv[0] is a path
  std::string user;                  // run as; empty: as "nobody" when we are root, else as ourselves
  std::size_t at_once = 1;           // that run at the same time; of one alert one
  std::size_t most_per_minute = 0;   // that are started; 0: no limit
  std::size_t retries = 0;           // of one that failed
  bool operator==(const CommandReceiver&) const = default;

  [[nodiscard]] std::string text() const override;
  [[nodiscard]] std::string body(const AlertTransition& transition) const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  void check(std::vector<std::string>& problems) const override;
  void adjust(QueueSettings& queue) const override;
};

}  // namespace vitald
