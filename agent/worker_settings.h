// SPDX-License-Identifier: Apache-2.0
// How a collector's worker is started.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/worker/client.h"

namespace vitald {

// `arguments` are the agent's own flags. Those who read chips get one memory, which all of this process' workers of
// them share (sensors/hwmon/readings.h). Any thread.
WorkerSettings worker_settings(std::string_view collector, std::vector<std::string> arguments);

}  // namespace vitald
