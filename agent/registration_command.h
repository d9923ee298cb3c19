// SPDX-License-Identifier: Apache-2.0
// `vitald registration`: this host as a metric endpoint to register with a scheduler. It asks the vitald that runs.
#pragma once

#include <iosfwd>
#include <string_view>

#include "agent/config/config.h"

namespace vitald {

std::string_view registration_help();
// The exit status.
int run_registration(const Config& config, std::ostream& out);

}  // namespace vitald
