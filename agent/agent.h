// SPDX-License-Identifier: Apache-2.0
// The daemon: wires the parts together, waits for signals, ends them again.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "agent/config/config.h"

namespace vitald {

// How long the end waits for standard error to take what was logged last.
inline constexpr std::int64_t kLastWordsNs = 300'000'000;

// Each returns the exit status.
int run_daemon(Config config, const std::vector<std::string>& arguments);
int run_once(Config config, std::ostream& out);
int run_doctor(const Config& config, std::ostream& out);
int run_worker(const Config& config);
// All that is wrong, or will never do anything, with the configuration and what it names: rules, receivers, folders,
// certificates. Opens no port and runs no program.
void check_configuration(const Config& config, std::vector<std::string>& problems, std::vector<std::string>& warnings);
// The same for people; every problem on one line of standard error.
int run_check(const Config& config, std::vector<std::string> problems);

}  // namespace vitald
